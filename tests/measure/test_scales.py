# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Grades at and beside the limits of each scale."""

from __future__ import annotations

import math

import pytest

from pe_monai.measure import SCALES, Scale, find_scale


@pytest.mark.parametrize(
    "thickness,esc,acep",
    [
        (0, "none", "none"),
        (0.4, "small", "small or moderate"),
        (9.99, "small", "small or moderate"),
        (10, "moderate", "large"),
        (20, "moderate", "large"),
        (20.01, "large", "very large"),
        (55, "large", "very large"),
    ],
)
def test_grades(thickness, esc, acep):
    assert SCALES["esc2015"].grade(thickness) == esc
    assert SCALES["acep"].grade(thickness) == acep


@pytest.mark.parametrize("thickness", [-1, math.nan, math.inf])
def test_no_thickness(thickness):
    with pytest.raises(ValueError, match="thickness_mm must be 0 or more"):
        SCALES["esc2015"].grade(thickness)


def test_scales_say_where_they_come_from():
    assert all(scale.source and scale.name for scale in SCALES.values())
    with pytest.raises(ValueError, match="scale must be one of esc2015, acep, got 'asda'"):
        find_scale("asda")


def test_a_scale_must_be_whole():
    with pytest.raises(ValueError, match="one fewer"):
        Scale("x", "y", ("a", "b"), (1.0, 2.0), (True, True))
    with pytest.raises(ValueError, match="must rise"):
        Scale("x", "y", ("a", "b", "c"), (2.0, 1.0), (True, True))
