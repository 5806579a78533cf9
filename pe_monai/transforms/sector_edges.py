# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Straight and round edges fitted to the outermost tissue of an ultrasound sector.

Each row (or column) contributes its outermost tissue pixel. An edge is scored by how many of these lie on it, against
how many lie outside it: a dark stretch, where the outermost tissue is far inside, costs nothing, and a few marks
outside are outvoted. That is a Hough transform of the profile with an asymmetric kernel, refined around its maximum.

Coordinates are pixel centres, x to the right and y down. ``unit`` is the length, in pixels, that one pixel has in a
frame of about 224 x 320: tolerances are stated in it so that large frames are judged alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

_OUTSIDE_COST = 4.0
# The kernel is spelled out from 3 units outside, where it is the cost but for 3e-5, to 16 inside.
_KERNEL_OUTSIDE, _KERNEL_INSIDE = 3, 16
_POINTS = 200
_TABLE_STEPS = 16
# Two sides differ by a few degrees, arcs are centred near the apex: spreads of the priors, in radians and radii. The
# arc's centre lies on the apex for square pixels and some 0.15 radii above it in a frame squeezed by a tenth.
_ANGLE_SPREAD = np.deg2rad(10.0)
_DROP_CENTRE, _DROP_SPREAD = -0.07, 0.08
_PRIOR_WEIGHT = 0.1


@dataclass(frozen=True)
class Edge:
    """A boundary with the tissue on the side where `depth` is at least zero.

    Attributes:
        kind: "line" or "arc".
        a, b, c: for a line, depth = a x + b y - c with (a, b) the unit normal pointing inwards; for an arc,
            depth = sign (hypot(x - a, y - b) - c).
        sign: 1 if the tissue lies outside the circle (a probe's surface), -1 if inside (the far end of the field).
        contact: share of the profile's pixels that lie on the edge.
        score: the value of the search's objective.
    """

    kind: str
    a: float
    b: float
    c: float
    sign: float
    contact: float
    score: float

    def depth(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the signed distance in pixels of the points (``y``, ``x``) from the edge, positive towards tissue."""
        if self.kind == "line":
            return self.a * x + self.b * y - self.c
        return self.sign * (np.hypot(x - self.a, y - self.b) - self.c)

    def holds(self, y: np.ndarray, x: np.ndarray, margin: float) -> np.ndarray:
        """Return where ``depth`` is at least ``-margin``, with nothing but a comparison per pixel of an open grid."""
        if self.kind == "line":
            return self.a * x >= self.c - margin - self.b * y
        radius = max(self.c - self.sign * margin, 0.0)
        across, left = (x - self.a) ** 2, radius**2 - (y - self.b) ** 2
        return across >= left if self.sign > 0 else across <= left


@dataclass(frozen=True)
class _Fit:
    parameter: float
    offset: float
    contact: float
    score: float


class LineSearch:
    """Lines through the best of several profiles; the search over all directions is done once, whatever is expected.

    Args:
        profiles: each (N, 2) as (y, x), the outermost tissue of the rows or columns, N at least 1.
        angles: directions in radians of the inward normal to try, evenly spaced; if several, the best is refined.
        unit: see the module.
    """

    def __init__(self, profiles: list[np.ndarray], angles: np.ndarray, unit: float) -> None:
        def level(angle: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
            return np.cos(angle)[:, None] * x + np.sin(angle)[:, None] * y

        self._centre = profiles[0].mean(axis=0)
        self._unit = unit
        self._search = _Search(profiles, self._centre, unit, level, angles)

    def fit(self, expected: float | None = None) -> Edge:
        """Return the best line; ``expected`` is a direction to lean to where the profile says little."""

        def prior(angle: np.ndarray) -> np.ndarray:
            return np.zeros_like(angle) if expected is None else -(((angle - expected) / _ANGLE_SPREAD) ** 2)

        fit = self._search.fit(prior)
        a, b = float(np.cos(fit.parameter)), float(np.sin(fit.parameter))
        offset = fit.offset * self._unit + a * float(self._centre[1]) + b * float(self._centre[0])
        return Edge("line", a, b, offset, 1.0, fit.contact, fit.score)


def fit_line_near(points: np.ndarray, angles: np.ndarray, pivots: np.ndarray, unit: float) -> Edge:
    """Return the best of the lines that pass one of the ``pivots`` at one of the ``angles``.

    Args:
        points: one profile, see `LineSearch`.
        angles: directions in radians of the inward normal.
        pivots: (N, 2) as (y, x).
        unit: see the module.
    """
    y, x = points[:: max(1, round(len(points) / _POINTS))].T
    a, b = np.cos(angles)[:, None], np.sin(angles)[:, None]
    offset = a * pivots[:, 1] + b * pivots[:, 0]
    level = (a * x + b * y) / unit
    total = _total(level[:, None], offset[..., None] / unit)
    i, j = np.unravel_index(int(total.argmax()), total.shape)
    contact = float((np.abs(level[i] - offset[i, j] / unit - 0.35) < 1.5).mean())
    return Edge("line", float(a[i, 0]), float(b[i, 0]), float(offset[i, j]), 1.0, contact, float(total[i, j]))


def fit_arc(profiles: list[np.ndarray], apex: tuple[float, float], drops: np.ndarray, sign: float, unit: float) -> Edge:
    """Fit an arc, centred on the apex or somewhat above or below it, to the best of several profiles.

    A frame that was resized with another aspect ratio has arcs of an ellipse. Over a sector's width these are circles
    to a fraction of a pixel, but with the centre off the apex.

    Args:
        profiles: see `LineSearch`.
        apex: (y, x) where the sides meet.
        drops: distances in pixels of the centre below the apex to try, evenly spaced; if several, the best is refined.
        sign: see `Edge`.
        unit: see the module.
    """
    size = max(float(profiles[0][:, 0].max() - apex[0]) / unit, 1.0)

    def level(drop: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        # The drop is added so that the offset is the arc's lowest point, which stays put while the centre moves.
        return sign * (np.hypot(y - drop[:, None], x) + drop[:, None])

    def prior(drop: np.ndarray) -> np.ndarray:
        return np.zeros(1) if len(drops) == 1 else -(((drop / size - _DROP_CENTRE) / _DROP_SPREAD) ** 2)

    fit = _Search(profiles, np.array(apex), unit, level, drops / unit).fit(prior)
    radius = (sign * fit.offset - fit.parameter) * unit
    return Edge("arc", apex[1], apex[0] + fit.parameter * unit, radius, sign, fit.contact, fit.score)


def _kernel(depth: np.ndarray) -> np.ndarray:
    """Score of an outermost tissue pixel at ``depth`` units inside an edge: best on it, nothing deep, a cost outside.

    On a digitised slope the outermost pixels lie 0 to 0.7 pixels inside the ideal line, hence the flat top there.
    """
    on_edge = np.exp(-0.5 * (np.clip(np.abs(depth - 0.35) - 0.35, 0, None) / 0.6) ** 2)
    inside = 3.0 * on_edge + np.exp(-np.clip(depth, 0, None) / 6.0)
    outside = 4.0 * on_edge - _OUTSIDE_COST * (1.0 - on_edge)
    return np.where(depth < 0, outside, inside)


# The kernel at whole depths, from one further outside than it is spelled out to one further inside.
_COARSE_KERNEL = np.concatenate(
    [[-_OUTSIDE_COST], _kernel(np.arange(-_KERNEL_OUTSIDE, _KERNEL_INSIDE + 1.0)), [0.0]]
).astype(np.float32)
# Offsets that refine the coarse search's, then those
_WIDE_SHIFTS, _FINE_SHIFTS = np.linspace(-1.5, 1.5, 13), np.linspace(-0.4, 0.4, 13)
# Parameters around the coarse search's, in its steps
_TRIALS = np.linspace(-1, 1, 11)
_TABLE = _kernel(np.arange(-8 * _TABLE_STEPS, 32 * _TABLE_STEPS + 1) / _TABLE_STEPS)


def _total(level: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return the kernel at ``level - offset``, summed over the last axis, by table: the search spends its time here."""
    place = (level * _TABLE_STEPS + (8 * _TABLE_STEPS + 0.5)) - offset * _TABLE_STEPS
    return _TABLE.take(place.astype(np.intp), mode="clip").sum(axis=-1)


class _Search:
    """Search of one parameter and one offset of a family of edges, first coarsely on every profile, then finely on one.

    Args:
        profiles: see `LineSearch`.
        origin: (y, x) of the family's own coordinates, which are in units.
        unit: see the module.
        level: (parameters, y, x) to (parameters, points), growing inwards; an edge is where it equals the offset.
        grid: the parameters to try.
    """

    def __init__(
        self,
        profiles: list[np.ndarray],
        origin: np.ndarray,
        unit: float,
        level: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
        grid: np.ndarray,
    ) -> None:
        thinned = [points[:: max(1, round(len(points) / _POINTS))] for points in profiles]
        counts = [len(points) for points in thinned]
        self._local = ((np.concatenate(thinned) - origin) / unit).T
        self._ends = np.cumsum(counts)
        self._weight = _PRIOR_WEIGHT * max(counts)
        self._level, self._grid = level, grid
        self._low, self._scores = _score_offsets(level(grid, *self._local), counts)

    def fit(self, prior: Callable[[np.ndarray], np.ndarray]) -> _Fit:
        """Return the best edge; ``prior`` is what to add to each parameter's score, per `_PRIOR_WEIGHT` and point."""
        level, grid, weight = self._level, self._grid, self._weight
        coarse = (self._scores + (weight * prior(grid)).astype(np.float32)[:, None]).reshape(len(self._ends), -1)
        places = coarse.argmax(axis=1)
        # The first profile wins unless another is clearly better: it is the one that misses no tissue.
        best = max(range(len(places)), key=lambda i: coarse[i, places[i]] * (1.0 if i == 0 else 0.97))
        row, column = divmod(int(places[best]), self._scores.shape[-1])
        parameter, offset, score = float(grid[row]), float(column + self._low), 0.0
        y, x = self._local[:, self._ends[best - 1] if best else 0 : self._ends[best]]
        step = abs(float(grid[1] - grid[0])) if len(grid) > 1 else 0.0
        for width, shifts in ((step, _WIDE_SHIFTS), (step / 6, _FINE_SHIFTS)):
            trial = parameter + (width * _TRIALS if step else np.zeros(1))
            shift = offset + shifts
            total = _total(level(trial, y, x)[:, None], shift[:, None]) + weight * prior(trial)[:, None]
            i, j = divmod(int(total.argmax()), len(shift))
            parameter, offset, score = float(trial[i]), float(shift[j]), float(total[i, j])
        depth = level(np.array([parameter]), y, x)[0] - offset
        return _Fit(parameter, offset, float((np.abs(depth - 0.35) < 1.5).mean()), score)


def _score_offsets(levels: np.ndarray, counts: list[int]) -> tuple[int, np.ndarray]:
    """Return how well each parameter goes with each whole offset, for all profiles at once.

    Args:
        levels: (parameters, points), the points of the profiles one after another.
        counts: how many points each profile has.

    Returns:
        The lowest offset, and scores (profiles, parameters, offsets).
    """
    low = int(np.floor(levels.min())) - 2
    index = np.rint(levels).astype(int) - low
    bins = int(index.max()) + 3
    parameters = len(levels)
    index += np.arange(parameters)[:, None] * bins + np.repeat(np.arange(len(counts)) * (parameters * bins), counts)
    histogram = np.bincount(index.ravel(), minlength=len(counts) * parameters * bins).reshape(-1, bins)
    # A correlation along the offsets, as a product of matrices at a third of its time; in single precision, since the
    # fine search goes on from the best place and not from its score.
    depths = np.arange(bins - 1, -bins, -1) + _KERNEL_OUTSIDE + 1
    kernel = sliding_window_view(_COARSE_KERNEL.take(depths, mode="clip"), bins)[::-1]
    product = torch.from_numpy(histogram.astype(np.float32)) @ torch.from_numpy(np.ascontiguousarray(kernel))
    return low, product.numpy().reshape(len(counts), parameters, bins)
