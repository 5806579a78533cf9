# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Framing: crop a frame to its sector and resize it to the network's size, and back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import convert_to_tensor, ensure_tuple, ensure_tuple_rep
from torch.nn import functional as F

Box = tuple[int, int, int, int]


def sector_box(sector: torch.Tensor, spatial_size: Sequence[int], margin: int = 2) -> Box:
    """The smallest box of the aspect of ``spatial_size`` around a sector, centred on it; it may leave the frame.

    Args:
        sector: (1, H, W), non-zero inside the sector.
        spatial_size: (height, width) of the network's input in pixels.
        margin: pixels of the frame kept free on each side of the sector.

    Returns:
        (top, left, height, width) in pixels of the frame.

    Raises:
        ValueError: the sector is empty.
    """
    inside = plain_tensor(sector)[0].cpu().numpy() > 0
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if len(rows) == 0:
        raise ValueError("the sector is empty: there is nothing to frame.")
    top, bottom = int(rows[0]) - margin, int(rows[-1]) + 1 + margin
    left, right = int(columns[0]) - margin, int(columns[-1]) + 1 + margin
    step = max((bottom - top) / spatial_size[0], (right - left) / spatial_size[1])
    height, width = round(step * spatial_size[0]), round(step * spatial_size[1])
    return (top + bottom - height) // 2, (left + right - width) // 2, height, width


class FrameSector(InvertibleTransform):
    """Crop to the sector, keep the aspect, resize to the network's size; ``inverse`` goes back to the full frame.

    What lies beyond the frame's border is zero, the neutral value. The inverse is zero outside the box.

    Args:
        spatial_size: (height, width) of the result in pixels.
        mode: "bilinear" (shrinks with antialiasing, so that a mask becomes the share of effusion in each pixel) or
            "nearest-exact".
        margin: pixels of the frame kept free on each side of the sector.
    """

    def __init__(self, spatial_size: Sequence[int], mode: str = "bilinear", margin: int = 2) -> None:
        spatial_size = ensure_tuple(spatial_size)  # configs may say one number
        if len(spatial_size) != 2 or min(spatial_size) < 16:
            raise ValueError(f"spatial_size must be (height, width), each at least 16, got {spatial_size}.")
        if margin < 0:
            raise ValueError(f"margin must be 0 or more pixels, got {margin}.")
        _check_mode(mode)
        self.spatial_size = tuple(int(size) for size in spatial_size)
        self.mode = mode
        self.margin = margin

    def __call__(self, img: torch.Tensor, sector: torch.Tensor, mode: str | None = None) -> torch.Tensor:
        """(C, H, W) and its sector (1, H, W) to (C, *spatial_size), float32."""
        img = convert_to_tensor(img, track_meta=True)
        box = sector_box(sector, self.spatial_size, self.margin)
        mode = mode or self.mode
        framed = _resize(_crop(plain_tensor(img), box), self.spatial_size, mode)
        if isinstance(img, MetaTensor):
            framed = MetaTensor(framed, meta=dict(img.meta), applied_operations=list(img.applied_operations))
            self.push_transform(framed, orig_size=tuple(img.shape[1:]), extra_info={"box": box, "mode": mode})
        return framed

    def inverse(self, data: torch.Tensor) -> torch.Tensor:
        """(C, *spatial_size) back to (C, H, W) of the frame it came from; zero outside the box."""
        info = self.pop_transform(data)
        box, (height, width) = info["extra_info"]["box"], info["orig_size"]
        # MONAI's Invertd rewrites "bilinear" to "nearest" when asked for the nearest value
        mode = "bilinear" if info["extra_info"]["mode"] == "bilinear" else "nearest-exact"
        inside = _resize(plain_tensor(data), box[2:], mode)
        frame = _crop(inside, (-box[0], -box[1], height, width))
        return MetaTensor(frame, meta=dict(data.meta), applied_operations=list(data.applied_operations))


class FrameSectord(MapTransform, InvertibleTransform):
    """Dictionary version of :class:`FrameSector`: every key is framed by the sector under ``sector_key``.

    Args:
        keys: keys to frame; ``sector_key`` may be among them.
        spatial_size: (height, width) of the result in pixels.
        sector_key: key of the sector, (1, H, W).
        mode: "bilinear" or "nearest-exact", for all keys or one a key.
        margin: pixels of the frame kept free on each side of the sector.
        allow_missing_keys: whether keys may be missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        spatial_size: Sequence[int],
        sector_key: str = "sector",
        mode: str | Sequence[str] = "bilinear",
        margin: int = 2,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.sector_key = sector_key
        self.frame = FrameSector(spatial_size, margin=margin)
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        for one in self.mode:
            _check_mode(one)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        d = dict(data)
        sector = d[self.sector_key]
        for key, mode in self.key_iterator(d, self.mode):
            if d[key].shape[1:] != sector.shape[1:]:
                raise ValueError(
                    f"{key} is {_size(d[key])} pixels, the image is {_size(sector)}: they must show the same frame."
                )
            d[key] = self.frame(d[key], sector, mode)
        return d

    def inverse(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.frame.inverse(d[key])
        return d


def _check_mode(mode: str) -> None:
    if mode not in ("bilinear", "nearest-exact"):
        raise ValueError(f"mode must be bilinear or nearest-exact, got {mode!r}.")


def _size(img: torch.Tensor) -> str:
    return f"{img.shape[2]} wide x {img.shape[1]} high"


def _crop(img: torch.Tensor, box: Box) -> torch.Tensor:
    top, left, height, width = box
    rows, columns = img.shape[1:]
    inner = img[:, max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    missing = [-left, left + width - columns, -top, top + height - rows]
    return F.pad(inner, [max(side, 0) for side in missing])


def _resize(img: torch.Tensor, size: Sequence[int], mode: str) -> torch.Tensor:
    smooth = mode == "bilinear"
    return F.interpolate(
        img[None].float(), size=tuple(size), mode=mode, align_corners=False if smooth else None, antialias=smooth
    )[0]


def plain_tensor(img: torch.Tensor) -> torch.Tensor:
    """The values alone: a MetaTensor copies its metadata with every operation."""
    return img.as_tensor() if isinstance(img, MetaTensor) else img
