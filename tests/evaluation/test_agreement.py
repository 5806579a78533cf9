# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Agreement with reference values: published tables, and values worked by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pe_monai.evaluation.agreement import agreement, icc

# Shrout and Fleiss 1979, table 2: six subjects, four judges
SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])


def test_icc_of_the_published_table():
    absolute, consistent = icc(SHROUT_FLEISS)
    assert (round(absolute, 2), round(consistent, 2)) == (0.29, 0.71)  # their table 4
    absolute, consistent = icc(SHROUT_FLEISS + 1e6)
    assert (round(absolute, 2), round(consistent, 2)) == (0.29, 0.71)


def test_icc_by_hand():
    # measured is reference + 1: consistent, but apart. R = 2, C = 1.5, E = 0, n = 3: 2 / (2 + 2 * 1.5 / 3)
    assert icc(np.array([[2, 1], [3, 2], [4, 3]])) == pytest.approx((2 / 3, 1))
    assert icc(np.array([[1, 1], [2, 2], [9, 9]])) == pytest.approx((1, 1))
    assert np.isnan(icc(np.array([[1.0, 2.0]]))).all()


def test_bland_altman_by_hand():
    found = agreement([11, 9, 22, 30], [10, 10, 20, 30])  # differences 1, -1, 2, 0
    assert (found["pairs"], found["clips"], found["unmeasured"]) == (4, 4, 0)
    assert found["mae"]["value"] == 1
    limits = found["bland_altman"]
    sd = np.sqrt(5 / 3)
    assert limits["bias"]["value"] == 0.5 and limits["sd"]["value"] == pytest.approx(sd)
    assert limits["lower"]["value"] == pytest.approx(0.5 - 1.96 * sd)
    assert limits["upper"]["value"] == pytest.approx(0.5 + 1.96 * sd)
    for name in ("bias", "lower", "upper"):
        assert limits[name]["low"] <= limits[name]["value"] <= limits[name]["high"]


def test_grade_confusion():
    measured, reference = [0, 5, 12, 25, 9, np.nan], [0, 5, 12, 12, 11, 30]
    found = agreement(measured, reference)
    assert (found["pairs"], found["unmeasured"]) == (5, 1)
    assert found["grades"]["labels"] == ["none", "small", "moderate", "large"]
    assert found["grades"]["confusion"] == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]]
    assert found["grades"]["same"]["value"] == 0.6
    assert agreement(measured, reference, scale="acep")["grades"]["labels"][1] == "small or moderate"
    assert agreement(measured, reference, scale=None)["grades"] is None


def test_copies_of_a_clip_teach_nothing():
    rng = np.random.default_rng(0)
    reference = rng.uniform(2, 40, 30)
    measured = reference + rng.normal(0, 3, 30)
    alone = agreement(measured, reference, [str(clip) for clip in range(30)])
    tenfold = agreement(
        np.tile(measured, 10), np.tile(reference, 10), [str(clip) for _ in range(10) for clip in range(30)]
    )
    for name in ("icc_3_1", "icc_2_1", "mae"):
        width = [found[name]["high"] - found[name]["low"] for found in (alone, tenfold)]
        assert width[0] == pytest.approx(width[1], rel=0.15), name
    assert alone["interval"]["resampled"] == "clips"
    icc_31 = alone["icc_3_1"]
    assert icc_31["low"] < icc_31["value"] < icc_31["high"]
    assert icc_31["value"] == pytest.approx(icc(np.column_stack([measured, reference]))[1])


def test_undefined_values_are_null():
    found = agreement([3.0], [4.0])
    assert found["icc_2_1"] == {"value": None, "low": None, "high": None}
    assert found["mae"] == {"value": 1.0, "low": None, "high": None}
    json.dumps(agreement([5, 5, 5], [5, 5, 5]), allow_nan=False)
    assert agreement([5, 5, 5], [5, 5, 5])["icc_3_1"]["value"] is None  # no spread between subjects


@pytest.mark.parametrize(
    "arguments,message",
    [
        (([1, 2], [1]), "must be as many, got 2, 1, 2"),
        (([1, 2], [1, 2], ["a"]), "must be as many, got 2, 2, 1"),
        (([1, 2], [1, np.nan]), "reference holds values that are no numbers"),
        (([np.nan], [1]), "measured holds no number"),
        (([], []), "measured holds no number"),
        (([1], [1], None, "x"), "scale must be one of"),
    ],
)
def test_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        agreement(*arguments)
