# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Importing MONAI in a small part of its time, for commands that outline a few frames with our bundle and end."""

from __future__ import annotations

import importlib
import logging
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from typing import Any

# Packages that MONAI imports where they are installed and that segmenting does not need. They take longer than PyTorch.
UNUSED = (
    "ignite",
    "matplotlib",
    "mlflow",
    "pandas",
    "scipy.signal",
    "scipy.stats",
    "tensorboard",
    "tensorboardX",
    "torch.utils.tensorboard",
)


class _Absent(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname in UNUSED:
            raise ModuleNotFoundError(f"{fullname} is not needed here", name=fullname)


def quiet_absent_decoder() -> None:
    """Keep MONAI from announcing that an optional GPU decoder is absent; nothing here uses it."""
    logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*nvImageCodec.*")


def import_monai_quickly() -> None:
    """Import of MONAI what the shipped bundle's inference needs, unless MONAI is imported already.

    ``import monai`` executes every module of MONAI, and with them each optional package that is installed. Here modules
    are executed when something imports them, and MONAI takes the packages in ``UNUSED`` for absent; whoever imports one
    of these later gets it. For commands alone: other code of the same process may want all of MONAI.
    """
    if "monai" in sys.modules:
        return
    walk, absent = pkgutil.walk_packages, _Absent()
    pkgutil.walk_packages = _no_packages  # type: ignore[assignment]
    sys.meta_path.insert(0, absent)
    try:
        for name in ("monai.bundle", "monai.data", "monai.inferers", "monai.transforms"):
            importlib.import_module(name)
    finally:
        sys.meta_path.remove(absent)
        pkgutil.walk_packages = walk
        module = sys.modules.get("monai.utils.module")
        if getattr(module, "walk_packages", None) is _no_packages:
            module.walk_packages = walk  # type: ignore[union-attr]


def _no_packages(*arguments: Any, **options: Any) -> Iterator[pkgutil.ModuleInfo]:
    return iter(())
