# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Every score worked by hand on masks small enough to count, and the rule for empty ones."""

import math
import warnings

import pytest
import torch
from scipy.spatial.distance import cdist

from pe_monai.evaluation import score_frame
from pe_monai.measure import frame_score


def mask(*rows: str) -> torch.Tensor:
    return torch.tensor([[[float(pixel == "#") for pixel in row] for row in rows]])


def square(top: int, left: int, side: int, size: tuple[int, int] = (40, 60)) -> torch.Tensor:
    frame = torch.zeros(1, *size)
    frame[0, top : top + side, left : left + side] = 1
    return frame


def score(pred, label, probability=None, sector=None):
    probability = pred if probability is None else probability
    sector = torch.ones_like(label) if sector is None else sector
    return score_frame(pred, label, probability, sector)


def test_overlap_scores_of_two_by_two_pixels():
    got = score(pred=mask("##", ".."), label=mask("#.", "#."))
    assert (got["truth_px"], got["pred_px"], got["overlap_px"], got["sector_px"]) == (2, 2, 1, 4)
    assert got["dice"] == pytest.approx(2 / 4)
    assert got["iou"] == pytest.approx(1 / 3)
    assert got["precision"] == pytest.approx(1 / 2)
    assert got["recall"] == pytest.approx(1 / 2)
    assert got["accuracy"] == pytest.approx(2 / 4)
    assert math.isnan(got["false_effusion"])


def test_precision_and_recall_are_not_swapped():
    got = score(pred=mask("####"), label=mask("#..."))
    assert got["precision"] == pytest.approx(1 / 4)
    assert got["recall"] == 1


def test_accuracy_counts_the_pixels_of_the_sector_only():
    pred, label = mask("##..", "...."), mask("#...", "....")
    assert score(pred, label)["accuracy"] == pytest.approx(7 / 8)
    assert score(pred, label, sector=mask("##..", "##.."))["accuracy"] == pytest.approx(3 / 4)
    assert math.isnan(score(pred, label, sector=mask("....", "...."))["accuracy"])


@pytest.mark.parametrize(("shift", "surface_dice"), [(0, 1), (2, 1), (3, None), (30, 0)])
def test_surface_scores_of_a_shifted_square_against_all_pairs_of_outline_pixels(shift, surface_dice):
    label, pred = square(10, 5, 12), square(10, 5 + shift, 12)
    outlines = [frame - square(11, 6 + by, 10) for frame, by in ((label, 0), (pred, shift))]
    distances = torch.from_numpy(cdist(*(outline[0].nonzero().numpy() for outline in outlines)))
    nearest = [distances.min(dim=1).values, distances.min(dim=0).values]
    got = score(pred, label)
    assert got["hd95"] == pytest.approx(max(torch.quantile(near, 0.95).item() for near in nearest), abs=1e-4)
    assert got["surface_dice"] == pytest.approx((torch.cat(nearest) <= 2).double().mean().item(), abs=1e-6)
    if surface_dice is not None:
        assert got["surface_dice"] == surface_dice


@pytest.mark.parametrize(("astray", "hd95"), [(4, 0), (6, 7)])
def test_hd95_is_blind_to_five_pixels_of_a_hundred(astray, hd95):
    label, pred = torch.zeros(1, 40, 120), torch.zeros(1, 40, 120)
    label[0, 20, :100] = 1
    pred[0, 20, : 100 - astray] = 1
    pred[0, 27, 100 - astray : 100] = 1
    assert score(pred, label)["hd95"] == hd95


def test_no_score_depends_on_the_order_of_the_axes():
    masks = square(3, 4, 9), square(5, 2, 11), torch.rand(1, 40, 60), square(0, 0, 35)
    turned = [tensor.transpose(1, 2) for tensor in masks]
    assert score_frame(*turned) == pytest.approx(score_frame(*masks), nan_ok=True)


def test_nothing_predicted_for_a_truth_is_zero_and_has_no_hausdorff_distance():
    label = square(3, 3, 5)
    got = score(torch.zeros_like(label), label)
    assert [got[name] for name in ("dice", "iou", "precision", "recall", "surface_dice")] == [0, 0, 0, 0, 0]
    assert math.isnan(got["hd95"])
    assert math.isnan(got["false_effusion"])


@pytest.mark.parametrize("side", [0, 4])
def test_an_empty_truth_has_no_overlap_scores_but_a_flag(side):
    pred = square(3, 3, side)
    got = score(pred, torch.zeros_like(pred))
    assert all(math.isnan(got[name]) for name in ("dice", "iou", "precision", "recall", "hd95", "surface_dice"))
    assert got["false_effusion"] == (side > 0)
    assert got["pred_px"] == side**2
    assert got["accuracy"] == pytest.approx(1 - side**2 / 2400)


def test_score_is_the_one_of_the_measurements():
    probability, sector = torch.rand(1, 40, 60), square(0, 0, 35)
    got = score(square(0, 0, 0), square(0, 0, 0), probability, sector)
    assert got["score"] == pytest.approx(frame_score(probability.numpy(), sector.numpy()))


def test_bool_and_uint8_masks_score_as_float_ones():
    label, pred = square(3, 3, 9), square(5, 5, 9)
    want = score(pred, label)
    assert score(pred.bool(), label.byte(), pred) == pytest.approx(want, nan_ok=True)


def test_no_warning_reaches_the_user():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score(square(3, 3, 9), square(5, 5, 9))
        score(square(0, 0, 0), square(5, 5, 9))
        score(square(5, 5, 9), square(0, 0, 0))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pred": torch.full((1, 4, 6), 0.5)}, "pred must hold 0 and 1 only, got values from 0.5"),
        ({"label": torch.full((1, 4, 6), 255)}, "label must hold 0 and 1 only, got values from 255"),
        ({"label": torch.full((1, 4, 6), math.nan)}, "label must hold 0 and 1 only"),
        ({"probability": torch.full((1, 4, 6), 7.0)}, "probability must be in .* got 7"),
        ({"probability": torch.full((1, 4, 6), math.nan)}, "probability must be in"),
        ({"sector": torch.zeros(1, 6, 4)}, r"sector must be .* got \(1, 6, 4\) and \(1, 4, 6\)"),
        ({"pred": torch.zeros(3, 4, 6)}, r"pred must be one channel"),
        ({"label": torch.zeros(4, 6)}, r"must be one channel"),
    ],
)
def test_what_cannot_be_scored_is_refused(changed, message):
    frame = {name: torch.zeros(1, 4, 6) for name in ("pred", "label", "probability", "sector")}
    with pytest.raises(ValueError, match=message):
        score_frame(**{**frame, **changed})


def test_a_probability_that_resampling_put_a_hair_above_one_is_taken():
    empty = torch.zeros(1, 4, 6)
    assert score(empty, empty, torch.full((1, 4, 6), 1 + 1e-6))["score"] == pytest.approx(1)
