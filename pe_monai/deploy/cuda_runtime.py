# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The CUDA runtime library, which Holoscan wants on a CPU, too."""

from __future__ import annotations

import ctypes
from importlib import metadata

from pe_monai.errors import DeployError

PACKAGE, LIBRARY = "nvidia-cuda-runtime", "libcudart.so.13"


def load_cuda_runtime() -> str:
    """Load the CUDA runtime for everything that is imported later; to be called before ``import holoscan``.

    Holoscan is linked against it and looks for it where the system keeps its libraries. The package brings it to a
    place of its own, so that it has to be loaded by hand, once, with its names visible to all.

    Returns:
        The file, or the library's name where it is the system's.

    Raises:
        DeployError: it is neither in the package nor on the system.
    """
    for library in (*_packaged(), LIBRARY):
        try:
            ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        return library
    raise DeployError(f"{LIBRARY} is missing, which Holoscan needs without a GPU, too: pip install '{PACKAGE}==13.*'")


def _packaged() -> list[str]:
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return []
    return [str(file.locate()) for file in files if file.name == LIBRARY]
