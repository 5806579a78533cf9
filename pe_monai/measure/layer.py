# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Thickness of one region: its largest inscribed circle and the mean along its medial axis, finer than a pixel."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import find_contours
from skimage.morphology import skeletonize

STEP = 0.25
SMOOTHING_SHARE, MAX_SMOOTHING = 1 / 6, 1.0
EXCESS = 0.2
_PADDING = 5
_OPPOSITE = -np.cos(np.pi / 6)
_SUBPIXEL = np.stack(np.meshgrid(*2 * [np.linspace(-0.5, 0.5, 5)], indexing="ij"), axis=-1).reshape(-1, 2)

Point = tuple[float, float]


class Circle(NamedTuple):
    """The largest circle inside a region.

    Attributes:
        diameter: in the unit of the pixel spacing.
        centre: (row, column), in pixels.
        calliper: both ends of its diameter across the layer, (row, column) in pixels.
    """

    diameter: float
    centre: Point
    calliper: tuple[Point, Point]


class Layer:
    """The outline of one region as a curve in physical space, which distances are measured to.

    A mask is a sample of a shape at the pixels' centres: its edge runs half-way between the outermost pixel inside and
    the first one outside (``find_contours`` at 0.5), not through either centre as a distance transform has it. The
    stairs of that edge are smoothed by a Gaussian of a sixth of the layer's thickness, at most one pixel, so that thin
    layers keep theirs.

    Args:
        mask: one region, (H, W) bool; what lies beyond the array counts as outside.
        spacing: (row, column) distance of neighbouring pixels.

    Raises:
        ValueError: the mask is empty.
    """

    def __init__(self, mask: np.ndarray, spacing: tuple[float, float]) -> None:
        if not mask.any():
            raise ValueError("mask is empty: there is no layer to measure.")
        self.spacing = np.array(spacing, dtype=float)
        self.pixel = float(np.sqrt(self.spacing.prod()))
        box = ndimage.find_objects(mask.astype(np.uint8))[0]
        self.corner = np.array([part.start - _PADDING for part in box])
        self.mask = np.pad(mask[box], _PADDING)
        self._outline(self.mask.astype(float))
        rough = 2 * ndimage.distance_transform_edt(self.mask, sampling=self.spacing).max() / self.pixel - 0.5
        self._outline(ndimage.gaussian_filter(self.field, min(rough * SMOOTHING_SHARE, MAX_SMOOTHING)))

    @cached_property
    def circle(self) -> Circle:
        """The largest inscribed circle.

        The circle seeks the place where the stairs of both edges happen to lie furthest apart, so it comes out too
        large, by 0.2 pixels (of the same area) on average, whatever the thickness; measured on arcs of constant
        thickness of 2 to 40 pixels at random places, with rows up to twice as far apart as columns and the reverse.
        That much is taken off. (A round region has no such choice: it comes out about 0.8 pixels too small.)
        """
        radius, centre = self._deepest()
        radius = max(radius - EXCESS * self.pixel / 2, 0.25 * self.pixel)
        rays = self.points - centre * self.spacing
        reach = np.hypot(*rays.T)
        rays /= reach[:, None]
        facing = rays @ rays[reach.argmin()]
        nearest, opposite = (self._touch(rays, reach, side) for side in (facing > -_OPPOSITE, facing < _OPPOSITE))
        across = (nearest - opposite) / np.hypot(*(nearest - opposite)) * radius / self.spacing
        centre = centre + self.corner
        ends = sorted([_point(centre - across), _point(centre + across)])
        return Circle(2 * radius, _point(centre), (ends[0], ends[1]))

    def mean_thickness(self) -> float:
        """Twice the mean distance of the medial axis from the outline, in the unit of the spacing.

        The axis is a skeleton of pixels on a square grid, at most half a pixel beside the true one; the largest
        distance within that half pixel counts.
        """
        step = self.spacing.min()
        shape = np.maximum(1, np.round((np.array(self.field.shape) - 1) * self.spacing / step).astype(int) + 1)
        grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"))
        square = self._inside(grid.reshape(2, -1).T * step / self.spacing).reshape(shape)
        axis = np.argwhere(skeletonize(square)) * step / self.spacing
        if not len(axis):
            return self.circle.diameter
        nearby = axis[:, None] + _SUBPIXEL * step / self.spacing
        depth = self._depth(nearby.reshape(-1, 2)).reshape(len(axis), -1).max(axis=1)
        return min(float(2 * depth.mean()), self.circle.diameter)

    def _touch(self, rays: np.ndarray, reach: np.ndarray, side: np.ndarray) -> np.ndarray:
        """Mean direction to where the circle touches one side of the outline, within half a pixel of it."""
        return rays[side & (reach <= reach[side].min() + self.pixel / 2)].mean(axis=0)

    def _outline(self, field: np.ndarray) -> None:
        """Take the 0.5 level of a field (H, W) for the outline."""
        curves = find_contours(field, 0.5)
        if curves:
            self.field = field
            self.points = np.concatenate([_resample(curve * self.spacing, STEP * self.pixel) for curve in curves])
            self.tree = cKDTree(self.points)

    def _deepest(self) -> tuple[float, np.ndarray]:
        """Greatest distance from the outline of any place on a pixel of the mask, and that place in the field."""
        coarse = ndimage.distance_transform_edt(self.field >= 0.5, sampling=self.spacing)
        near = np.argwhere(coarse >= max(coarse.max() - self.spacing.max(), 1e-9))
        places = (near[:, None] + _SUBPIXEL).reshape(-1, 2)
        places = places[self.mask[tuple(np.rint(places.T).astype(int))]]
        best = places[self._depth(places).argmax()]
        for scale in (0.25, 0.06):
            places = np.concatenate([best[None], best + scale * _SUBPIXEL])
            places = places[self.mask[tuple(np.rint(places.T).astype(int))]]
            best = places[self._depth(places).argmax()]
        return float(self._depth(best[None])[0]), best

    def _depth(self, places: np.ndarray) -> np.ndarray:
        """Distance of places (N, 2), in pixels of the field, from the outline; 0 outside."""
        return np.where(self._inside(places), self.tree.query(places * self.spacing)[0], 0)

    def _inside(self, places: np.ndarray) -> np.ndarray:
        return ndimage.map_coordinates(self.field, places.T, order=1) >= 0.5


def _resample(curve: np.ndarray, step: float) -> np.ndarray:
    """Points at most a step apart along a curve (N, 2)."""
    parts = np.diff(curve, axis=0)
    counts = np.maximum(1, np.ceil(np.hypot(*parts.T) / step).astype(int))
    part = np.repeat(np.arange(len(parts)), counts)
    share = (np.arange(len(part)) - np.repeat(np.cumsum(counts) - counts, counts)) / counts[part]
    return curve[part] + parts[part] * share[:, None]


def _point(place: np.ndarray) -> Point:
    return float(place[0]), float(place[1])
