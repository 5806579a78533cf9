# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for modules that MONAI Label imports at start and that two-dimensional pictures never need.

``pydicom_seg`` needs pydicom 2, ``torchvision`` from the package index is built for another torch; MONAI Label 0.8.5
cannot even be imported without them. Each stand-in has a folder of its own, which is put on the path only where the
real module cannot be imported.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

MODULES = ("pydicom_seg", "torchvision")


def install() -> list[str]:
    """Put the stand-ins that this environment needs on the path, of this process and of those it starts.

    Returns:
        Names of the modules that are stood in for.
    """
    missing = [name for name in MODULES if not _works(name)]
    folders = [str(Path(__file__).parent / "stand_ins" / name) for name in missing]
    sys.path[:0] = folders
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    # MONAI Label reads PYTHONPATH without asking whether there is one
    os.environ["PYTHONPATH"] = os.pathsep.join([*folders, *filter(None, known)])
    return missing


def _works(name: str) -> bool:
    try:
        importlib.import_module(name)
    except Exception:  # whatever a module built for another torch raises
        for module in [module for module in sys.modules if module.split(".")[0] == name]:
            del sys.modules[module]
        return False
    return True


if __name__ == "__main__":
    install()
    print(os.environ["PYTHONPATH"])
