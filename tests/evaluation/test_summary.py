# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A summary of six frames whose every number can be worked by hand, and the page made of it."""

import json
import math

import pytest

from pe_monai.evaluation import eval_metrics, render_markdown, summarise


def row(truth: int, pred: int, overlap: int, score: float, clip="", hd95=math.nan, sector=10_000, **more):
    has_truth = truth > 0
    return {
        "image": "fold9/0001.png",
        "clip": clip,
        "exam": clip[:1] if clip else clip,
        "truth_px": truth,
        "pred_px": pred,
        "overlap_px": overlap,
        "sector_px": sector,
        "frame_px": 20_000,
        "dice": 2 * overlap / (truth + pred) if has_truth else math.nan,
        "iou": overlap / (truth + pred - overlap) if has_truth else math.nan,
        "precision": (overlap / pred if pred else 0.0) if has_truth else math.nan,
        "recall": overlap / truth if has_truth else math.nan,
        "accuracy": 1 - (truth + pred - 2 * overlap) / sector if sector else math.nan,
        "frame_accuracy": 1 - (truth + pred - 2 * overlap) / 20_000,
        "hd95": hd95,
        "surface_dice": 0.5 if pred and has_truth else (0.0 if has_truth else math.nan),
        "score": score,
        "false_effusion": math.nan if has_truth else float(pred > 0),
        **more,
    }


ROWS = [
    row(249, 249, 249, 0.9, "a1", hd95=0.0),
    row(1000, 3000, 1000, 0.8, "a1", hd95=8.0),
    row(3000, 0, 0, 0.3, "a2"),
    row(248, 124, 124, 0.7, "b1", hd95=3.0),
    row(0, 0, 0, 0.1, "b1"),
    row(0, 100, 0, 0.5, "b2"),
]


def values(group) -> dict:
    return {name: estimate["value"] for name, estimate in group.items()}


def test_positives_are_frames_of_at_least_249_pixels():
    got = summarise(ROWS, samples=50)["positives"]
    assert (got["frames"], got["clips"]) == (3, 2)
    assert values(got["mean"]) == pytest.approx(
        {
            "dice": (1 + 0.5 + 0) / 3,
            "iou": (1 + 1 / 3 + 0) / 3,
            "precision": (1 + 1 / 3 + 0) / 3,
            "recall": 2 / 3,
            "accuracy": (1 + 0.8 + 0.7) / 3,
            "frame_accuracy": (1 + 0.9 + 0.85) / 3,
            "hd95": 4.0,
            "surface_dice": 1 / 3,
        }
    )
    assert got["median"]["dice"]["value"] == 0.5
    assert values(got["pooled"]) == pytest.approx(
        {
            "dice": 2 * 1249 / (4249 + 3249),
            "precision": 1249 / 3249,
            "recall": 1249 / 4249,
            "frame_accuracy": 1 - 5000 / 60_000,
        }
    )
    assert got["missed"]["value"] == pytest.approx(1 / 3)


def test_negatives_are_frames_of_empty_truth():
    got = summarise(ROWS, samples=50)["negatives"]
    assert (got.pop("frames"), got.pop("clips")) == (2, 2)
    assert values(got) == pytest.approx({"false_share": 0.5, "false_px": 50, "false_sector_share": 0.005})


def test_small_effusions_are_annotated_but_neither_positive_nor_negative():
    got = summarise(ROWS, samples=50)
    assert got["annotated"]["frames"] == 4
    assert got["annotated"]["dice"]["value"] == pytest.approx((1 + 0.5 + 0 + 2 / 3) / 4)
    # Three positives against two negatives; only the missed one (0.3) is below the false alarm (0.5).
    assert got["frame_auc"]["value"] == pytest.approx(5 / 6)


def test_sizes_have_their_published_borders():
    borders = [1, 248, 249, 1000, 1001, 3000, 3001, 6000, 6001, 60_000, 0]
    got = summarise([row(px, px, px, 1.0) for px in borders], samples=5)["sizes"]
    assert [(size["from_px"], size["to_px"], size["frames"]) for size in got] == [
        (1, 248, 2),
        (249, 1000, 2),
        (1001, 3000, 2),
        (3001, 6000, 2),
        (6001, None, 2),
    ]
    assert [size["dice"]["value"] for size in summarise(ROWS, samples=5)["sizes"]] == pytest.approx(
        [2 / 3, 0.75, 0.0, None, None]
    )


def test_the_threshold_of_positives_moves():
    assert summarise(ROWS, min_pixels=1000, samples=5)["positives"]["frames"] == 2


def test_intervals_hold_their_value_and_come_from_clips():
    got = summarise(ROWS, "clip", samples=300, seed=1)
    assert (got["protocol"], got["frames"], got["clips"], got["exams"]) == ("clip", 6, 4, 2)
    assert got["interval"]["resampled"] == "clips"
    assert got["interval"]["samples"] == 300
    dice = got["positives"]["mean"]["dice"]
    assert dice["low"] == 0.0
    assert dice["value"] <= dice["high"] <= 0.75 + 1e-9  # clip a1 holds both 1 and 0.5, so 1 alone is never drawn
    assert got == summarise(ROWS, "clip", samples=300, seed=1)


@pytest.mark.parametrize(
    ("clips", "resampled"), [(("", None), "frames, as no clip"), (("a", ""), "clips, and single frames")]
)
def test_frames_without_a_clip_are_resampled_singly_and_that_is_said(clips, resampled):
    rows = [{**frame, "clip": clips[(number + 1) % 2], "exam": ""} for number, frame in enumerate(ROWS)]
    got = summarise(rows, samples=200)
    assert got["interval"]["resampled"].startswith(resampled)
    assert got["clips"] == (1 if clips[0] else 0)
    assert got["positives"]["mean"]["dice"]["high"] > 0.75
    assert resampled in render_markdown(got)


def test_a_clip_called_like_a_frame_number_keeps_its_frames_together():
    rows = [row(300, 300, 300 * number, 1.0, clip) for number, clip in enumerate(["1", ""])]
    assert summarise(rows, samples=200)["positives"]["mean"]["dice"]["low"] == 0.0


def test_undefined_numbers_are_none_so_that_json_is_valid():
    got = summarise([row(0, 0, 0, 0.1, sector=0)], samples=5)
    json.dumps(got, allow_nan=False)
    assert got["positives"]["mean"]["dice"] == {"value": None, "low": None, "high": None}
    assert got["negatives"]["false_sector_share"]["value"] is None
    assert got["frame_auc"]["value"] is None
    assert eval_metrics(got) == {"false_effusion_share": 0.0}


def test_eval_metrics_are_flat_and_rounded():
    got = eval_metrics(summarise(ROWS, samples=5))
    assert list(got) == [
        "mean_dice",
        "mean_iou",
        "mean_precision",
        "mean_recall",
        "mean_accuracy",
        "mean_frame_accuracy",
        "mean_hd95",
        "mean_surface_dice",
        "median_dice",
        "pooled_dice",
        "pooled_precision",
        "pooled_recall",
        "pooled_frame_accuracy",
        "missed_share",
        "false_effusion_share",
        "frame_auc",
    ]
    assert got["mean_iou"] == 0.4444
    assert got["frame_auc"] == 0.8333


@pytest.mark.parametrize(
    ("rows", "min_pixels", "message"), [([], 249, "rows is empty"), (ROWS, 0, "min_pixels must be at least 1, got 0")]
)
def test_senseless_arguments_are_refused(rows, min_pixels, message):
    with pytest.raises(ValueError, match=message):
        summarise(rows, min_pixels=min_pixels)


def test_the_page_names_what_a_reader_must_know():
    page = render_markdown(summarise(ROWS, "exam", samples=200))
    for part in (
        "Protocol: exam. 6 frames of 4 clips and 2 exam groups.",
        "95% intervals, percentile bootstrap, 200 samples of clips, seed 0",
        "For research use only",
        "truth of at least 249 px",
        "| score | mean over images | pooled |",
        "| Dice (F1) | 0.500 (0.000 to 0.750) | 0.333 (",
        "| 249 to 1,000 | 2 | 0.750 |",
        "| above 6,000 | 0 | none |",
        "| share with any false effusion | 0.500 (",
        "| any, above 0 | 4 | 0.542 (",
    ):
        assert part in page


def test_the_page_says_that_no_protocol_was_named():
    assert "Protocol: not named." in render_markdown(summarise(ROWS, samples=5))
