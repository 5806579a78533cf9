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

from pe_monai.measure import frame_score

BEST_DICE = "dice"

# An effusion all around the heart is a ring, and the heart inside it no hole. In 2,728 published annotations no hole is
# larger than 32 px, about 0.1 % of the sector.
MAX_HOLE_SHARE = 0.01


def dice_threshold(probability: np.ndarray) -> float:
    """The threshold whose mask has the highest Dice to be expected if the probabilities are right.

    The Dice to be expected of the pixels above a threshold is taken as the ratio of expectations: twice the sum of
    their probabilities by their number plus the sum of all. The best threshold is half of the highest (Lipton et al.,
    Optimal thresholding of classifiers to maximize F1 measure, ECML PKDD 2014): near 0.5 where all is clear, and lower
    the less is.

    Args:
        probability: of effusion, of any shape, in [0, 1].

    Returns:
        The threshold, in [0, 0.5]; 0 where there are no pixels.
    """
    kept = np.asarray(probability).ravel()
    total = kept.sum(dtype=np.float64)
    threshold, better = -1.0, 0.0
    while better > threshold and total > 0:  # rises to the maximum in a few steps (Dinkelbach), sooner than sorting
        threshold = better
        kept = kept[kept > threshold]
        better = kept.sum(dtype=np.float64) / (kept.size + total)
    return float(better)


class EffusionRegions(Transform):
    """Threshold a probability map, fill holes, drop regions that are too small, keep to the sector.

    Args:
        threshold: a pixel is effusion where its probability is above this, in (0, 1); or "dice", which is
            :func:`dice_threshold` of each frame's sector.
        min_share: regions smaller than this share of the sector's area are dropped, in [0, 1); a share, so that the
            rule does not depend on how large the frame was exported.
        fill_holes: whether holes enclosed by effusion are filled, up to 1 % of the sector's area each.
        min_score: with "dice", a frame has effusion where its :func:`pe_monai.measure.frame_score` is at least this, in
            [0, 1]: the less a frame shows, the lower its threshold, so that one without effusion would show some.
    """

    def __init__(
        self,
        threshold: float | str = 0.5,
        min_share: float = 0.001,
        fill_holes: bool = True,
        min_score: float = 0.3,
    ) -> None:
        if threshold != BEST_DICE and (isinstance(threshold, str) or not 0 < threshold < 1):
            raise ValueError(f"threshold must be between 0 and 1, or {BEST_DICE!r}, got {threshold!r}.")
        if not 0 <= min_score <= 1:
            raise ValueError(f"min_score must be in [0, 1], got {min_score}.")
        if not 0 <= min_share < 1:
            raise ValueError(f"min_share must be in [0, 1), got {min_share}.")
        self.threshold = threshold
        self.min_share = min_share
        self.fill_holes = fill_holes
        self.min_score = min_score

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
        probability = convert_to_tensor(img, dtype=torch.float32, track_meta=False)[0].cpu().numpy()
        whole = (probability > self._threshold_of(probability, inside)) & inside
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

    def _threshold_of(self, probability: np.ndarray, inside: np.ndarray) -> float:
        if not isinstance(self.threshold, str):
            return self.threshold
        if frame_score(probability, inside) < self.min_score:
            return 1.0
        return dice_threshold(probability[inside])


class EffusionRegionsd(MapTransform):
    """Dictionary version of :class:`EffusionRegions`; the sector lies under ``sector_key``."""

    def __init__(
        self,
        keys: KeysCollection,
        sector_key: str = "sector",
        threshold: float | str = 0.5,
        min_share: float = 0.001,
        fill_holes: bool = True,
        min_score: float = 0.3,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.sector_key = sector_key
        self.regions = EffusionRegions(threshold, min_share, fill_holes, min_score)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.regions(d[key], d[self.sector_key])
        return d
