# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Regions of a frame: units, order, place, edges, and JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pe_monai.measure import measure_frame

SECTOR = np.zeros((100, 140), dtype=bool)
SECTOR[10:90, 20:120] = True
MASK = np.zeros((100, 140), dtype=bool)
MASK[60:64, 30:100] = True  # 4 rows
MASK[30:42, 25:85] = True  # 12 rows, the thicker


def test_regions_thickest_first():
    measured = measure_frame(MASK, SECTOR)
    thick, thin = measured.regions
    assert measured.largest is thick and measured.thickness_px == thick.thickness_px
    assert thick.thickness_px == pytest.approx(12, abs=0.3) and thin.thickness_px == pytest.approx(4, abs=0.3)
    assert (thick.area_px, thin.area_px, measured.area_px) == (720, 280, 1000)
    assert thick.sector_share == 720 / 8000 and measured.sector_share == pytest.approx(1000 / 8000)
    (top, left), (bottom, right) = thick.calliper
    assert (top, bottom) == pytest.approx((29.5, 41.5), abs=0.2)
    assert left == pytest.approx(right, abs=0.5) and 25 <= left <= 85
    assert thick.centre[0] == pytest.approx(35.5, abs=0.2)
    assert measured.reliable and measured.reason == ""


def test_no_millimetre_without_a_pixel_size():
    measured = measure_frame(MASK, SECTOR)
    assert measured.thickness_mm is None and measured.area_cm2 is None
    for region in measured.regions:
        assert (region.thickness_mm, region.mean_thickness_mm, region.area_cm2) == (None, None, None)
    assert measure_frame(MASK & False, SECTOR).thickness_mm is None


def test_millimetres():
    measured = measure_frame(MASK, SECTOR, (0.5, 0.4))
    assert measured.thickness_mm == pytest.approx(6, abs=0.15)
    assert measured.area_cm2 == pytest.approx(1000 * 0.5 * 0.4 / 100)
    assert measured.regions[0].area_cm2 == pytest.approx(1.44)
    assert measured.regions[0].mean_thickness_mm <= measured.regions[0].thickness_mm
    # in square pixels of 0.2 mm²
    assert measured.thickness_px == pytest.approx(measured.thickness_mm / np.sqrt(0.2))


def test_the_widest_way_across_depends_on_the_pixels_geometry():
    mask = np.zeros((60, 60), dtype=bool)
    mask[20:40, 5:15] = True  # 20 rows x 10 columns
    square, tall = measure_frame(mask, None, (1, 1)).largest, measure_frame(mask, None, (0.25, 1)).largest
    assert square.thickness_mm == pytest.approx(10, abs=0.5) and tall.thickness_mm == pytest.approx(5, abs=0.3)
    assert square.calliper[0][0] == pytest.approx(square.calliper[1][0], abs=1)  # drawn along a row
    assert tall.calliper[0][1] == pytest.approx(tall.calliper[1][1], abs=1)  # drawn along a column


def test_no_effusion():
    measured = measure_frame(np.zeros((100, 140)), SECTOR, (0.5, 0.4))
    assert measured.regions == () and measured.largest is None
    assert (measured.thickness_px, measured.thickness_mm, measured.area_px, measured.area_cm2) == (0, 0, 0, 0)
    assert measured.sector_share == 0 and measured.reliable


def test_regions_that_touch_at_a_corner_are_one():
    mask = np.zeros((40, 40), dtype=bool)
    mask[5:10, 5:10] = mask[10:15, 10:15] = True
    assert len(measure_frame(mask, None).regions) == 1


def test_place_in_the_sector():
    corner, middle = np.zeros_like(MASK), np.zeros_like(MASK)
    corner[10:13, 20:23] = True
    middle[48:53, 67:73] = True
    depth, lateral = measure_frame(corner, SECTOR).largest.position
    assert depth == pytest.approx(0, abs=0.03) and lateral == pytest.approx(-1, abs=0.05)
    assert measure_frame(middle, SECTOR).largest.position == pytest.approx((0.5, 0), abs=0.05)
    wedge = np.tri(100, 100, dtype=bool)
    wedge = np.hstack([wedge[:, ::-1], wedge])
    mask = np.zeros_like(wedge)
    mask[49:52, 124:127] = True  # half-way from the middle to the right edge of row 50
    depth, lateral = measure_frame(mask, wedge).largest.position
    assert depth == pytest.approx(0.5, abs=0.02) and lateral == pytest.approx(0.5, abs=0.05)


def test_without_a_sector():
    measured = measure_frame(MASK, None)
    assert measured.largest.position is None and measured.sector_share is None and measured.reliable


def test_a_layer_cut_off_by_the_edge():
    assert not measure_frame(MASK, SECTOR).largest.cut_off
    mask = np.zeros_like(MASK)
    mask[80:90, 30:110] = True  # down to the sector's last row
    assert measure_frame(mask, SECTOR).largest.cut_off
    assert not measure_frame(mask, None).largest.cut_off
    mask[:] = False
    mask[:8, 30:110] = True
    assert measure_frame(mask, None).largest.cut_off


def test_json():
    measured = measure_frame(MASK, SECTOR, (np.float64(0.5), np.float32(0.5)))
    read = json.loads(json.dumps(measured.as_dict(), allow_nan=False))
    assert read["spacing_mm"] == [0.5, 0.5] and len(read["regions"]) == 2
    assert read["regions"][0]["calliper"][0] == list(measured.largest.calliper[0])
    assert set(read["regions"][0]["position"]) == {"depth", "lateral"}
    assert type(measured.largest.calliper[0][0]) is float and type(measured.largest.centre[1]) is float


@pytest.mark.parametrize(
    "arguments,message",
    [
        ((MASK, SECTOR[1:]), "sector must have the mask's size"),
        ((MASK, SECTOR, (0.0, 1.0)), "spacing must be two positive distances"),
        ((MASK, SECTOR, (1.0, np.nan)), "spacing must be two positive distances"),
        ((MASK[None], SECTOR), r"mask must be \(H, W\)"),
        ((MASK, SECTOR, None, np.zeros((3, 3))), "probability must have the mask's size"),
    ],
)
def test_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        measure_frame(*arguments)
