# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How much effusion an annotation shows, in pixels."""

from __future__ import annotations

from pathlib import Path

from pe_monai.data.reader import MaskReader
from pe_monai.transforms.mask import decode_mask


def effusion_pixels(label: str | Path) -> int:
    """Number of effusion pixels in an annotation file, by the project's one decoder and threshold.

    Raises:
        FrameError: the file cannot be read or holds no mask.
    """
    planes, _ = MaskReader().get_data(Path(label))
    return int(decode_mask(planes.transpose(2, 1, 0), label).sum())
