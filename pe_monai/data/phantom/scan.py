# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The phantom's ultrasound physics: where the sector lies, and how echo strength becomes speckled grey.

Positions are in mm with the origin in the (virtual) apex of the sector, x to the right and y away from the probe. A
polar grid has the shape (samples along the depth, beams).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

SAMPLES, BEAMS = 300, 168
_DYNAMIC_RANGE_DB = 48.0


@dataclass(frozen=True)
class Sector:
    """A wedge of an annulus, and where it lies in the frame.

    Attributes:
        half_angle: half the opening angle, in radians.
        face_mm: distance of the probe's face from the virtual apex; near 0 for a phased array, tens of mm if convex.
        depth_mm: depth of the picture, from the probe's face to the lower arc.
        apex: (row, column) of the virtual apex, in pixels; may lie above the frame.
        spacing: (row, column) distance of neighbouring pixels in mm.
    """

    half_angle: float
    face_mm: float
    depth_mm: float
    apex: tuple[float, float]
    spacing: tuple[float, float]

    @property
    def reach_mm(self) -> float:
        """Radius of the lower arc."""
        return self.face_mm + self.depth_mm

    def clearance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Distance in mm to the nearest edge of the sector, positive inside."""
        radius = np.hypot(x, y)
        side = radius * np.sin(np.clip(self.half_angle - np.abs(np.arctan2(x, y)), -np.pi / 2, np.pi / 2))
        return np.minimum(side, np.minimum(radius - self.face_mm, self.reach_mm - radius))

    def pixels(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Positions (x, y) in mm of the pixel centres of a frame of `size` (rows, columns), each (rows, columns)."""
        y = (np.arange(size[0], dtype=np.float32) - self.apex[0]) * self.spacing[0]
        x = (np.arange(size[1], dtype=np.float32) - self.apex[1]) * self.spacing[1]
        across, down = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
        return across, down

    def polar(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions (x, y) in mm of the polar grid, each (SAMPLES, BEAMS)."""
        radius = np.linspace(self.face_mm, self.reach_mm, SAMPLES, dtype=np.float32)[:, None]
        angle = np.linspace(-self.half_angle, self.half_angle, BEAMS, dtype=np.float32)[None, :]
        return radius * np.sin(angle), radius * np.cos(angle)

    def to_polar_index(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Fractional (sample, beam) of positions in mm, stacked in front: (2, ...)."""
        sample = (np.hypot(x, y) - self.face_mm) / self.depth_mm * (SAMPLES - 1)
        beam = (np.arctan2(x, y) / self.half_angle + 1) / 2 * (BEAMS - 1)
        return np.stack([sample, beam])


def random_sector(rng: np.random.Generator, size: tuple[int, int], depth_mm: float, pixel_aspect: float) -> Sector:
    """Draw a sector's shape, size and place in a frame of `size` (rows, columns).

    Args:
        rng: source of chance.
        size: (rows, columns) of the frame.
        depth_mm: depth of the picture.
        pixel_aspect: row spacing divided by column spacing.
    """
    half_angle = np.deg2rad(rng.triangular(70, 90, 95)) / 2
    convex = rng.random() < 0.15
    face = rng.uniform(15, 40) if convex else rng.uniform(1, 4)
    top, reach = face * np.cos(half_angle), face + depth_mm
    height, width = reach - top, 2 * reach * np.sin(half_angle)
    fill = rng.uniform(0.76, 0.92)
    row_mm = max(height / (fill * size[0]), width / (fill * size[1]) * pixel_aspect)
    spacing = (row_mm, row_mm / pixel_aspect)
    spare_rows, spare_columns = size[0] - height / spacing[0], size[1] - width / spacing[1]
    apex_row = spare_rows * rng.uniform(0.3, 0.7) - top / spacing[0]
    apex_column = size[1] / 2 + spare_columns * rng.uniform(-0.3, 0.3)
    return Sector(float(half_angle), float(face), float(depth_mm), (apex_row, apex_column), spacing)


def smooth_noise(rng: np.random.Generator, cells: tuple[int, int]) -> np.ndarray:
    """Slowly varying noise of unit variance on the polar grid, with about `cells` (depth, arc) independent values."""
    coarse = rng.standard_normal(cells, dtype=np.float32)
    return np.asarray(Image.fromarray(coarse).resize((BEAMS, SAMPLES), Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class Machine:
    """How the machine is set, and what hides the heart from it: the same for every frame of a clip.

    Attributes:
        gain_db: (SAMPLES, BEAMS) gain less attenuation, shadows and dropouts, in dB.
        noise_db: level of the electronic noise.
        blur: standard deviation of the point spread, in (samples, beams).
        gamma: exponent of the grey map.
        texture: (2, SAMPLES, BEAMS) the scatterers at rest, real and imaginary.
    """

    gain_db: np.ndarray
    noise_db: float
    blur: tuple[float, float]
    gamma: float
    texture: np.ndarray


def random_machine(rng: np.random.Generator) -> Machine:
    """Draw gain, depth compensation, edge fall-off, dropouts, at most two acoustic shadows, and the scatterers."""
    depth = np.linspace(0, 1, SAMPLES, dtype=np.float32)[:, None]
    beam = np.linspace(-1, 1, BEAMS, dtype=np.float32)[None, :]
    gain = rng.uniform(-13, 4) + rng.uniform(-9, 5) * depth - rng.uniform(0, 10) * np.abs(beam) ** 4
    gain = gain + 4.5 * smooth_noise(rng, (5, 6)) + 3 * smooth_noise(rng, (2, 12))
    for _ in range(rng.choice(3, p=(0.6, 0.3, 0.1))):
        middle, half_width, start = rng.uniform(-1, 1), rng.uniform(0.03, 0.12), rng.uniform(0.05, 0.6)
        across = np.exp(-(((beam - middle) / half_width) ** 4))
        gain = gain - rng.uniform(8, 18) * across * np.clip((depth - start) / 0.08, 0, 1)
    return Machine(
        gain_db=gain.astype(np.float32),
        noise_db=rng.uniform(-60, -46),
        blur=(rng.uniform(0.8, 1.3), rng.uniform(1.2, 2.1)),
        gamma=rng.uniform(0.9, 1.35),
        texture=rng.standard_normal((2, SAMPLES, BEAMS), dtype=np.float32),
    )


def speckle_grey(rng: np.random.Generator, echo_db: np.ndarray, machine: Machine) -> np.ndarray:
    """Turn echo strength into the grey that a machine shows, on the polar grid.

    The echo is the sum of many random scatterers seen through the point spread (fully developed speckle: the magnitude
    of a complex Gaussian field is Rayleigh distributed), with electronic noise, then compressed logarithmically. A beam
    spreads with its depth, so the speckle gets coarser there.

    Args:
        rng: source of chance for this frame.
        echo_db: (SAMPLES, BEAMS) echo strength in dB, about 0 for the pericardium and -45 for fluid.
        machine: settings of the clip.

    Returns:
        (SAMPLES, BEAMS) float32 in [0, 1].
    """
    amplitude = 10 ** ((echo_db + machine.gain_db) / 20)
    fresh = rng.standard_normal((2, *echo_db.shape), dtype=np.float32)
    field = amplitude * (0.85 * machine.texture + 0.53 * fresh)
    field += np.float32(10 ** (machine.noise_db / 20)) * fresh[:, ::-1, ::-1]
    for axis, sigma in enumerate(machine.blur, start=1):
        field = ndimage.gaussian_filter1d(field, sigma, axis=axis, mode="nearest")
        field *= np.sqrt(2 * np.sqrt(np.pi) * sigma)
    level_db = 10 * np.log10(field[0] ** 2 + field[1] ** 2 + 1e-9)
    return (np.clip(level_db / _DYNAMIC_RANGE_DB + 0.92, 0, 1) ** machine.gamma).astype(np.float32)
