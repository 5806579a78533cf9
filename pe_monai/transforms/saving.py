# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The shape that a result has in files."""

from __future__ import annotations

from monai.transforms import SqueezeDimd


class SqueezeForSaveImaged(SqueezeDimd):
    """``SqueezeDimd`` for those who save the result next; the name is what matters.

    MONAI Label saves a mask of a frame as it comes, and needs (W, H). MONAI Deploy's bundle operator needs (1, W, H),
    as it drops that dimension itself; it leaves out each transform whose name says that it has to do with saving
    (``SaveImage``), and so this one.
    """
