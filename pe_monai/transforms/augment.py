# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Ultrasound augmentation: gain, time gain, acoustic shadow. Intensities alone; what is outside the sector stays zero.

All work on the canonical frame: one grey channel (1, H, W) in [0, 1], zero outside the sector, with the sector
(1, H, W) beside it. Depth is the distance from the probe, taken as the middle of the sector's top edge.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform

from pe_monai.transforms.ranges import Range, as_range


def probe_position(sector: torch.Tensor) -> tuple[float, float]:
    """(row, column) of the middle of the top edge of a sector (1, H, W); (0, W / 2) of an empty one."""
    rows = torch.where((sector[0] > 0).any(1))[0]
    if len(rows) == 0:
        return 0.0, sector.shape[2] / 2
    columns = torch.where(sector[0, rows[0]] > 0)[0]
    return float(rows[0]), float(columns.float().mean())


def polar_grid(sector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth (pixels) and angle (radians, 0 straight down, positive to the right) of each pixel, both (1, H, W)."""
    row, column = probe_position(sector)
    y = torch.arange(sector.shape[1], dtype=torch.float32, device=sector.device)[:, None] - row
    x = torch.arange(sector.shape[2], dtype=torch.float32, device=sector.device)[None] - column
    return torch.hypot(y, x)[None], torch.atan2(x, y.clamp(min=0.5))[None]


class RandGain(RandomizableTransform):
    """Change the receive gain and the grey map: ``clip(gain * image ** gamma + offset, 0, 1)`` inside the sector.

    Args:
        prob: probability to act, in [0, 1].
        gain: range of the factor, both above 0.
        gamma: range of the exponent, both above 0.
        offset: range of the offset in grey values, within [-1, 1].
    """

    def __init__(
        self,
        prob: float = 0.5,
        gain: Range = (0.7, 1.4),
        gamma: Range = (0.7, 1.4),
        offset: Range = (-0.05, 0.05),
    ) -> None:
        RandomizableTransform.__init__(self, prob)
        self.gain = as_range("gain", gain, above=0)
        self.gamma = as_range("gamma", gamma, above=0)
        self.offset = as_range("offset", offset, above=-1.0001, most=1)

    def randomize(self, data: None = None) -> None:
        super().randomize(None)
        if self._do_transform:
            self._gain, self._gamma, self._offset = (self.R.uniform(*r) for r in (self.gain, self.gamma, self.offset))

    def __call__(self, img: torch.Tensor, sector: torch.Tensor, randomize: bool = True) -> torch.Tensor:
        if randomize:
            self.randomize()
        if not self._do_transform:
            return img
        return (img.pow(self._gamma) * self._gain + self._offset).clamp(0, 1) * (sector > 0)


class RandTimeGain(RandomizableTransform):
    """Change the time-gain compensation: a smooth random factor along the depth, as set by a machine's sliders.

    Args:
        prob: probability to act, in [0, 1].
        strength: the factor at each slider is drawn from exp(-strength) to exp(strength).
        sliders: number of sliders from the probe to the deepest point, at least 2; between them the factor is linear.
    """

    def __init__(self, prob: float = 0.5, strength: float = 0.4, sliders: int = 6) -> None:
        RandomizableTransform.__init__(self, prob)
        if strength < 0 or sliders < 2:
            raise ValueError(f"strength must be 0 or more and sliders 2 or more, got {strength} and {sliders}.")
        self.strength = strength
        self.sliders = sliders

    def randomize(self, data: None = None) -> None:
        super().randomize(None)
        if self._do_transform:
            self._factors = self.R.uniform(-self.strength, self.strength, self.sliders)

    def __call__(self, img: torch.Tensor, sector: torch.Tensor, randomize: bool = True) -> torch.Tensor:
        if randomize:
            self.randomize()
        if not self._do_transform:
            return img
        inside = sector > 0
        depth, _ = polar_grid(sector)
        deepest = max(float((depth * inside).max()), 1.0)
        factors = torch.as_tensor(self._factors, dtype=torch.float32, device=img.device).exp()
        position = (depth / deepest).clamp(0, 1) * (self.sliders - 1)
        below = position.floor().clamp(max=self.sliders - 2).long()
        share = position - below
        curve = factors[below] * (1 - share) + factors[below + 1] * share
        return (img * curve).clamp(0, 1) * inside


class RandAcousticShadow(RandomizableTransform):
    """Cast the shadow of a rib or of lung: a darkened wedge behind a random depth, with soft sides.

    Args:
        prob: probability to act, in [0, 1].
        width: range of the wedge's half opening in radians.
        darkness: range of the share of the signal lost, within [0, 1].
        start: range of the depth where the shadow begins, as a share of the deepest point, within [0, 1].
    """

    def __init__(
        self,
        prob: float = 0.2,
        width: Range = (0.03, 0.15),
        darkness: Range = (0.4, 0.95),
        start: Range = (0.0, 0.5),
    ) -> None:
        RandomizableTransform.__init__(self, prob)
        self.width = as_range("width", width, above=0)
        self.darkness = as_range("darkness", darkness, above=-1e-9, most=1)
        self.start = as_range("start", start, above=-1e-9, most=1)

    def randomize(self, data: None = None) -> None:
        super().randomize(None)
        if self._do_transform:
            self._side = self.R.uniform(-1, 1)
            self._width, self._darkness, self._start = (
                self.R.uniform(*r) for r in (self.width, self.darkness, self.start)
            )

    def __call__(self, img: torch.Tensor, sector: torch.Tensor, randomize: bool = True) -> torch.Tensor:
        if randomize:
            self.randomize()
        inside = sector > 0
        if not self._do_transform or not inside.any():
            return img
        depth, angle = polar_grid(sector)
        centre = self._side * float(angle[inside].abs().max())
        across = torch.exp(-(((angle - centre) / self._width) ** 4))
        behind = torch.sigmoid((depth - self._start * float(depth[inside].max())) / 2)
        return img * (1 - self._darkness * across * behind) * inside


class _RandSectord(MapTransform, RandomizableTransform):
    """One draw for all keys of a dictionary; the sector lies under ``sector_key``."""

    def __init__(
        self, keys: KeysCollection, transform: RandomizableTransform, sector_key: str, allow_missing_keys: bool
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, transform.prob)
        self.transform = transform
        self.sector_key = sector_key

    def set_random_state(self, seed=None, state=None):
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        d = dict(data)
        self.transform.randomize(None)
        for key in self.key_iterator(d):
            d[key] = self.transform(d[key], d[self.sector_key], randomize=False)
        return d


class RandGaind(_RandSectord):
    """Dictionary version of :class:`RandGain`."""

    def __init__(
        self, keys: KeysCollection, sector_key: str = "sector", allow_missing_keys: bool = False, **kwargs
    ) -> None:
        super().__init__(keys, RandGain(**kwargs), sector_key, allow_missing_keys)


class RandTimeGaind(_RandSectord):
    """Dictionary version of :class:`RandTimeGain`."""

    def __init__(
        self, keys: KeysCollection, sector_key: str = "sector", allow_missing_keys: bool = False, **kwargs
    ) -> None:
        super().__init__(keys, RandTimeGain(**kwargs), sector_key, allow_missing_keys)


class RandAcousticShadowd(_RandSectord):
    """Dictionary version of :class:`RandAcousticShadow`."""

    def __init__(
        self, keys: KeysCollection, sector_key: str = "sector", allow_missing_keys: bool = False, **kwargs
    ) -> None:
        super().__init__(keys, RandAcousticShadow(**kwargs), sector_key, allow_missing_keys)
