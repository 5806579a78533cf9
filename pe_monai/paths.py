# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the shipped bundle and configs lie: inside an installed package, beside it in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def bundle_dir() -> Path:
    """The shipped MONAI bundle.

    Returns:
        The folder with ``configs/``, ``models/`` and ``docs/``.

    Raises:
        FileNotFoundError: neither the package nor the checkout has it.
    """
    return _find("bundle", "configs/inference.json")


def configs_dir() -> Path:
    """The overlays that are stacked on the bundle's configs.

    Returns:
        The folder with their JSON files.

    Raises:
        FileNotFoundError: neither the package nor the checkout has it.
    """
    return _find("configs", "*.json")


def _find(name: str, content: str) -> Path:
    candidates = (_PACKAGE / name, _PACKAGE.parent / name)
    for folder in candidates:
        if any(folder.glob(content)):
            return folder
    searched = " nor ".join(str(folder / content) for folder in candidates)
    raise FileNotFoundError(f"found neither {searched}; install pe_monai again, or name a folder of your own")
