# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The phantom's anatomy: a convex epicardium, chambers inside it, and an effusion of exactly known thickness around it.

The effusion is the set of points whose distance d to the epicardium obeys 0 < d < t(s), s being the arc length of the
nearest epicardial point. Where t keeps its maximum T over an arc longer than T, the largest inscribed circle has
exactly the diameter T: it touches the epicardium and the pericardium, and no disc between two parallel curves is wider
than they are apart. Distances come from the support function h of the convex outline: d(p) = max over normals n of
p.n - h(n).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pe_monai.data.phantom.scan import Sector

_NORMALS = 256
_GRID_MM = 2.5
_PLATEAU_MARGIN_MM = 3.0


@dataclass(frozen=True)
class Chamber:
    """An ellipse in heart units: u across, v along the axis, the epicardium at about u² + v² = 1, v = -1 its tip.

    Attributes:
        centre: (u, v).
        radii: half axes (u, v).
        tilt: rotation in radians.
        squeeze: share of the radii lost in full contraction; negative for atria, which fill then.
        wall: muscle painted around it, in heart units, over what was painted before.
    """

    centre: tuple[float, float]
    radii: tuple[float, float]
    tilt: float = 0.0
    squeeze: float = 0.25
    wall: float = 0.0


@dataclass(frozen=True)
class View:
    """A standard view: size and place of the heart as shares of the depth, its chambers and valve leaflets.

    Attributes:
        half_axes: (across, along) half axes of the epicardium, shares of the depth.
        centre_depth: depth of the heart's centre, a share of the depth.
        tilt: mean rotation in radians.
        chambers: in the order in which they are painted.
        leaflets: segments ((u, v), (u, v)).
    """

    half_axes: tuple[float, float]
    centre_depth: float
    tilt: float
    chambers: tuple[Chamber, ...]
    leaflets: tuple[tuple[tuple[float, float], tuple[float, float]], ...] = ()


VIEWS = {
    "apical four-chamber": View(
        half_axes=(0.31, 0.40),
        centre_depth=0.53,
        tilt=0.0,
        chambers=(
            Chamber((-0.45, -0.08), (0.30, 0.50), -0.25, 0.2),
            Chamber((0.33, -0.24), (0.41, 0.62), 0.12, 0.2, 0.12),
            Chamber((0.34, 0.62), (0.36, 0.26), 0.0, -0.12),
            Chamber((-0.38, 0.62), (0.34, 0.27), 0.0, -0.12),
        ),
        leaflets=(((0.02, 0.33), (0.27, 0.22)), ((0.64, 0.30), (0.40, 0.22)), ((-0.1, 0.35), (-0.38, 0.30))),
    ),
    "apical two-chamber": View(
        half_axes=(0.27, 0.40),
        centre_depth=0.53,
        tilt=0.1,
        chambers=(Chamber((0.0, -0.2), (0.62, 0.62), 0.0, 0.2), Chamber((0.05, 0.66), (0.54, 0.26), 0.0, -0.12)),
        leaflets=(((-0.45, 0.36), (-0.05, 0.22)), ((0.48, 0.34), (0.1, 0.22))),
    ),
    "parasternal short axis": View(
        half_axes=(0.30, 0.28),
        centre_depth=0.50,
        tilt=0.0,
        chambers=(
            Chamber((-0.45, -0.42), (0.48, 0.38), -0.7, 0.2),
            Chamber((0.16, 0.12), (0.52, 0.54), 0.0, 0.25, 0.22),
        ),
        leaflets=(((-0.1, 0.32), (0.02, 0.26)), ((0.42, 0.28), (0.32, 0.22))),
    ),
    "parasternal long axis": View(
        half_axes=(0.28, 0.40),
        centre_depth=0.50,
        tilt=1.25,
        chambers=(
            Chamber((0.60, 0.05), (0.22, 0.50), 0.1, 0.2),
            Chamber((0.20, 0.62), (0.18, 0.34), 0.1, 0.0),
            Chamber((-0.08, -0.25), (0.38, 0.58), -0.05, 0.2, 0.1),
            Chamber((-0.36, 0.54), (0.38, 0.32), 0.0, -0.12),
        ),
        leaflets=(((0.1, 0.30), (-0.06, 0.05)), ((-0.42, 0.24), (-0.2, 0.05)), ((0.03, 0.42), (0.36, 0.5))),
    ),
}


@dataclass(frozen=True)
class Outline:
    """A smooth convex closed curve, sampled at equally spaced directions of its outward normal.

    Attributes:
        normals, points: (N, 2) unit normals and the points that have them, (x, y) in mm.
        support, curvature_radius, arc: (N,) in mm; the arc length is counted from the first point.
        perimeter: in mm.
        centre, half_axes: (x, y) and (across, along) in mm; `tilt` in radians.
    """

    normals: np.ndarray
    points: np.ndarray
    support: np.ndarray
    curvature_radius: np.ndarray
    arc: np.ndarray
    perimeter: float
    centre: tuple[float, float]
    half_axes: tuple[float, float]
    tilt: float

    def heart_units(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions in mm to (u, v)."""
        dx, dy, cos, sin = x - self.centre[0], y - self.centre[1], np.cos(self.tilt), np.sin(self.tilt)
        return (cos * dx + sin * dy) / self.half_axes[0], (cos * dy - sin * dx) / self.half_axes[1]


def random_outline(rng: np.random.Generator, view: View, sector: Sector, shrink: float) -> Outline:
    """Draw an epicardium for a view: an ellipse with a mild third harmonic, at a jittered place, `shrink` its scale."""
    half_axes = np.array(view.half_axes) * sector.depth_mm * shrink * rng.uniform(0.9, 1.1, 2)
    tilt = view.tilt + rng.normal(0, 0.12)
    centre = (rng.normal(0, 0.05) * sector.depth_mm, sector.face_mm + view.centre_depth * sector.depth_mm)
    phi = np.arange(_NORMALS) * (2 * np.pi / _NORMALS)
    cos, sin = half_axes[0] * np.cos(phi - tilt), half_axes[1] * np.sin(phi - tilt)
    ellipse = np.hypot(cos, sin)
    # The third harmonic takes 8 times its height off the radius of curvature: a sixteenth leaves half of it.
    tightest = min(half_axes) ** 2 / max(half_axes)
    egg = rng.uniform(-1, 1) * tightest / 16
    third = 3 * (phi - tilt) - np.pi / 2
    support = ellipse + egg * np.cos(third)
    slope = (half_axes[1] ** 2 - half_axes[0] ** 2) * np.sin(2 * (phi - tilt)) / (2 * ellipse) - 3 * egg * np.sin(third)
    radius = (half_axes[0] * half_axes[1]) ** 2 / ellipse**3 - 8 * egg * np.cos(third)
    normals = np.stack([np.cos(phi), np.sin(phi)], axis=1)
    tangents = np.stack([-np.sin(phi), np.cos(phi)], axis=1)
    points = support[:, None] * normals + slope[:, None] * tangents + centre
    steps = (radius + np.roll(radius, -1)) * (np.pi / _NORMALS)
    return Outline(
        normals=normals,
        points=points,
        support=support + normals @ np.array(centre),
        curvature_radius=radius,
        arc=np.concatenate([[0.0], np.cumsum(steps)[:-1]]),
        perimeter=float(steps.sum()),
        centre=centre,
        half_axes=(float(half_axes[0]), float(half_axes[1])),
        tilt=float(tilt),
    )


@dataclass(frozen=True)
class Pocket:
    """Fluid around the epicardial arc length `middle`: full thickness within `plateau`, none beyond `reach` (mm)."""

    middle: float
    plateau: float
    reach: float
    share: float = 1.0

    def profile(self, arc: np.ndarray, perimeter: float) -> np.ndarray:
        """Share of the greatest thickness at the given arc lengths, in [0, 1]."""
        away = np.abs((arc - self.middle + perimeter / 2) % perimeter - perimeter / 2)
        fall = np.clip((away - self.plateau) / (self.reach - self.plateau), 0, 1)
        return self.share * (1 - fall**2)


def random_pockets(
    rng: np.random.Generator, outline: Outline, sector: Sector, thickness_mm: float
) -> tuple[Pocket, ...] | None:
    """Draw one or two pockets, the first with a full inscribed circle inside the sector; None where none fits."""
    radius = thickness_mm / 2
    centres = outline.points + radius * outline.normals
    fits = np.flatnonzero(sector.clearance(centres[:, 0], centres[:, 1]) > radius + 1.0)
    plateau = radius + _PLATEAU_MARGIN_MM
    least, most = plateau + max(8.0, thickness_mm), 0.48 * outline.perimeter
    if not len(fits) or least > most:
        return None
    pockets = [Pocket(outline.arc[rng.choice(fits)], plateau, rng.uniform(least, most))]
    if rng.random() < 0.4:
        middle = pockets[0].middle + outline.perimeter * rng.uniform(0.3, 0.7)
        pockets.append(Pocket(middle, plateau, rng.uniform(least, most), rng.uniform(0.3, 0.8)))
    return tuple(pockets)


class Surroundings:
    """Distance to the epicardium and fluid profile anywhere in a sector, from a lattice that both grids interpolate."""

    def __init__(self, outline: Outline, pockets: tuple[Pocket, ...], sector: Sector) -> None:
        half_width = sector.reach_mm * np.sin(sector.half_angle) + _GRID_MM
        xs = np.arange(-half_width, half_width + _GRID_MM, _GRID_MM)
        ys = np.arange(-_GRID_MM, sector.reach_mm + 2 * _GRID_MM, _GRID_MM)
        self._start = (ys[0], xs[0])
        lattice = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2).astype(np.float32)
        heights = lattice @ outline.normals.T.astype(np.float32) - outline.support.astype(np.float32)
        nearest = heights.argmax(axis=1)
        distance = np.take_along_axis(heights, nearest[:, None], axis=1)[:, 0]
        normal, radius = outline.normals[nearest], outline.curvature_radius[nearest]
        along = ((lattice - outline.points[nearest]) * np.stack([-normal[:, 1], normal[:, 0]], axis=1)).sum(axis=1)
        arc = outline.arc[nearest] + along * radius / np.maximum(radius + distance, 1.0)
        profile = np.zeros(len(lattice))
        for pocket in pockets:
            profile = np.maximum(profile, pocket.profile(arc, outline.perimeter))
        facing = np.abs((normal * lattice).sum(axis=1)) / np.maximum(np.linalg.norm(lattice, axis=1), 1.0)
        shape = (len(ys), len(xs))
        self._fields = [f.reshape(shape).astype(np.float32) for f in (distance, profile, facing)]

    def at(self, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        """Distance in mm (negative inside), fluid profile in [0, 1], |cosine| of beam and normal, at (x, y) in mm."""
        where = np.stack([(y - self._start[0]) / _GRID_MM, (x - self._start[1]) / _GRID_MM])
        return [ndimage.map_coordinates(field, where, order=1, mode="nearest") for field in self._fields]
