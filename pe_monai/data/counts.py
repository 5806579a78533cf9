# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How much effusion an annotation shows, in pixels."""

from __future__ import annotations

from pathlib import Path

import torch
from monai.transforms import EnsureChannelFirst, LoadImage
from monai.utils import convert_to_numpy

from pe_monai.data.reader import FrameReader
from pe_monai.transforms import DecodeMask
from pe_monai.transforms.mask import check_mask

_load = LoadImage(reader=FrameReader())
_channel_first = EnsureChannelFirst(channel_dim=-1)
_decode = DecodeMask()


def effusion_pixels(label: str | Path) -> int:
    """Number of effusion pixels in an annotation file, by the project's one decoder and threshold."""
    planes = check_mask(convert_to_numpy(_channel_first(_load(str(label)))), label)
    return int(_decode(torch.from_numpy(planes)).sum())
