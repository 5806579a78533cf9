# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Outlines with mistakes in them, for a network that learns to correct."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_tensor
from scipy import ndimage
from torch.nn import functional as F

from pe_monai.transforms.clicks import error_centre, put_click
from pe_monai.transforms.ranges import Range, as_range


class RandMistakes(RandomizableTransform):
    """Move the border of a mask at random, cut parts off, add parts that are not there.

    The mask is blurred, smooth noise is added where it is neither 0 nor 1, and what is above one half is the new mask.

    Args:
        prob: probability to act, in [0, 1].
        blur: range of the blur's sigma in pixels; how far the border may move.
        noise: range of the noise's standard deviation; how far it does move.
        grain: range of the distance in pixels over which the noise changes.
        part: probability that a part is cut off, and likewise that one is added, in [0, 1].
    """

    def __init__(
        self,
        prob: float = 1.0,
        blur: Range = (1.0, 4.0),
        noise: Range = (0.1, 0.6),
        grain: Range = (10.0, 40.0),
        part: float = 0.35,
    ) -> None:
        RandomizableTransform.__init__(self, prob)
        self.blur = as_range("blur", blur, above=0)
        self.noise = as_range("noise", noise, above=-1e-9)
        self.grain = as_range("grain", grain, above=1)
        self.part = part

    def __call__(self, img: torch.Tensor, sector: torch.Tensor) -> torch.Tensor:
        """(1, H, W) mask, or shares in [0, 1], and its sector (1, H, W), to a mask (1, H, W) of 0 and 1."""
        super().randomize(None)
        img, inside = (convert_to_tensor(plane, track_meta=False) for plane in (img, sector))
        if not self._do_transform:
            return (img > 0.5).float()
        blurred = ndimage.gaussian_filter(img[0].numpy(), self.R.uniform(*self.blur))
        blurred = blurred / max(float(blurred.max()), 1e-3)  # a thin effusion does not vanish
        border = np.sqrt(np.clip(4 * blurred * (1 - blurred), 0, 1))
        noise = self._smooth(img.shape[1:], self.R.uniform(*self.grain))
        field = blurred + self.R.uniform(*self.noise) * border * noise
        if self.R.random() < self.part:
            field -= 2 * (self._smooth(img.shape[1:], 40.0) > 0.4)
        if self.R.random() < self.part:
            field += 2 * (self._smooth(img.shape[1:], 25.0) > self.R.uniform(1.6, 2.4))
        return torch.from_numpy(field > 0.5).float()[None] * (inside > 0)

    def _smooth(self, size: torch.Size, grain: float) -> np.ndarray:
        # noise of standard deviation 1 on a coarse grid, smooth in between
        coarse = [max(2, round(length / grain) + 1) for length in size]
        noise = torch.from_numpy(self.R.standard_normal((1, 1, *coarse)).astype(np.float32))
        return F.interpolate(noise, size=tuple(size), mode="bicubic", align_corners=True)[0, 0].numpy()


class RandCorrectiond(MapTransform, RandomizableTransform):
    """Set up a correction: (1, H, W) becomes (4, H, W), with a mask to correct and clicks on what it has wrong.

    In a share of the frames nothing is given, so that the network outlines by itself and then corrects what it has
    wrong (:class:`pe_monai.transforms.CorrectErrord`). In a share of the frames the truth itself is changed: the click
    then contradicts the picture, from which a network learns to obey it.

    Args:
        keys: key of the grey frame.
        label_key: truth, (1, H, W).
        sector_key: the sector, (1, H, W).
        given: probability that there is a mask to correct, in [0, 1].
        contradicted: probability that the truth is changed, in [0, 1].
        jitter: largest shift of a click from the middle of the error, in pixels, along each axis.
        earlier: most clicks that the mask to correct has answered already.
        allow_missing_keys: whether keys may be missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        sector_key: str = "sector",
        given: float = 0.6,
        contradicted: float = 0.25,
        jitter: float = 1.5,
        earlier: int = 4,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, 1.0)
        self.label_key = label_key
        self.sector_key = sector_key
        self.given = given
        self.jitter = jitter
        self.earlier = earlier
        self.truth = RandMistakes(contradicted, blur=(1.0, 2.5), noise=(0.1, 0.4), part=0.25)
        self.start = RandMistakes(1.0)

    def set_random_state(self, seed=None, state=None):
        super().set_random_state(seed, state)
        for transform in (self.truth, self.start):
            transform.set_random_state(self.R.randint(2**31))
        return self

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        d = dict(data)
        sector = d[self.sector_key]
        original, changed = d[self.label_key], self.truth(d[self.label_key], sector)
        truth = changed[0].numpy() > 0.5
        if not np.array_equal(truth, original[0].numpy() > 0.5):  # else the label stays soft
            d[self.label_key] = changed
        given = self.R.random() < self.given
        mask = self.start(d[self.label_key], sector)[0].numpy() > 0.5 if given else np.zeros_like(truth)
        clicks = self._clicks(mask, truth) if given else []
        for key in self.key_iterator(d):
            inputs = put_click(torch.cat([d[key], torch.zeros(3, *truth.shape)]), mask, None)
            for click in clicks:
                inputs = put_click(inputs, mask, click)
            d[key] = inputs
        return d

    def _clicks(self, mask: np.ndarray, truth: np.ndarray) -> list[tuple[float, float, bool]]:
        """Clicks whose answer is in the mask already, and the one that is to be answered; changes the mask."""
        clicks = []
        earlier = self.R.randint(self.earlier + 1)
        rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
        for number in range(earlier + 1):
            centre = error_centre(mask, truth)
            if centre is None:
                break
            shift = self.R.uniform(-self.jitter, self.jitter, 2)
            clicks.append((centre[0] + shift[0], centre[1] + shift[1], centre[2]))
            if number < earlier:
                near = np.hypot(rows - centre[0], columns - centre[1]) < self.R.uniform(4, 16)
                mask[near] = truth[near]
        return clicks
