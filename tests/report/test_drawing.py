# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures show the sector and nothing else, and lines where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from pe_monai.report.drawing import CALLIPER, DOUBTFUL, OUTLINE, draw_frame, is_fan, sector_box


@pytest.fixture
def planes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A frame full of text, a sector in its middle and an effusion of 8 rows x 20 columns."""
    frame = np.full((60, 80, 3), 200, np.uint8)
    sector, mask = np.zeros((2, 60, 80), bool)
    sector[10:50, 20:70] = True
    mask[20:28, 30:50] = True
    return frame, sector, mask


def where(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """(row, column) of the pixels of a colour."""
    return np.argwhere((picture == colour).all(axis=-1))


def test_nothing_outside_the_sector(planes):
    frame, sector, mask = planes
    picture = draw_frame(frame, sector, mask)
    assert picture.shape == (60, 80, 3) and picture.dtype == np.uint8
    assert not picture[~sector].any()
    np.testing.assert_array_equal(picture[sector & ~mask][5], (200, 200, 200))


def test_outline_runs_along_the_edge(planes):
    drawn = set(map(tuple, where(draw_frame(*planes), OUTLINE)))
    rim = {(row, column) for row in range(20, 29) for column in range(30, 51) if row in (20, 28) or column in (30, 50)}
    corners = {(20, 30), (20, 50), (28, 30), (28, 50)}
    assert rim - corners <= drawn <= rim


def test_doubtful_frames_have_another_colour(planes):
    picture = draw_frame(*planes, doubtful=True)
    assert len(where(picture, DOUBTFUL)) > 40 and not len(where(picture, OUTLINE))


def test_no_effusion_no_colour(planes):
    frame, sector, mask = planes
    picture = draw_frame(frame, sector, np.zeros_like(mask))
    assert (picture[..., 0] == picture[..., 2]).all()


def test_calliper_lies_between_its_ends(planes):
    places = where(draw_frame(*planes, [((20, 40), (27, 40))]), CALLIPER)
    shaft = places[(places[:, 0] > 21) & (places[:, 0] < 26)]
    assert set(shaft[:, 1]) == {40}
    assert places[:, 0].min() == 20 and places[:, 0].max() == 27


def test_square_pixels_and_zoom(planes):
    picture = draw_frame(*planes, [((20, 40), (27, 40))], spacing=(1.0, 0.5), width=320)
    assert picture.shape == (480, 320, 3)
    places = where(picture, CALLIPER)
    # eight times as high, four times as wide, measured from the pixels' centres
    assert places[:, 0].min() == pytest.approx(20.5 * 8, abs=2) and places[:, 0].max() == pytest.approx(27.5 * 8, abs=2)
    assert np.median(places[:, 1]) == pytest.approx(40.5 * 4, abs=1)


def test_box_cuts_frame_and_lines_alike(planes):
    box = sector_box([planes[1]], margin=2)
    assert (box.rows.start, box.rows.stop, box.columns.start, box.columns.stop) == (8, 52, 18, 72)
    calliper = [((20, 40), (27, 40))]
    whole, part = draw_frame(*planes, calliper), draw_frame(*planes, calliper, box=box)
    np.testing.assert_array_equal(whole[box], part)


def test_box_of_an_empty_sector_is_the_frame(planes):
    box = sector_box([np.zeros((60, 80), bool)])
    assert draw_frame(*planes, box=box).shape == (60, 80, 3)


def test_grey_and_text(planes):
    frame, sector, mask = planes
    np.testing.assert_array_equal(draw_frame(frame[..., 0], sector, mask), draw_frame(frame, sector, mask))
    assert draw_frame(frame, sector, mask, text="frame 1/2")[:10].any()


def test_a_fan_is_narrow_at_its_top():
    rows, columns = np.mgrid[:100, :120]
    fan = np.abs(columns - 60) < 5 + rows / 2
    assert is_fan(fan) and is_fan(np.roll(fan, 40, axis=0) & (rows >= 40))
    assert not is_fan(np.ones((100, 120), bool)) and not is_fan((rows > 30) & (rows < 80))
    assert is_fan(np.zeros((100, 120), bool))  # shows nothing
