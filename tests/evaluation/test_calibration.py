# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The calibration of a few pixels, worked by hand, and of many that are calibrated by construction."""

import numpy as np
import pytest

from pe_monai.evaluation.calibration import count_bins, summarise_calibration


def test_bins_count_the_pixels_of_the_sector():
    probability = np.array([[0.1, 0.2, 0.9, 1.0, 0.9]])
    label = np.array([[0, 1, 1, 1, 0]])
    sector = np.array([[1, 1, 1, 1, 0]])
    np.testing.assert_allclose(count_bins(probability, label, sector, bins=2), [[2, 0.3, 1], [2, 1.9, 2]])


def test_error_is_the_mean_distance_of_probability_and_share():
    frames = [count_bins(np.array([0.1, 0.3, 0.9]), np.array([0, 0, 1]), np.ones(3), bins=2)]
    got = summarise_calibration(frames, ["a"])
    # lower bin: mean 0.2 against 0 for two pixels; upper bin: 0.9 against 1 for one
    assert got["ece"]["value"] == pytest.approx((0.4 + 0.1) / 3)
    assert got["ece_unsure"]["value"] == pytest.approx(0.1)
    assert got["ece"]["low"] is None  # one clip tells nothing of other clips
    assert [part["pixels"] for part in got["bins"]] == [2, 1]
    assert got["bins"][0]["probability"] == pytest.approx(0.2) and got["bins"][0]["effusion"] == 0


def test_calibrated_pixels_lie_on_the_diagonal():
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(20):
        probability = rng.random((40, 40))
        frames.append(count_bins(probability, rng.random((40, 40)) < probability, np.ones((40, 40))))
    got = summarise_calibration(frames, [str(number) for number in range(20)], samples=200)
    assert got["ece"]["value"] < 0.02
    assert got["ece"]["low"] <= got["ece"]["high"] < 0.03
    overconfident = [np.column_stack([part[:, 0], part[:, 1], part[:, 2] * 0.5]) for part in frames]
    assert summarise_calibration(overconfident, ["a"] * 20)["ece"]["value"] == pytest.approx(0.25, abs=0.02)
