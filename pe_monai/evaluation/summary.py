# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Summary of an evaluation: frames with effusion and frames without it apart, every score with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np

from pe_monai.evaluation.bootstrap import ClipBootstrap
from pe_monai.evaluation.ranking import area_under_risk, frame_errors, rank_correlation
from pe_monai.evaluation.scores import MIN_PIXELS

MEAN_SCORES = ("dice", "iou", "precision", "recall", "accuracy", "frame_accuracy", "hd95", "surface_dice")
SIZE_BINS = ((1, 248), (249, 1000), (1001, 3000), (3001, 6000), (6001, None))


def summarise(
    rows: Sequence[Mapping[str, Any]],
    protocol: str = "",
    min_pixels: int = MIN_PIXELS,
    samples: int = 2000,
    seed: int = 0,
    sizes: Sequence[tuple[int, int | None]] = SIZE_BINS,
) -> dict[str, Any]:
    """Summarise the scores of frames.

    Intervals come from resampling clips; where frames name no clip each of them counts as a clip of its own, and
    ``resampled`` says so.

    Args:
        rows: one a frame: what :func:`pe_monai.evaluation.score_frame` returns, and ``clip`` and ``exam``, "" or None
            where unknown.
        protocol: how the frames were split from the training's, to be named beside every number.
        min_pixels: smallest truth, in pixels, of the frames called positive.
        samples: number of draws of the bootstrap.
        seed: its seed.
        sizes: smallest and largest truth, in pixels, of each group of ``sizes``.

    Returns:
        Plain numbers, strings, lists and dictionaries, fit for JSON; an estimate is ``{"value", "low", "high"}``, None
        where undefined.

        - ``positives``: frames of at least ``min_pixels``: ``mean`` over images of each score (the Hausdorff distance
          over those with a prediction), ``median`` Dice, ``pooled`` Dice, precision, recall and accuracy of the whole
          frame of all their pixels taken together, and ``missed``, the share without any prediction.
        - ``sizes``: number and mean Dice of the frames by size of their truth.
        - ``negatives``: frames without truth: ``false_share`` of them with any prediction, its mean ``false_px`` and
          ``false_sector_share``, zeros included.
        - ``annotated``: frames with any truth: their mean Dice.
        - ``frame_auc``: positives against negatives by ``score``; smaller effusions are left out.
        - ``uncertainty``, where the rows have it: ``spearman`` of it and the true error (see
          :func:`pe_monai.evaluation.ranking.frame_errors`), ``aurc``, the area under the risk-coverage curve, and
          ``mean_error``, the risk at full coverage.

    Raises:
        ValueError: there are no rows, or ``min_pixels`` is below 1.
    """
    if not rows:
        raise ValueError("rows is empty: no frame was evaluated; check the data list.")
    if min_pixels < 1:
        raise ValueError(f"min_pixels must be at least 1, got {min_pixels}.")
    clips = [str(row.get("clip") or "") for row in rows]
    column = {
        name: np.array([row[name] for row in rows], dtype=np.float64)
        for name in (
            *MEAN_SCORES,
            "truth_px",
            "pred_px",
            "overlap_px",
            "sector_px",
            "frame_px",
            "score",
            "false_effusion",
        )
    }
    truth_px = column["truth_px"]
    bootstrap = ClipBootstrap(clip_units(rows), samples, seed)
    summary = {
        "protocol": protocol,
        "frames": len(rows),
        "clips": _known(clips),
        "exams": _known([str(row.get("exam") or "") for row in rows]),
        "min_pixels": min_pixels,
        "interval": {
            "level": 0.95,
            "method": "percentile bootstrap",
            "resampled": _resampled(clips),
            "samples": samples,
            "seed": seed,
        },
        "positives": _positives(column, clips, truth_px >= min_pixels, bootstrap),
        "sizes": [_size(column, low, high, bootstrap) for low, high in sizes],
        "negatives": _negatives(column, clips, truth_px == 0, bootstrap),
        "annotated": _among(column, truth_px > 0, bootstrap),
        "frame_auc": bootstrap.auc(
            column["score"], np.where(truth_px >= min_pixels, 1.0, np.where(truth_px == 0, 0.0, np.nan))
        ),
    }
    if all("uncertainty" in row for row in rows):
        summary["uncertainty"] = _uncertainty(rows, bootstrap)
    return summary


def clip_units(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What to resample: the clip of each frame; a frame without one is a clip of its own."""
    clips = [str(row.get("clip") or "") for row in rows]
    # A clip's name cannot be taken for the stand-in of a frame without one: their first characters differ.
    return [f"clip {clip}" if clip else f"frame {number}" for number, clip in enumerate(clips)]


def eval_metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    """The main numbers of a summary, for a bundle's metadata: flat, four decimals, undefined ones left out."""
    positives, negatives = summary["positives"], summary["negatives"]
    estimates = {f"mean_{name}": positives["mean"][name] for name in MEAN_SCORES}
    estimates["median_dice"] = positives["median"]["dice"]
    estimates |= {f"pooled_{name}": estimate for name, estimate in positives["pooled"].items()}
    estimates["missed_share"] = positives["missed"]
    estimates["false_effusion_share"] = negatives["false_share"]
    estimates["frame_auc"] = summary["frame_auc"]
    return {name: round(estimate["value"], 4) for name, estimate in estimates.items() if estimate["value"] is not None}


def _positives(
    column: dict[str, np.ndarray], clips: Sequence[str], chosen: np.ndarray, bootstrap: ClipBootstrap
) -> dict[str, Any]:
    only = {name: np.where(chosen, values, np.nan) for name, values in column.items()}
    summed = {name: np.where(chosen, column[name], 0) for name in ("truth_px", "pred_px", "overlap_px", "frame_px")}
    right = summed["frame_px"] - summed["truth_px"] - summed["pred_px"] + 2 * summed["overlap_px"]
    return {
        "frames": int(chosen.sum()),
        "clips": _known(compress(clips, chosen)),
        "mean": {name: bootstrap.mean(only[name]) for name in MEAN_SCORES},
        "median": {"dice": bootstrap.median(only["dice"])},
        "pooled": {
            "dice": bootstrap.ratio(2 * summed["overlap_px"], summed["truth_px"] + summed["pred_px"]),
            "precision": bootstrap.ratio(summed["overlap_px"], summed["pred_px"]),
            "recall": bootstrap.ratio(summed["overlap_px"], summed["truth_px"]),
            "frame_accuracy": bootstrap.ratio(right, summed["frame_px"]),
        },
        "missed": bootstrap.mean(np.where(chosen, column["pred_px"] == 0, np.nan)),
    }


def _negatives(
    column: dict[str, np.ndarray], clips: Sequence[str], chosen: np.ndarray, bootstrap: ClipBootstrap
) -> dict[str, Any]:
    pred_px = np.where(chosen, column["pred_px"], np.nan)
    sector_px = np.where(column["sector_px"] > 0, column["sector_px"], np.nan)
    return {
        "frames": int(chosen.sum()),
        "clips": _known(compress(clips, chosen)),
        "false_share": bootstrap.mean(column["false_effusion"]),
        "false_px": bootstrap.mean(pred_px),
        "false_sector_share": bootstrap.mean(pred_px / sector_px),
    }


def _uncertainty(rows: Sequence[Mapping[str, Any]], bootstrap: ClipBootstrap) -> dict[str, Any]:
    uncertainty, errors = np.array([row["uncertainty"] for row in rows], dtype=np.float64), frame_errors(rows)
    return {
        "spearman": rank_correlation(uncertainty, errors, bootstrap),
        "aurc": area_under_risk(uncertainty, errors, bootstrap),
        "mean_error": bootstrap.mean(errors),
    }


def _size(column: dict[str, np.ndarray], low: int, high: int | None, bootstrap: ClipBootstrap) -> dict[str, Any]:
    truth_px = column["truth_px"]
    chosen = (truth_px >= low) & (truth_px <= (np.inf if high is None else high))
    return {"from_px": low, "to_px": high, **_among(column, chosen, bootstrap)}


def _among(column: dict[str, np.ndarray], chosen: np.ndarray, bootstrap: ClipBootstrap) -> dict[str, Any]:
    return {"frames": int(chosen.sum()), "dice": bootstrap.mean(np.where(chosen, column["dice"], np.nan))}


def _known(names: Iterable[str]) -> int:
    return len(set(names) - {""})


def _resampled(clips: Sequence[str]) -> str:
    if all(clips):
        return "clips"
    return "clips, and single frames where no clip is known" if any(clips) else "frames, as no clip is known"
