# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How well a number a frame ranks the frames: by effusion (ROC) and by the error of the mask (risk-coverage)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata, spearmanr

from pe_monai.evaluation.bootstrap import ClipBootstrap, Estimate, estimate

RANKED_DRAWS = 500  # a draw has to be ranked anew, which takes its time


def frame_errors(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The true error of each frame's mask: one minus Dice; without effusion 1 if any was predicted and else 0."""
    dice = np.array([row["dice"] for row in rows], dtype=np.float64)
    false = np.array([row["false_effusion"] for row in rows], dtype=np.float64)
    return np.where(np.isfinite(dice), 1 - dice, false)


def rank_correlation(values: np.ndarray, errors: np.ndarray, bootstrap: ClipBootstrap) -> Estimate:
    """Spearman's rank correlation of two numbers a frame, with its interval from the bootstrap's first draws."""
    if len(np.unique(values)) < 2 or len(np.unique(errors)) < 2:
        return estimate(None)
    value = float(spearmanr(values, errors).statistic)
    drawn = []
    for frames in _drawn_frames(bootstrap):
        ranks = [rankdata(given[frames]) for given in (values, errors)]
        if all(np.ptp(rank) for rank in ranks):
            drawn.append(np.corrcoef(*ranks)[0, 1])
    return estimate(value, np.array(drawn))


def area_under_risk(uncertainty: np.ndarray, errors: np.ndarray, bootstrap: ClipBootstrap) -> Estimate:
    """Area under the risk-coverage curve, with its interval from the bootstrap's first draws."""
    drawn = [risk_coverage(uncertainty[frames], errors[frames])[1].mean() for frames in _drawn_frames(bootstrap)]
    return estimate(risk_coverage(uncertainty, errors)[1].mean(), np.array(drawn))


def risk_coverage(uncertainty: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean error of the frames that are kept, from the surest frame to all of them.

    (El-Yaniv and Wiener, JMLR 2010;11:1605-1641.) The mean of the second array is the area under the curve.

    Args:
        uncertainty: of each frame.
        errors: true error of each frame.

    Returns:
        Coverage, the share of frames that are kept, and risk, their mean error.
    """
    order = np.argsort(uncertainty, kind="stable")
    kept = np.arange(1, len(order) + 1)
    return kept / len(order), np.cumsum(np.asarray(errors)[order]) / kept


def roc_curve(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rate at every threshold, from (0, 0) to (1, 1).

    Args:
        scores: one a frame, higher for a positive frame.
        truth: 1 for positive frames, 0 for negative ones, NaN for frames left out; both kinds must occur.
    """
    known = np.isfinite(truth)
    scores, positive = np.asarray(scores)[known], np.asarray(truth)[known] == 1
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    true, false = (np.cumsum(kind[order])[last_of_ties] for kind in (positive, ~positive))
    return np.append(0, false / false[-1]), np.append(0, true / true[-1])


def _drawn_frames(bootstrap: ClipBootstrap) -> Iterator[np.ndarray]:
    """Numbers of the frames of each draw, those of a clip drawn twice twice; nothing where there is but one clip."""
    if bootstrap.units < 2:
        return
    for counts in bootstrap.counts[:RANKED_DRAWS]:
        yield np.repeat(np.arange(len(bootstrap.unit)), counts[bootstrap.unit].astype(int))
