# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Intervals over clips: against worked answers, a plain loop, and the widths that theory predicts."""

import numpy as np
import pytest

from pe_monai.evaluation import ClipBootstrap


def clips(count: int, frames: int) -> list[str]:
    return [f"clip {number // frames}" for number in range(count * frames)]


def width(estimate) -> float:
    return estimate["high"] - estimate["low"]


def test_identical_clips_leave_no_doubt():
    values = np.tile([0.2, 0.4, 0.9], 5)
    bootstrap = ClipBootstrap(clips(5, 3), samples=200)
    for estimate in (bootstrap.mean(values), bootstrap.ratio(values, values + 1)):
        assert width(estimate) == pytest.approx(0, abs=1e-12)
        assert estimate["low"] == pytest.approx(estimate["value"])
    assert bootstrap.median(values) == {"value": 0.4, "low": 0.4, "high": 0.4}
    auc = bootstrap.auc(values, np.tile([0.0, 1.0, 0.0], 5))
    assert auc == pytest.approx({"value": 0.5, "low": 0.5, "high": 0.5})


def test_the_interval_has_the_width_of_the_central_limit_theorem():
    values = np.random.default_rng(1).normal(size=400)
    estimate = ClipBootstrap(clips(400, 1), samples=4000).mean(values)
    assert estimate["value"] == pytest.approx(values.mean())
    assert width(estimate) == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)


def test_copies_of_a_frame_in_its_clip_add_no_certainty():
    values = np.random.default_rng(1).random(100)
    single = ClipBootstrap(clips(100, 1), samples=500).mean(values)
    copied = ClipBootstrap(clips(100, 7), samples=500).mean(values.repeat(7))
    as_frames = ClipBootstrap(clips(700, 1), samples=500).mean(values.repeat(7))
    assert copied == pytest.approx(single)
    assert width(as_frames) < 0.6 * width(copied)


def test_more_clips_narrow_the_interval():
    values = np.random.default_rng(1).random(1600)
    wide = ClipBootstrap(clips(100, 1), samples=500).mean(values[:100])
    narrow = ClipBootstrap(clips(1600, 1), samples=500).mean(values)
    assert width(narrow) < 0.5 * width(wide)


def test_the_same_seed_gives_the_same_interval_and_another_one_another():
    values = np.random.default_rng(1).random(30)
    first, again, other = (ClipBootstrap(clips(10, 3), samples=100, seed=seed).mean(values) for seed in (3, 3, 4))
    assert first == again
    assert first["value"] == other["value"]
    assert first["low"] != other["low"]


def test_every_estimate_equals_a_plain_loop_over_the_draws():
    rng = np.random.default_rng(5)
    unit = rng.integers(8, size=60)
    values = rng.integers(6, size=60) / 5  # few values, so that many tie
    smooth = rng.random(60)
    truth = rng.choice([0.0, 1.0, np.nan], size=60)
    bootstrap = ClipBootstrap([f"clip {number}" for number in unit], samples=300, seed=2)
    means, medians, aucs = [], [], []
    for counts in bootstrap.counts.astype(int):
        drawn = np.repeat(np.arange(60), counts[bootstrap.unit])
        means.append(values[drawn].mean())
        medians.append(np.median(smooth[drawn]))
        high, low = (values[drawn][truth[drawn] == kind] for kind in (1, 0))
        aucs.append(np.mean((high[:, None] > low) + (high[:, None] == low) / 2))
    assert bootstrap.counts.sum(axis=1).tolist() == [8] * 300
    got = (bootstrap.mean(values), bootstrap.median(smooth), bootstrap.auc(values, truth))
    for estimate, drawn in zip(got, (means, medians, aucs), strict=True):
        assert [estimate["low"], estimate["high"]] == pytest.approx(np.percentile(drawn, (2.5, 97.5)).tolist())
    high, low = (values[truth == kind] for kind in (1, 0))
    pairs = (high[:, None] > low) + (high[:, None] == low) / 2
    assert got[2]["value"] == pytest.approx(pairs.mean())


def test_nan_frames_do_not_count():
    bootstrap = ClipBootstrap(clips(4, 2), samples=50)
    values = np.array([0.5, np.nan] * 4)
    assert bootstrap.mean(values) == pytest.approx({"value": 0.5, "low": 0.5, "high": 0.5})
    assert bootstrap.median(values)["value"] == 0.5


def test_what_does_not_exist_is_none():
    bootstrap = ClipBootstrap(clips(4, 2), samples=50)
    nothing = {"value": None, "low": None, "high": None}
    assert bootstrap.mean(np.full(8, np.nan)) == nothing
    assert bootstrap.median(np.full(8, np.nan)) == nothing
    assert bootstrap.ratio(np.zeros(8), np.zeros(8)) == nothing
    assert bootstrap.auc(np.arange(8.0), np.ones(8)) == nothing


def test_one_clip_gives_a_value_and_no_interval():
    bootstrap = ClipBootstrap(clips(3, 2), samples=50)
    values = np.array([0.2, 0.4] + [np.nan] * 4)
    for estimate in (bootstrap.mean(values), bootstrap.median(values)):
        assert estimate == pytest.approx({"value": 0.3, "low": None, "high": None})
    auc = bootstrap.auc(np.arange(6.0), np.array([0.0, 0, 0, 0, 1, 1]))
    assert auc == {"value": 1.0, "low": None, "high": None}
    parts = np.array([[1.0, 2], [2, 2], [0, 0], [0, 0], [0, 0], [0, 0]])
    ratio = bootstrap.statistic(parts, lambda sums: sums[..., 0] / np.maximum(sums[..., 1], 1e-9))
    assert ratio == {"value": 0.75, "low": None, "high": None}


def test_draws_without_any_of_the_frames_are_passed_over():
    values = np.array([0.2, 0.8] + [np.nan] * 18)
    estimate = ClipBootstrap(clips(20, 1), samples=500).mean(values)
    assert (estimate["low"], estimate["high"]) == pytest.approx((0.2, 0.8))


def test_senseless_arguments_are_refused():
    with pytest.raises(ValueError, match="units is empty"):
        ClipBootstrap([])
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        ClipBootstrap(["a"], samples=0)
