# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Arguments that several commands have in common, and what their values may be."""

from __future__ import annotations

import argparse
import logging
import warnings
from typing import Any

SCALE_KEYS = ("esc2015", "acep")  # those of pe_monai.measure.SCALES, which is slow to import


def add_model_arguments(parser: argparse._ActionsContainer) -> None:
    """Which bundle runs, where and how."""
    add_bundle_argument(parser, "to use")
    parser.add_argument("--device", help="such as cpu or cuda:0 (default: CUDA where there is one)")
    parser.add_argument(
        "--runtime",
        default="torch",
        metavar="R",
        help="what computes the network: torch, openvino, onnx, auto (OpenVINO on a CPU where it is installed), or a "
        "folder that 'pe_monai export' wrote (default: torch)",
    )
    parser.add_argument("--batch-size", type=positive, default=8, metavar="N", help="frames at a time (default: 8)")
    parser.add_argument(
        "--threshold",
        type=threshold,
        metavar="P",
        help="probability above which a pixel is effusion, or dice: the one that promises each frame the highest Dice "
        "(default: the bundle's)",
    )
    parser.add_argument(
        "--no-flip",
        action="store_true",
        help="do not average each frame with its mirror image: half the network's time, outlines a little worse",
    )


def add_bundle_argument(parser: argparse._ActionsContainer, use: str) -> None:
    """Which bundle; ``use`` says what for."""
    parser.add_argument(
        "--bundle",
        metavar="DIR",
        help=f"MONAI bundle {use}; its configs are code, so trust their source (default: the one that ships)",
    )


def overrides_of(options: argparse.Namespace) -> dict[str, Any]:
    """What the model's arguments change in the bundle's inference config, by id."""
    overrides: dict[str, Any] = {} if options.threshold is None else {"threshold": options.threshold}
    return {**overrides, "flip": False} if options.no_flip else overrides


def add_scale_argument(parser: argparse._ActionsContainer) -> None:
    """The scale of grades."""
    parser.add_argument("--scale", choices=SCALE_KEYS, default=SCALE_KEYS[0], help="of grades (default: esc2015)")


def add_spacing_argument(parser: argparse._ActionsContainer) -> None:
    """A pixel size for files without one."""
    parser.add_argument(
        "--spacing",
        nargs=2,
        type=distance,
        metavar=("ROW", "COLUMN"),
        help="distance of neighbouring rows and columns in mm, for files that state none; without it: pixels, no grade",
    )


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of 1 or more, got {text!r}")
    return int(text)


def threshold(text: str) -> float | str:
    """A number between 0 and 1, or "dice"."""
    if text == "dice":  # pe_monai.transforms.regions.BEST_DICE, which is slow to import
        return text
    value = _number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be a number between 0 and 1, or dice, got {text!r}")
    return value


def distance(text: str) -> float:
    """A distance of pixels in mm."""
    value = _number(text)
    if not 0.01 <= value <= 10:
        raise argparse.ArgumentTypeError(f"must be a distance of 0.01 to 10 mm, got {text!r}")
    return value


def exit_code(done: int, failed: int) -> int:
    """0 if all inputs were done, 1 if some could not be used, 2 if none could."""
    if not failed:
        return 0
    return 1 if done else 2


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1


def silence_dicom_libraries() -> None:
    """No warnings of the DICOM libraries: they quote contents and addresses, which may name a patient."""
    for name in ("pydicom", "pynetdicom", "dicomweb_client", "highdicom", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"(pydicom|pynetdicom|dicomweb_client|highdicom)\b")
