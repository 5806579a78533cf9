# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Echo strength of the phantom's anatomy on the polar grid, for any moment of the beat."""

from __future__ import annotations

import numpy as np

from pe_monai.data.phantom.heart import Outline, Surroundings, View
from pe_monai.data.phantom.scan import BEAMS, SAMPLES, Sector, smooth_noise


def _blend(base: np.ndarray, level: np.ndarray | float, inside_mm: np.ndarray, edge_mm: float = 1.5) -> np.ndarray:
    """Paint `level` where `inside_mm` is positive, with an edge about `edge_mm` wide."""
    return base + (level - base) * np.clip(inside_mm / edge_mm + 0.5, 0, 1)


class EchoMap:
    """Echo strength in dB (0: pericardium, -20: muscle, -45: fluid) of one heart; what does not move is kept."""

    def __init__(
        self, rng: np.random.Generator, view: View, outline: Outline, around: Surroundings, sector: Sector
    ) -> None:
        """Draw the levels and textures that make this patient differ from the next.

        Args:
            rng: source of chance.
            view: chambers and leaflets to paint.
            outline: epicardium at rest.
            around: distances from that epicardium.
            sector: where the polar grid lies.
        """
        x, y = sector.polar()
        self._distance, self._profile, self._facing = around.at(x, y)
        self._view, self._unit_mm = view, float(np.sqrt(outline.half_axes[0] * outline.half_axes[1]))
        wobble = 0.022 * self._unit_mm
        u, v = outline.heart_units(x + wobble * smooth_noise(rng, (10, 10)), y + wobble * smooth_noise(rng, (10, 10)))
        self._u, self._v = u.astype(np.float32), v.astype(np.float32)
        self._tilts = [c.tilt + rng.normal(0, 0.06) for c in view.chambers]
        self._scales = rng.uniform(0.95, 1.2, len(view.chambers))

        self._patches = smooth_noise(rng, (18, 16))
        streaks = smooth_noise(rng, (70, 9))
        self._muscle = rng.uniform(-26, -18) + 4 * self._patches + 3 * streaks
        self._blood = rng.uniform(-52, -38) + 1.5 * self._patches
        self._fluid = rng.uniform(-54, -42) + 2 * smooth_noise(rng, (8, 8))
        self._bright = smooth_noise(rng, (12, 10))
        self._pericardium_db = rng.uniform(-6, 3)
        self._pericardium_mm = rng.uniform(2.0, 4.0)
        self._lining_db = rng.uniform(-14, -8)
        depth_mm = np.linspace(0, sector.depth_mm, SAMPLES, dtype=np.float32)[:, None]
        self._outside = rng.uniform(-26, -12) + 9 * smooth_noise(rng, (5, 5)) + 3 * self._patches + 4 * streaks
        self._outside = self._outside - np.clip(self._distance / sector.depth_mm, 0, 1) * rng.uniform(0, 25)
        self._clutter = rng.uniform(-20, -5) - depth_mm / rng.uniform(0.8, 2.2) + 4 * smooth_noise(rng, (60, 5))
        self._clutter = np.broadcast_to(self._clutter, (SAMPLES, BEAMS))

    def at(self, contraction: float, inward_mm: float, thickness_mm: float) -> np.ndarray:
        """Echo strength when the heart is contracted by `contraction` in [0, 1].

        Args:
            contraction: 0 at rest, 1 in full contraction.
            inward_mm: how far the epicardium has moved inwards from its place at rest.
            thickness_mm: greatest thickness of the effusion at this moment; 0 for none.

        Returns:
            (SAMPLES, BEAMS) float32, in dB.
        """
        depth_in_wall = -(self._distance + inward_mm)
        beyond = -depth_in_wall - thickness_mm * self._profile
        echo = self._muscle.copy()
        for chamber, tilt, scale in zip(self._view.chambers, self._tilts, self._scales, strict=True):
            grown = scale * (1 - chamber.squeeze * contraction)
            radii = np.array(chamber.radii) * grown
            inside = self._ellipse(chamber.centre, radii, tilt)
            if chamber.wall:
                echo = _blend(echo, self._muscle, inside + chamber.wall * self._unit_mm)
            # Chambers stop short of the epicardium by a thin wall, whatever their ellipse says.
            inside = np.minimum(inside, depth_in_wall - 3.0)
            echo = _blend(echo, self._blood, inside)
            echo = np.maximum(echo, self._lining_db - 5 + 6 * self._bright - 3 * np.abs(inside + 0.8))
        for start, end in self._view.leaflets:
            closed = 0.6 + 0.4 * contraction
            end = (start[0] + (end[0] - start[0]) * closed, start[1] + (end[1] - start[1]) * closed)
            echo = np.maximum(
                echo, self._lining_db + 3 * self._bright - 5 * np.maximum(self._segment(start, end) - 0.7, 0)
            )

        echo = _blend(echo, self._outside, -depth_in_wall, 1.0)
        if thickness_mm > 0:
            lining = self._lining_db - 4 + 8 * (self._facing - 0.7) + 3 * self._bright
            echo = np.maximum(echo, lining - 4 * np.abs(depth_in_wall - 0.8))
            echo = _blend(echo, self._fluid, np.minimum(-depth_in_wall, -beyond), 0.8)
        line = self._pericardium_db + 18 * (self._facing - 1) + 7 * self._bright
        away = np.abs(beyond - self._pericardium_mm / 2) - self._pericardium_mm / 2
        echo = np.maximum(echo, line - 5 * np.maximum(away, 0))
        return np.logaddexp(echo * 0.2303, self._clutter * 0.2303).astype(np.float32) / np.float32(0.2303)

    def _ellipse(self, centre: tuple[float, float], radii: np.ndarray, tilt: float) -> np.ndarray:
        """About the distance in mm to an ellipse's edge, positive inside."""
        cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
        du, dv = self._u - np.float32(centre[0]), self._v - np.float32(centre[1])
        reach = np.hypot((cos * du + sin * dv) / np.float32(radii[0]), (cos * dv - sin * du) / np.float32(radii[1]))
        return (1 - reach) * np.float32(radii.min() * self._unit_mm)

    def _segment(self, start: tuple[float, float], end: tuple[float, float]) -> np.ndarray:
        """About the distance in mm to a segment given in heart units."""
        along = np.subtract(end, start).astype(np.float32)
        du, dv = self._u - np.float32(start[0]), self._v - np.float32(start[1])
        share = np.clip((du * along[0] + dv * along[1]) / float(along @ along), 0, 1)
        return np.hypot(du - share * along[0], dv - share * along[1]) * np.float32(self._unit_mm)
