# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Outline effusion in frames: PNG, JPEG, BMP, TIFF, NIfTI, NRRD, MetaImage or DICOM files, or folders of them."""

from __future__ import annotations

import argparse
import sys

EXAMPLES = """examples:
  pe_monai segment frame.png -o results
  pe_monai segment study1/ study2/ extra.nii.gz -o results --probabilities
  pe_monai segment frames/ -o results --bundle my_bundle --threshold 0.4"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="a frame's file, or a folder that is searched through"
    )
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="folder of the results; made if absent")
    parser.add_argument(
        "--bundle",
        metavar="DIR",
        help="MONAI bundle to use; its configs are code, so trust their source (default: the one that ships)",
    )
    parser.add_argument("--device", help="such as cpu or cuda:0 (default: CUDA where there is one)")
    parser.add_argument("--batch-size", type=_positive, default=8, metavar="N", help="frames at a time (default: 8)")
    parser.add_argument(
        "--threshold",
        type=_share,
        metavar="P",
        help="probability above which a pixel is effusion (default: the bundle's)",
    )
    parser.add_argument("--probabilities", action="store_true", help="also write OUT/probabilities/ (0 to 255)")
    parser.add_argument("--save-sector", action="store_true", help="also write OUT/sectors/ (0 or 255)")
    parser.add_argument("--no-overlays", action="store_true", help="do not write OUT/overlays/")


def run(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from pe_monai.data import collect_frames
    from pe_monai.predictor import Predictor
    from pe_monai.results import ResultFolder

    frames, errors = collect_frames(options.inputs)
    overrides = {} if options.threshold is None else {"threshold": options.threshold}
    predictor = Predictor(options.bundle, options.device, options.batch_size, overrides)
    results = ResultFolder(
        options.output,
        overlays=not options.no_overlays,
        probabilities=options.probabilities,
        sectors=options.save_sector,
    )
    for missing in errors:
        results.add_error(missing)
        print(f"pe_monai segment: {missing}", file=sys.stderr)
    outcomes = predictor.predict_files(frame.path for frame in frames)
    # disable=None: a bar on a terminal, none in a pipe
    for frame, (_, outcome) in tqdm(zip(frames, outcomes, strict=True), total=len(frames), unit="frame", disable=None):
        error = results.add(frame, outcome)
        if error is not None:
            tqdm.write(f"pe_monai segment: {error}", file=sys.stderr)
    results.close(predictor)
    print(f"{results.done} of {results.done + results.failed} inputs done, results in {options.output}")
    if not results.failed:
        return 0
    return 1 if results.done else 2


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of 1 or more, got {text!r}")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be a number between 0 and 1, got {text!r}")
    return value
