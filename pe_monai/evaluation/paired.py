# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Differences between two methods on the same frames, and between two sets of frames, with intervals over clips."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pe_monai.errors import DatasetError
from pe_monai.evaluation.bootstrap import ClipBootstrap, Estimate, estimate
from pe_monai.evaluation.scores import MIN_PIXELS
from pe_monai.evaluation.summary import MEAN_SCORES, clip_units

Rows = Sequence[Mapping[str, Any]]
TEXTS = ("image", "clip", "exam", "fold")


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """Scores of frames as an evaluation wrote them to ``frames.csv``; an empty cell is NaN.

    Raises:
        DatasetError: there is no such file, or it is no table of scores.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError(f"{path}: no such table; name the folder that 'pe_monai evaluate -o' wrote.")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [
                {name: value if name in TEXTS else float(value) if value else math.nan for name, value in row.items()}
                for row in csv.DictReader(file)
            ]
    except (ValueError, TypeError) as e:
        raise DatasetError(f"{path}: is no table of scores ({e}); evaluate again.") from e
    lacking = {"image", "truth_px", "pred_px", "overlap_px", "false_effusion", *MEAN_SCORES} - set(
        rows[0] if rows else ()
    )
    if lacking:
        raise DatasetError(f"{path}: has no {sorted(lacking)[0]}; evaluate again with this version.")
    return rows


def compare_rows(rows: Rows, others: Rows, samples: int = 2000, seed: int = 0) -> dict[str, Estimate]:
    """How much one method scores above another one on the same frames.

    Both methods are resampled with the same draws of clips. A hard clip is hard for both, so the interval of the
    difference is narrower than the intervals of the two scores suggest.

    Args:
        rows: scores of a method, see :func:`pe_monai.evaluation.summarise`.
        others: scores of the one it is compared with, of the same frames in the same order.
        samples: number of draws of the bootstrap.
        seed: its seed.

    Returns:
        Estimates of ``rows`` less ``others``: ``mean_dice`` and so on over positives, the frames of at least 249 px of
        truth (the Hausdorff distance over those where both predict something), ``pooled_dice``, and ``false_share``
        over frames without effusion.

    Raises:
        ValueError: the frames differ.
    """
    if [(row["image"], row["truth_px"]) for row in rows] != [(row["image"], row["truth_px"]) for row in others]:
        raise ValueError("the two methods were not scored on the same frames; score both on one datalist.")
    bootstrap = ClipBootstrap(clip_units(rows), samples, seed)
    positive = np.array([row["truth_px"] >= MIN_PIXELS for row in rows])
    differences = {}
    for name in MEAN_SCORES:
        mine, theirs = (np.array([row[name] for row in given], dtype=np.float64) for given in (rows, others))
        differences[f"mean_{name}"] = bootstrap.mean(np.where(positive, mine - theirs, np.nan))
    parts = [
        np.array([row[name] if use else 0 for row, use in zip(given, positive, strict=True)], dtype=np.float64)
        for given in (rows, others)
        for name in ("overlap_px", "truth_px", "pred_px")
    ]
    differences["pooled_dice"] = bootstrap.statistic(
        np.column_stack(parts), lambda sums: _pooled_dice(sums[..., :3]) - _pooled_dice(sums[..., 3:])
    )
    mine, theirs = (np.array([row["false_effusion"] for row in given], dtype=np.float64) for given in (rows, others))
    differences["false_share"] = bootstrap.mean(mine - theirs)
    return differences


def compare_sets(rows: Rows, others: Rows, name: str = "dice", samples: int = 2000, seed: int = 0) -> Estimate:
    """How much higher the mean score over positives is on one set of frames than on another one.

    Each set is resampled for itself. Where the sets share clips, as the test frames of two protocols may, this takes
    them for independent, and the interval is a little too wide.

    Args:
        rows: scores on one set of frames.
        others: scores on the other one.
        name: of the score.
        samples: number of draws of the bootstrap.
        seed: its seed; the second set's is the next.

    Returns:
        The estimate; without an interval where the frames of either set are of one clip, of which no spread can be
        learned.
    """
    drawn, values, clips = [], [], []
    for offset, given in enumerate((rows, others)):
        score = np.array([row[name] if row["truth_px"] >= MIN_PIXELS else np.nan for row in given], dtype=np.float64)
        known = np.isfinite(score)
        if not known.any():
            return estimate(None)
        bootstrap = ClipBootstrap(clip_units(given), samples, seed + offset)
        sums = bootstrap.sums(np.column_stack([np.where(known, score, 0), known]))
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn.append(sums[:, 0] / sums[:, 1])
        values.append(score[known].mean())
        clips.append(len(np.unique(bootstrap.unit[known])))
    value = float(values[0] - values[1])
    if min(clips) < 2:
        return estimate(value)
    gaps = drawn[0] - drawn[1]
    return estimate(value, gaps[np.isfinite(gaps)])


def _pooled_dice(sums: np.ndarray) -> np.ndarray:
    """From sums (..., 3) of overlap, truth and prediction."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 2 * sums[..., 0] / (sums[..., 1] + sums[..., 2])
