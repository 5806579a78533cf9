# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Which frames a contact sheet shows, and where."""

from __future__ import annotations

import numpy as np
import pytest

from pe_monai.report.sheet import choose_frames, contact_sheet


@pytest.mark.parametrize(
    ("count", "most", "chosen", "places"),
    [
        (1, 8, 0, [0]),
        (3, 8, None, [0, 1, 2]),
        (9, 5, None, [0, 2, 4, 6, 8]),
        (9, 5, 5, [0, 2, 5, 6, 8]),
        (9, 5, 8, [0, 2, 4, 6, 8]),
    ],
)
def test_frames_are_spread_and_the_one_chosen_is_there(count, most, chosen, places):
    assert choose_frames(count, most, chosen) == places


def test_pictures_in_reading_order():
    pictures = [np.full((30, 40, 3), level, np.uint8) for level in (50, 100, 150)]
    sheet = contact_sheet(pictures, ["", "", ""], columns=2)
    values = [np.unique(sheet[(sheet == level).all(axis=-1)]) for level in (50, 100, 150)]
    assert [list(value) for value in values] == [[50], [100], [150]]
    first, second, third = (np.argwhere((sheet == level).all(axis=-1)).mean(axis=0) for level in (50, 100, 150))
    assert first[0] == second[0] and first[1] < second[1]
    assert third[1] == first[1] and third[0] > first[0]
