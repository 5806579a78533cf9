# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The outline of an ultrasound sector: two straight sides, a bottom and a top.

For coordinates and ``unit`` see `pe_monai.transforms.sector_edges`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pe_monai.transforms.sector_edges import Edge, LineSearch, fit_arc, fit_line_near

_MIN_POINTS = 8


@dataclass(frozen=True)
class Outline:
    """The edges that bound a sector."""

    edges: tuple[Edge, ...]

    def mask(self, shape: tuple[int, int], margin: float = 0.25) -> np.ndarray:
        """Return bool (H, W): the pixels no further than ``margin`` pixels outside any edge."""
        y, x = np.ogrid[: shape[0], : shape[1]]
        inside = np.ones(shape, bool)
        for edge in self.edges:
            inside &= edge.holds(y, x, margin)
        return inside


def fit_outline(layers: list[np.ndarray], region: np.ndarray, unit: float) -> Outline | None:
    """Fit the outline of a sector to the pixels that show an echo.

    The shapes covered: a wedge with a sharp apex (phased array), a wedge whose top is an arc (convex probe) or flat,
    and a trapezoid or rectangle (linear probe).

    Args:
        layers: bool (H, W) each, the pixels at or above one of several thresholds, lowest first. Every edge is taken
            from the layer that shows it best: the lowest sees dark tissue, the others see past compression noise.
        region: bool (H, W), where to look.
        unit: see `pe_monai.transforms.sector_edges`.

    Returns:
        The outline, None if there is too little tissue for one.
    """
    profiles = [_profiles(layer, region) for layer in layers]
    profiles = [profile for profile in profiles if min(len(points) for points in profile.values()) >= _MIN_POINTS]
    if not profiles:
        return None
    sides = _fit_sides(profiles, unit)
    tops, bottoms = ([_between(profile[name], sides, unit) for profile in profiles] for name in ("top", "bottom"))
    down = np.array([np.pi / 2])
    bottom = LineSearch(bottoms, -down, unit).fit()
    first, last = float(np.percentile(tops[0][:, 0], 2)), -bottom.c
    apex = _meeting_point(*sides)
    if apex is None or last <= apex[0] or first - apex[0] > 4.0 * (last - first):
        return Outline((*sides, bottom, LineSearch(tops, down, unit).fit()))
    reach = last - apex[0]
    arc = fit_arc(bottoms, apex, np.linspace(-0.25, 0.15, 25) * reach, -1.0, unit)
    # A level line touches the lowest part of an arc, so it scores even where the arc is right.
    if arc.score >= 0.8 * bottom.score or bottom.contact < 0.4:
        bottom = _lowered(arc, bottoms[0], unit)
    drop = bottom.b - apex[0] if bottom.kind == "arc" else 0.0
    top = _fit_top(tops, sides, apex, drop, reach, unit)
    if top is None or _cuts_off_tissue(top, sides, layers[-1] & region, unit):
        return Outline((*sides, bottom))
    return Outline((*sides, bottom, top))


def _profiles(tissue: np.ndarray, region: np.ndarray) -> dict[str, np.ndarray]:
    """Return for each side of bool ``tissue`` (H, W) the outermost pixels in ``region``, (N, 2) as (y, x).

    Where the tissue runs on beyond the region, its end there is the region's, not its own: such pixels are left out.
    """
    height, width = tissue.shape
    inner = tissue & region
    rows, columns = np.flatnonzero(inner.any(axis=1)), np.flatnonzero(inner.any(axis=0))
    by_row, by_column = inner[rows], np.ascontiguousarray(inner.T)[columns]
    profiles = {
        "left": (rows, by_row.argmax(axis=1), 0, -1),
        "right": (rows, width - 1 - by_row[:, ::-1].argmax(axis=1), 0, 1),
        "top": (by_column.argmax(axis=1), columns, -1, 0),
        "bottom": (height - 1 - by_column[:, ::-1].argmax(axis=1), columns, 1, 0),
    }
    # nothing runs on beyond the frame
    padded = np.pad(tissue, 1)
    return {
        name: np.stack([y, x], axis=1)[~padded[y + (1 + dy), x + (1 + dx)]] for name, (y, x, dy, dx) in profiles.items()
    }


def _fit_sides(profiles: list[dict[str, np.ndarray]], unit: float) -> tuple[Edge, Edge]:
    """Return the left and the right side; the one with less evidence leans to the mirror image of the other."""
    left_points, right_points = ([profile[name] for profile in profiles] for name in ("left", "right"))
    # The inward normal of the left side points right and, for a wedge, down.
    angles = np.deg2rad(np.arange(-6.0, 81.0, 1.5))
    searches = LineSearch(left_points, angles, unit), LineSearch(right_points, np.pi - angles, unit)
    left, right = (search.fit() for search in searches)
    if left.score < right.score:
        left = searches[0].fit(expected=float(np.pi - np.arctan2(right.b, right.a)))
    else:
        right = searches[1].fit(expected=float(np.pi - np.arctan2(left.b, left.a)))
    weak, strong = (left, right) if left.contact < right.contact else (right, left)
    if weak.contact >= 0.35 or strong.contact < 0.45:
        return left, right
    name = "left" if weak is left else "right"
    apex, top = _meeting_point(left, right), float(profiles[0]["top"][:, 0].min())
    narrower = _opening_angle(weak) < _opening_angle(strong) - np.deg2rad(8.0)
    low_apex = apex is None or apex[0] - top > 4.0 * unit
    if not narrower and not low_apex and _share_outside(weak, profiles[0][name], unit) < 0.06:
        return left, right
    other = _mirrored(profiles[0], name, strong, unit)
    if other is None or other.score < 0.75 * weak.score:
        return left, right
    return (other, right) if weak is left else (left, other)


def _opening_angle(side: Edge) -> float:
    """Return the angle in radians between ``side`` and the vertical, positive if the sector widens downwards."""
    return float(np.arctan2(side.b, abs(side.a)))


def _mirrored(profile: dict[str, np.ndarray], name: str, side: Edge, unit: float) -> Edge | None:
    """Return a side that meets ``side`` at the top of the tissue at nearly the same angle, None if that is level."""
    if side.b < 0.25:
        return None
    top = float(profile["top"][:, 0].min())
    y = top - np.linspace(0.0, 3.0, 7) * unit
    pivots = np.stack([y, (side.c - side.b * y) / side.a], axis=1)
    angle = _opening_angle(side) + np.deg2rad(np.arange(-3.0, 3.1, 0.5))
    return fit_line_near(profile[name], angle if name == "left" else np.pi - angle, pivots, unit)


def _share_outside(edge: Edge, points: np.ndarray, unit: float) -> float:
    """Return the share of a profile's pixels that ``edge`` leaves out."""
    return float((edge.depth(*points.T) < -2.0 * unit).mean())


def _meeting_point(left: Edge, right: Edge) -> tuple[float, float] | None:
    """Return (y, x) where the sides meet above the sector, None if they are parallel or meet below."""
    determinant = left.a * right.b - left.b * right.a
    if determinant < 1e-3:
        return None
    x = (left.c * right.b - left.b * right.c) / determinant
    y = (left.a * right.c - left.c * right.a) / determinant
    return y, x


def _between(points: np.ndarray, sides: tuple[Edge, Edge], unit: float) -> np.ndarray:
    """Return the ``points`` that lie clear of both sides, or all if few do."""
    y, x = points.T
    clear = np.all([side.depth(y, x) > 3.0 * unit for side in sides], axis=0)
    return points[clear] if clear.sum() >= _MIN_POINTS else points


def _lowered(arc: Edge, points: np.ndarray, unit: float) -> Edge:
    """Return ``arc``, moved out to hold the tissue of a dark far field if it is hardly supported where it is."""
    if arc.contact > 0.25 or _share_outside(arc, points, unit) < 0.06:
        return arc
    return replace(arc, c=arc.c - float(np.percentile(arc.depth(*points.T), 1)))


def _fit_top(
    profiles: list[np.ndarray],
    sides: tuple[Edge, Edge],
    apex: tuple[float, float],
    drop: float,
    reach: float,
    unit: float,
) -> Edge | None:
    """Return the edge that cuts the apex off, None for a sharp apex.

    A cut needs evidence over most of its width: an apex that is merely dark, or a notch in the tissue, must not count,
    since the sector is the same without it.
    """
    arc = fit_arc(profiles, apex, np.array([drop]), 1.0, unit)
    line = LineSearch(profiles, np.array([np.pi / 2]), unit).fit()
    top, cut = (arc, arc.c + drop) if arc.score >= line.score else (line, line.c - apex[0])
    if not 0.1 * reach < cut < 0.7 * reach or top.contact < 0.6:
        return None
    left, right = ((side.c - side.b * (apex[0] + 0.9 * cut)) / side.a for side in sides)
    return top if top.contact * len(profiles[0]) >= 0.5 * (right - left) else None


def _cuts_off_tissue(top: Edge, sides: tuple[Edge, Edge], tissue: np.ndarray, unit: float) -> bool:
    """Say whether ``top`` leaves out a good part of a near field, which an anechoic band may separate from the rest."""
    y, x = np.ogrid[: tissue.shape[0], : tissue.shape[1]]
    above = sides[0].holds(y, x, 0.0) & sides[1].holds(y, x, 0.0) & ~top.holds(y, x, 2.0 * unit)
    return bool(tissue[above].sum() > 0.1 * above.sum())
