# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Random geometry that fits a sector: flip, turn, zoom, shift about its middle. What is outside stays zero."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from torch.nn import functional as F

from pe_monai.transforms.ranges import Range, as_range


def sector_affine(
    img: torch.Tensor, matrix: torch.Tensor, centre: torch.Tensor, mode: str = "bilinear"
) -> torch.Tensor:
    """Resample frames, each by its affine map about a point; beyond a frame's border it is zero.

    Args:
        img: (B, C, H, W).
        matrix: (B, 2, 3) in pixels and (x, y) order: maps a point of the result, relative to ``centre``, to its source.
        centre: (B, 2), row and column in pixels that the map's linear part leaves in place.
        mode: "bilinear" or "nearest".
    """
    height, width = img.shape[2:]
    row, column = centre[..., None, None].unbind(1)
    y = torch.arange(height, dtype=torch.float32, device=img.device)[:, None] - row
    x = torch.arange(width, dtype=torch.float32, device=img.device) - column
    # grid_sample's places, (2 * source + 1) / size - 1: scaled while x and y are a row and a column, not yet a plane
    m = 2 * matrix / matrix.new_tensor([[width], [height]])
    to_x, to_y = m[..., None, None].unbind(1)
    source_x = (to_x[:, 0] * x + (to_x[:, 2] + (2 * column + 1) / width - 1)) + to_x[:, 1] * y
    source_y = (to_y[:, 1] * y + (to_y[:, 2] + (2 * row + 1) / height - 1)) + to_y[:, 0] * x
    grid = torch.stack([source_x, source_y], dim=-1)
    return F.grid_sample(img, grid, mode=mode, padding_mode="zeros", align_corners=False)


class RandSectorAffined(MapTransform, RandomizableTransform):
    """Flip left to right, turn, zoom and stretch (depth setting, sector width) and shift, in one step.

    All about the middle of the sector, so that most of it stays in view.

    The image, the mask and the sector of a sample move together and are interpolated once; a soft mask stays soft. The
    sector is cut sharply again and the keys are zero outside it.

    Args:
        keys: keys to move, each (C, H, W); the sector is always moved with them.
        sector_key: key of the sector (1, H, W).
        prob: probability to turn, zoom and shift, in [0, 1].
        flip_prob: probability to flip left to right, in [0, 1].
        rotate: range of the angle in degrees.
        zoom: range of the magnification; above 1 shows less depth.
        stretch: range of the magnification of the width over that of the height.
        shift: range of the shift as a share of the height and of the width.
        allow_missing_keys: whether keys may be missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        sector_key: str = "sector",
        prob: float = 0.9,
        flip_prob: float = 0.5,
        rotate: Range = (-15, 15),
        zoom: Range = (0.85, 1.2),
        stretch: Range = (0.9, 1.1),
        shift: Range = (-0.05, 0.05),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        if not 0 <= flip_prob <= 1:
            raise ValueError(f"flip_prob must be in [0, 1], got {flip_prob}.")
        self.sector_key = sector_key
        self.flip_prob = flip_prob
        self.rotate = as_range("rotate", rotate, above=-180.001, most=180)
        self.zoom = as_range("zoom", zoom, above=0)
        self.stretch = as_range("stretch", stretch, above=0)
        self.shift = as_range("shift", shift, above=-1, most=1)

    def randomize(self, size: Sequence[int]) -> torch.Tensor | None:
        """The map from the result to its source, (2, 3) in pixels, or None if the sample stays as it is."""
        RandomizableTransform.randomize(self, None)
        flip = -1.0 if self.R.uniform() < self.flip_prob else 1.0
        if not self._do_transform:
            return torch.tensor([[flip, 0, 0], [0, 1, 0]]) if flip < 0 else None
        turn = math.radians(self.R.uniform(*self.rotate))
        zoom, stretch = self.R.uniform(*self.zoom), self.R.uniform(*self.stretch)
        shift_y, shift_x = (self.R.uniform(*self.shift) * side for side in size)
        across, down = flip / (zoom * math.sqrt(stretch)), math.sqrt(stretch) / zoom
        cos, sin = math.cos(turn), math.sin(turn)
        return torch.tensor([[across * cos, -across * sin, shift_x], [down * sin, down * cos, shift_y]])

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        matrix = self.randomize(data[self.sector_key].shape[-2:])
        if matrix is None:
            return dict(data)
        one = {key: data[key][None] for key in self._moving(data)}
        return {**data, **{key: moved[0] for key, moved in self._move(one, matrix[None]).items()}}

    def batch(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """The same for a batch, every value (B, C, H, W), with one draw a frame."""
        sector = data[self.sector_key]
        drawn = [self.randomize(sector.shape[-2:]) for _ in range(len(sector))]
        matrices = torch.stack([torch.eye(2, 3) if matrix is None else matrix for matrix in drawn])
        return {**data, **self._move({key: data[key] for key in self._moving(data)}, matrices.to(sector.device))}

    def _moving(self, data: Mapping[Hashable, torch.Tensor]) -> list[Hashable]:
        return [*(key for key in self.key_iterator(data) if key != self.sector_key), self.sector_key]

    def _move(self, batch: Mapping[Hashable, torch.Tensor], matrices: torch.Tensor) -> dict[Hashable, torch.Tensor]:
        """Move frames, the sector last among them."""
        moved = sector_affine(
            torch.cat([img.float() for img in batch.values()], 1), matrices, _middle(batch[self.sector_key])
        )
        inside = (moved[:, -1:] >= 0.5).float()
        planes = moved.split([img.shape[1] for img in batch.values()], dim=1)
        return {
            key: inside if key == self.sector_key else plane * inside for key, plane in zip(batch, planes, strict=True)
        }


def _middle(sector: torch.Tensor) -> torch.Tensor:
    """(row, column) of the middle of each sector (B, 1, H, W), or of the frame where there is none: (B, 2)."""
    middles = []
    for dim in (2, 1):
        along = (sector[:, 0].amax(dim) > 0).int()
        first, last = along.argmax(1), along.shape[1] - 1 - along.flip(1).argmax(1)
        middles.append((first + last) / 2)
    return torch.stack(middles, dim=1)
