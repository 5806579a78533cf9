# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Agreement of measured thickness with reference values: ICC, Bland-Altman, mean absolute error, grades."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pe_monai.evaluation.bootstrap import ClipBootstrap
from pe_monai.measure.scales import find_scale


def agreement(
    measured: Sequence[float],
    reference: Sequence[float],
    clips: Sequence[str] | None = None,
    scale: str | None = "esc2015",
    samples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """How well measured values agree with reference values, such as largest thickness in mm.

    Intervals are 95 % percentile intervals from resampling clips.

    Args:
        measured: one value a pair; NaN where nothing could be measured, which is counted and left out.
        reference: the value of each pair to agree with.
        clips: name of each pair's clip; every pair for itself if None.
        scale: key of the scale that both are graded on; None for values that are not in mm.
        samples: number of draws of the bootstrap.
        seed: its seed.

    Returns:
        Plain numbers, strings, lists and dictionaries, fit for JSON; an estimate is ``{"value", "low", "high"}``, None
        where undefined.

        - ``pairs`` used, ``unmeasured`` pairs left out, ``clips``;
        - ``mae``: mean absolute error;
        - ``bland_altman``: ``bias`` (mean of measured less reference), ``sd`` of the differences, and the limits of
          agreement ``lower`` and ``upper``, bias ± 1.96 sd (Bland and Altman, Lancet 1986;327:307-310);
        - ``icc_2_1``, ``icc_3_1``: see :func:`icc`;
        - ``grades``: ``labels``, ``confusion`` (rows: reference, columns: measured) and ``same``, the share of pairs
          with one grade in both.

    Raises:
        ValueError: the lists differ in length, a reference is no number, there are no pairs or no such scale.
    """
    got, wanted = np.asarray(measured, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    names = [f"pair {place}" for place in range(len(got))] if clips is None else [str(clip) for clip in clips]
    if not got.shape == wanted.shape == (len(names),):
        raise ValueError(f"measured, reference and clips must be as many, got {len(got)}, {len(wanted)}, {len(names)}.")
    if not np.isfinite(wanted).all():
        raise ValueError("reference holds values that are no numbers; leave out pairs without a reference.")
    known = np.isfinite(got)
    if not known.any():
        raise ValueError("measured holds no number: there are no pairs to compare.")
    ratings = np.column_stack([got, wanted])[known]
    names = [name for name, is_known in zip(names, known, strict=True) if is_known]
    differences = ratings[:, 0] - ratings[:, 1]
    bootstrap = ClipBootstrap(names, samples, seed)
    powers = np.column_stack([np.ones(len(ratings)), differences, differences**2])
    return {
        "pairs": len(ratings),
        "unmeasured": int((~known).sum()),
        "clips": bootstrap.units,
        "interval": {
            "level": 0.95,
            "method": "percentile bootstrap",
            "resampled": "pairs" if clips is None else "clips",
            "samples": samples,
            "seed": seed,
        },
        "mae": bootstrap.mean(np.abs(differences)),
        "bland_altman": {
            "bias": bootstrap.mean(differences),
            "sd": bootstrap.statistic(powers, _spread),
            "lower": bootstrap.statistic(powers, lambda sums: sums[..., 1] / sums[..., 0] - 1.96 * _spread(sums)),
            "upper": bootstrap.statistic(powers, lambda sums: sums[..., 1] / sums[..., 0] + 1.96 * _spread(sums)),
        },
        "icc_2_1": bootstrap.statistic(_sums_of(ratings), lambda sums: _icc(sums)[0]),
        "icc_3_1": bootstrap.statistic(_sums_of(ratings), lambda sums: _icc(sums)[1]),
        "grades": None if scale is None else _compare_grades(ratings, scale, bootstrap),
    }


def icc(ratings: np.ndarray) -> tuple[float, float]:
    """Intraclass correlation of single ratings: absolute agreement and consistency.

    ICC(2,1) and ICC(3,1) of Shrout and Fleiss (Psychol Bull 1979;86:420-428), which McGraw and Wong (Psychol Methods
    1996;1:30-46) call ICC(A,1) and ICC(C,1). With the mean squares between subjects (R), between raters (C) and of the
    residual (E), n subjects and k raters:

        ICC(2,1) = (R - E) / (R + (k - 1) E + k (C - E) / n)
        ICC(3,1) = (R - E) / (R + (k - 1) E)

    Args:
        ratings: (n, k), a row a subject, a column a rater, such as measured and reference.

    Returns:
        ICC(2,1) and ICC(3,1); NaN where undefined, as with fewer than two subjects.
    """
    absolute, consistent = _icc(_sums_of(np.asarray(ratings, dtype=np.float64)).sum(axis=0))
    return float(absolute), float(consistent)


def _sums_of(ratings: np.ndarray) -> np.ndarray:
    """What the mean squares need of each subject, to be summed: (n, 3 + k)."""
    centred = ratings - ratings.mean()  # changes no ICC, and squares of large numbers would cancel badly
    subject = centred.mean(axis=1)
    return np.column_stack([np.ones(len(ratings)), subject**2, (centred**2).sum(axis=1), centred])


def _icc(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ICC(2,1) and ICC(3,1) from sums (..., 3 + k) over subjects."""
    count, subjects, total, raters = sums[..., 0], sums[..., 1], sums[..., 2], sums[..., 3:]
    k = raters.shape[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        correction = raters.sum(axis=-1) ** 2 / (count * k)
        between = k * subjects - correction
        by_rater = (raters**2).sum(axis=-1) / count - correction
        residual = np.maximum(total - correction - between - by_rater, 0)
        r, c, e = between / (count - 1), by_rater / (k - 1), residual / ((count - 1) * (k - 1))
        return (r - e) / (r + (k - 1) * e + k * (c - e) / count), (r - e) / (r + (k - 1) * e)


def _spread(sums: np.ndarray) -> np.ndarray:
    """Standard deviation from the sums (..., 3) of one, value and square."""
    count, first, second = sums[..., 0], sums[..., 1], sums[..., 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(np.maximum(second - first**2 / count, 0) / (count - 1))


def _compare_grades(ratings: np.ndarray, scale: str, bootstrap: ClipBootstrap) -> dict[str, Any]:
    chosen = find_scale(scale)
    labels = ["none", *chosen.grades]
    graded = np.array([[labels.index(chosen.grade(value)) for value in row] for row in ratings])
    confusion = np.zeros((len(labels), len(labels)), dtype=int)
    np.add.at(confusion, (graded[:, 1], graded[:, 0]), 1)
    return {
        "scale": chosen.name,
        "labels": labels,
        "confusion": confusion.tolist(),
        "same": bootstrap.mean((graded[:, 0] == graded[:, 1]).astype(np.float64)),
    }
