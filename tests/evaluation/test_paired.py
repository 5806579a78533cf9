# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Differences of two methods on the same frames, and of two sets of frames."""

import math

import numpy as np
import pytest
from test_summary import row

from pe_monai.evaluation import compare_rows, compare_sets, summarise

CLIPS = [f"clip{number // 3}" for number in range(30)]


def rows_of(overlaps, preds):
    return [
        {**row(1000, int(pred), int(overlap), 0.5, clip, hd95=3.0), "image": f"fold1/{number}.png"}
        for number, (overlap, pred, clip) in enumerate(zip(overlaps, preds, CLIPS, strict=True))
    ]


def test_differences_are_those_of_the_summaries():
    rng = np.random.default_rng(0)
    one, other = (rows_of(rng.integers(100, 900, 30), np.full(30, 1000)) for _ in range(2))
    got = compare_rows(one, other, samples=200)
    first, second = (summarise(rows, samples=2)["positives"] for rows in (one, other))
    for name in ("dice", "iou", "precision", "recall", "accuracy", "surface_dice"):
        expected = first["mean"][name]["value"] - second["mean"][name]["value"]
        assert got[f"mean_{name}"]["value"] == pytest.approx(expected)
    expected = first["pooled"]["dice"]["value"] - second["pooled"]["dice"]["value"]
    assert got["pooled_dice"]["value"] == pytest.approx(expected)
    assert got["false_share"]["value"] is None  # no frame is without effusion


def test_a_small_gain_on_every_frame_is_seen_though_the_frames_vary():
    overlaps = np.linspace(100, 900, 30)
    one, other = rows_of(overlaps + 20, np.full(30, 1000)), rows_of(overlaps, np.full(30, 1000))
    paired = compare_rows(one, other, samples=500)["mean_dice"]
    assert paired["value"] == pytest.approx(0.02, abs=1e-3)
    assert 0.015 < paired["low"] <= paired["high"] < 0.025
    apart = compare_sets(one, other, samples=500)
    assert apart["value"] == pytest.approx(paired["value"])
    assert apart["low"] < 0 < apart["high"]  # as if they were other frames, nothing could be said


def test_false_effusion_is_compared_on_empty_frames():
    empty = [{**row(0, pred, 0, 0.1, f"c{n}"), "image": f"f/{n}.png"} for n, pred in enumerate((0, 50, 50, 0))]
    clean = [{**row(0, 0, 0, 0.1, f"c{n}"), "image": f"f/{n}.png"} for n in range(4)]
    assert compare_rows(empty, clean, samples=50)["false_share"]["value"] == 0.5
    assert compare_rows(empty, clean, samples=50)["mean_dice"]["value"] is None
    assert compare_sets(empty, clean, samples=50)["value"] is None


def test_a_set_of_one_clip_has_a_gap_and_no_interval():
    several = rows_of(np.linspace(100, 900, 30), np.full(30, 1000))
    lone = [row for row in several if row["clip"] == "clip0"]
    for one, other in ((several, lone), (lone, several), (lone, lone)):
        gap = compare_sets(one, other, samples=50)
        assert gap["value"] is not None and (gap["low"], gap["high"]) == (None, None)


def test_other_frames_are_refused():
    one = rows_of(np.full(30, 10), np.full(30, 20))
    with pytest.raises(ValueError, match="not scored on the same frames"):
        compare_rows(one, one[::-1])


def test_undefined_hausdorff_distances_are_left_out_of_the_difference():
    one = [{**row(1000, 1000, 900, 0.5, f"c{n}", hd95=4.0), "image": f"f/{n}.png"} for n in range(3)]
    other = [{**one[0], "hd95": math.nan}, {**one[1], "hd95": 7.0}, {**one[2], "hd95": 9.0}]
    assert compare_rows(one, other, samples=20)["mean_hd95"]["value"] == -4.0
