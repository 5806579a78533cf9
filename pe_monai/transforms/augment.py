# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Ultrasound augmentation: gain, time gain, acoustic shadow. Intensities alone; what is outside the sector stays zero.

All work on the canonical frame: one grey channel (1, H, W) in [0, 1], zero outside the sector, with the sector
(1, H, W) beside it. Depth is the distance from the probe, taken as the middle of the sector's top edge.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform

from pe_monai.transforms.ranges import Range, as_range


def probe_position(sector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(row, column) of the middle of the top edge of sectors (..., 1, H, W), both (...); (0, W / 2) of an empty one."""
    plane = sector[..., 0, :, :]
    row = (plane.amax(-1) > 0).int().argmax(-1)
    top = plane.take_along_dim(row[..., None, None], -2)[..., 0, :] > 0
    columns = torch.arange(sector.shape[-1], dtype=torch.float32, device=sector.device)
    count = top.sum(-1)
    column = (top * columns).sum(-1) / count.clamp(min=1)
    return row.float(), torch.where(count > 0, column, sector.shape[-1] / 2)


def polar_grid(sector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth (pixels) and angle (radians, 0 straight down, positive to the right) of each pixel, both (..., 1, H, W)."""
    y, x = _from_probe(sector)
    return torch.hypot(y, x), torch.atan2(x, y.clamp(min=0.5))


def _from_probe(sector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels below the probe (..., 1, H, 1) and to the right of it (..., 1, 1, W)."""
    row, column = (place[..., None, None, None] for place in probe_position(sector))
    y = torch.arange(sector.shape[-2], dtype=torch.float32, device=sector.device)[:, None] - row
    x = torch.arange(sector.shape[-1], dtype=torch.float32, device=sector.device) - column
    return y, x


def _largest(values: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """The largest of values (..., 1, H, W), none below 0, inside: (..., 1, 1, 1)."""
    return (values * inside).amax((-3, -2, -1), keepdim=True)


class _RandSector(RandomizableTransform):
    """A random change of the grey values inside the sector, of one frame or of a batch of them."""

    def draw(self) -> list[float]:
        """The numbers of one change."""
        raise NotImplementedError

    def change(self, img: torch.Tensor, sector: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Change frames (B, 1, H, W) by the numbers drawn for them (B, N)."""
        raise NotImplementedError

    def randomize(self, data: None = None) -> None:
        super().randomize(None)
        self._drawn = self.draw() if self._do_transform else None

    def __call__(self, img: torch.Tensor, sector: torch.Tensor, randomize: bool = True) -> torch.Tensor:
        """(1, H, W) and its sector (1, H, W) to (1, H, W)."""
        if randomize:
            self.randomize()
        if self._drawn is None:
            return img
        return self.change(img[None], sector[None], torch.tensor([self._drawn], device=img.device))[0]

    def draw_each(self, count: int) -> list[list[float] | None]:
        """A draw for each of so many frames; None for one that stays as it is."""
        drawn = []
        for _ in range(count):
            self.randomize()
            drawn.append(self._drawn)
        return drawn

    def batch(self, img: torch.Tensor, sector: torch.Tensor, drawn: Sequence[list[float] | None]) -> torch.Tensor:
        """(B, 1, H, W) and their sectors (B, 1, H, W) to (B, 1, H, W), by the draws of :meth:`draw_each`."""
        acting = {k: numbers for k, numbers in enumerate(drawn) if numbers is not None}
        if not acting:
            return img
        which = torch.tensor(list(acting), device=img.device)
        numbers = torch.tensor(list(acting.values()), device=img.device)
        return img.index_copy(0, which, self.change(img[which], sector[which], numbers))


class RandGain(_RandSector):
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
        super().__init__(prob)
        self.gain = as_range("gain", gain, above=0)
        self.gamma = as_range("gamma", gamma, above=0)
        self.offset = as_range("offset", offset, above=-1.0001, most=1)

    def draw(self) -> list[float]:
        return [self.R.uniform(*r) for r in (self.gain, self.gamma, self.offset)]

    def change(self, img: torch.Tensor, sector: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        gain, gamma, offset = drawn[..., None, None, None].unbind(1)
        return (img.pow(gamma) * gain + offset).clamp(0, 1) * (sector > 0)


class RandTimeGain(_RandSector):
    """Change the time-gain compensation: a smooth random factor along the depth, as set by a machine's sliders.

    Args:
        prob: probability to act, in [0, 1].
        strength: the factor at each slider is drawn from exp(-strength) to exp(strength).
        sliders: number of sliders from the probe to the deepest point, at least 2; between them the factor is linear.
    """

    def __init__(self, prob: float = 0.5, strength: float = 0.4, sliders: int = 6) -> None:
        super().__init__(prob)
        if strength < 0 or sliders < 2:
            raise ValueError(f"strength must be 0 or more and sliders 2 or more, got {strength} and {sliders}.")
        self.strength = strength
        self.sliders = sliders

    def draw(self) -> list[float]:
        return self.R.uniform(-self.strength, self.strength, self.sliders).tolist()

    def change(self, img: torch.Tensor, sector: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        inside = sector > 0
        depth = torch.hypot(*_from_probe(sector))
        factors = drawn.exp()
        position = (depth / _largest(depth, inside).clamp(min=1)).clamp(0, 1) * (self.sliders - 1)
        below = position.floor().clamp(max=self.sliders - 2)
        share = position - below
        slider = below.long().flatten(1)
        near, far = (factors.gather(1, slider + k).view_as(share) for k in (0, 1))
        return (img * (near * (1 - share) + far * share)).clamp(0, 1) * inside


class RandAcousticShadow(_RandSector):
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
        super().__init__(prob)
        self.width = as_range("width", width, above=0)
        self.darkness = as_range("darkness", darkness, above=-1e-9, most=1)
        self.start = as_range("start", start, above=-1e-9, most=1)

    def draw(self) -> list[float]:
        return [self.R.uniform(-1, 1)] + [self.R.uniform(*r) for r in (self.width, self.darkness, self.start)]

    def change(self, img: torch.Tensor, sector: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        side, width, darkness, start = drawn[..., None, None, None].unbind(1)
        inside = sector > 0
        depth, angle = polar_grid(sector)
        centre = side * _largest(angle.abs(), inside)
        across = torch.exp(-(((angle - centre) / width) ** 4))
        behind = torch.sigmoid((depth - start * _largest(depth, inside)) / 2)
        return img * (1 - darkness * across * behind) * inside


class _RandSectord(MapTransform, RandomizableTransform):
    """One draw for all keys of a dictionary; the sector lies under ``sector_key``."""

    def __init__(self, keys: KeysCollection, transform: _RandSector, sector_key: str, allow_missing_keys: bool) -> None:
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

    def batch(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """The same for a batch, every value (B, 1, H, W), with one draw a frame for all keys."""
        d = dict(data)
        drawn = self.transform.draw_each(len(d[self.sector_key]))
        for key in self.key_iterator(d):
            d[key] = self.transform.batch(d[key], d[self.sector_key], drawn)
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
