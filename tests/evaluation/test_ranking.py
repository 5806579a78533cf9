# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""ROC, risk-coverage and rank correlation of a handful of frames, worked by hand."""

import math

import numpy as np
import pytest

from pe_monai.evaluation import ClipBootstrap, frame_errors, risk_coverage, roc_curve
from pe_monai.evaluation.ranking import area_under_risk, rank_correlation


def test_errors_are_one_minus_dice_and_false_effusion():
    rows = [{"dice": 0.75, "false_effusion": math.nan}, {"dice": math.nan, "false_effusion": 1.0}]
    rows.append({"dice": math.nan, "false_effusion": 0.0})
    np.testing.assert_array_equal(frame_errors(rows), [0.25, 1.0, 0.0])


def test_risk_grows_with_coverage_when_the_ranking_is_right():
    coverage, risk = risk_coverage(np.array([0.3, 0.1, 0.2, 0.9]), np.array([0.4, 0.0, 0.2, 1.0]))
    np.testing.assert_allclose(coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(risk, [0, 0.1, 0.2, 0.4])


def test_roc_takes_ties_together_and_leaves_small_effusions_out():
    scores = np.array([0.9, 0.8, 0.8, 0.1, 0.5])
    false, true = roc_curve(scores, np.array([1, 1, 0, 0, math.nan]))
    np.testing.assert_allclose(false, [0, 0, 0.5, 1])
    np.testing.assert_allclose(true, [0, 0.5, 1, 1])
    area = np.trapezoid(true, false) if hasattr(np, "trapezoid") else np.trapz(true, false)
    bootstrap = ClipBootstrap(["a", "b", "c", "d", "e"], samples=5)
    assert area == bootstrap.auc(scores, np.array([1, 1, 0, 0, math.nan]))["value"]


def test_rank_correlation_ignores_the_scale_and_has_an_interval():
    values = np.arange(12.0)
    bootstrap = ClipBootstrap([str(place // 2) for place in range(12)], samples=200)
    assert rank_correlation(values, np.exp(values), bootstrap) == pytest.approx({"value": 1, "low": 1, "high": 1})
    noisy = rank_correlation(values, values[::-1] % 5, bootstrap)
    assert noisy["low"] < noisy["value"] < noisy["high"]
    assert rank_correlation(values, np.zeros(12), bootstrap)["value"] is None


def test_area_under_risk_is_below_the_mean_error_when_the_ranking_is_right():
    errors = np.array([0.0, 0.1, 0.2, 0.5, 0.6, 1.0])
    bootstrap = ClipBootstrap(["a", "a", "b", "b", "c", "c"], samples=100)
    right, wrong = (area_under_risk(order, errors, bootstrap) for order in (errors, -errors))
    # means of the first 1, 2 ... 6 errors: 0, 0.05, 0.1, 0.2, 0.28, 0.4
    assert right["value"] == pytest.approx((0 + 0.05 + 0.1 + 0.2 + 0.28 + 0.4) / 6)
    assert right["low"] < right["value"] < right["high"] and right["value"] < wrong["value"]
    alone = area_under_risk(errors, errors, ClipBootstrap(["a"] * 6, samples=5))
    assert alone == {"value": right["value"], "low": None, "high": None}
