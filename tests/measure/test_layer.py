# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Thickness of shapes whose thickness is known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pe_monai.measure.layer import EXCESS, Layer


def band(angle: float, thickness: float, spacing=(1.0, 1.0), shape=(120, 160), length: float = 60.0) -> np.ndarray:
    """A straight layer through the middle, its long axis turned by an angle; lengths in the unit of the spacing."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    y, x = (rows - shape[0] / 2 - 0.31) * spacing[0], (columns - shape[1] / 2 - 0.17) * spacing[1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (np.abs(across) < thickness / 2) & (np.abs(along) < length / 2)


@pytest.mark.parametrize("rows", [2, 3, 6, 7, 20])
def test_a_layer_of_whole_rows_is_as_thick_as_it_has_rows(rows):
    mask = np.zeros((40, 90), dtype=bool)
    mask[5 : 5 + rows, 10:80] = True
    layer = Layer(mask, (1.0, 1.0))
    # the outline has no stairs here, so that the correction for them is all that is missing
    assert layer.circle.diameter == pytest.approx(rows - EXCESS, abs=0.05)
    assert layer.mean_thickness() <= layer.circle.diameter
    (top, _), (bottom, _) = layer.circle.calliper
    assert (top + bottom) / 2 == pytest.approx(5 + (rows - 1) / 2, abs=0.1)


@pytest.mark.parametrize("angle", np.linspace(0, np.pi, 7)[:-1])
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 1.0), (1.4, 0.7)])
def test_tilted_layers(angle, spacing):
    mask = band(angle, 13.0, spacing)
    circle = Layer(mask, spacing).circle
    assert circle.diameter == pytest.approx(13.0, abs=0.45 * max(spacing))  # a row more or less
    ends = np.array(circle.calliper) * spacing
    line = ends[1] - ends[0]
    assert np.hypot(*line) == pytest.approx(circle.diameter)
    np.testing.assert_allclose(ends.mean(axis=0), np.array(circle.centre) * spacing, atol=1e-6)
    normal = np.array([np.cos(angle), -np.sin(angle)])
    assert abs(line @ normal) / np.hypot(*line) > np.cos(np.deg2rad(8))


def test_calliper_ends_on_the_outline():
    mask = band(0.6, 15.0)
    for end in np.array(Layer(mask, (1.0, 1.0)).circle.calliper):
        row, column = np.rint(end).astype(int)
        near = mask[row - 1 : row + 2, column - 1 : column + 2]
        assert near.any() and not near.all()


def test_thickness_of_a_crescent_is_not_its_length():
    rows, columns = np.mgrid[:200, :200]
    radius, angle = np.hypot(rows - 100.4, columns - 99.7), np.arctan2(rows - 100.4, columns - 99.7)
    # 12 thick in the middle of the arc, tapering to nothing at both of its ends
    mask = (radius > 60) & (radius < 60 + 12 * np.cos(angle)) & (np.abs(angle) < np.pi / 2)
    layer = Layer(mask, (1.0, 1.0))
    circle = layer.circle
    assert circle.diameter == pytest.approx(12, abs=0.35)
    assert circle.centre == pytest.approx((100, 166), abs=9)
    # mean of 12 cos over the half circle is 24 / pi = 7.6
    assert layer.mean_thickness() == pytest.approx(24 / np.pi, abs=0.7)


def test_mean_thickness_of_two_thicknesses():
    mask = np.zeros((40, 230), dtype=bool)
    mask[10:22, 10:110] = True
    mask[10:16, 110:210] = True
    layer = Layer(mask, (1.0, 1.0))
    assert layer.circle.diameter == pytest.approx(12, abs=0.6)
    assert layer.mean_thickness() == pytest.approx(9, abs=0.6)
    assert Layer(mask, (2.0, 2.0)).mean_thickness() == pytest.approx(2 * layer.mean_thickness())


def test_mean_thickness_knows_the_pixels_geometry():
    upright, flat = np.zeros((200, 40), dtype=bool), np.zeros((40, 200), dtype=bool)
    upright[20:180, 10:18] = flat[10:18, 20:180] = True
    assert Layer(upright, (0.5, 1.0)).mean_thickness() == pytest.approx(8, abs=0.3)
    assert Layer(flat, (0.5, 1.0)).mean_thickness() == pytest.approx(4, abs=0.2)


def test_a_disc():
    rows, columns = np.mgrid[:60, :60]
    mask = np.hypot(rows - 29.3, columns - 30.1) < 16.5
    circle = Layer(mask, (1.0, 1.0)).circle
    assert circle.diameter == pytest.approx(33, abs=0.9)
    assert circle.centre == pytest.approx((29.3, 30.1), abs=0.5)


def test_units_are_those_of_the_spacing():
    mask = band(0.3, 11.0)
    one, half = Layer(mask, (1.0, 1.0)).circle, Layer(mask, (0.5, 0.5)).circle
    assert half.diameter == pytest.approx(one.diameter / 2)
    np.testing.assert_allclose(half.calliper, one.calliper)


def test_the_smallest_masks():
    mask = np.zeros((9, 9), dtype=bool)
    mask[4, 4] = True
    circle = Layer(mask, (1.0, 1.0)).circle
    assert 0 < circle.diameter <= 1 and circle.centre == pytest.approx((4, 4), abs=0.2)
    mask[5, 5] = mask[6, 6] = True
    row, column = np.rint(Layer(mask, (1.0, 1.0)).circle.centre).astype(int)
    assert mask[row, column]
    with pytest.raises(ValueError, match="mask is empty"):
        Layer(np.zeros((4, 4), dtype=bool), (1.0, 1.0))
