# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Percentile intervals by resampling whole clips: neighbouring frames of a clip are near copies of each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from monai.metrics import compute_roc_auc

CHUNK = 256

Estimate = dict[str, float | None]


class ClipBootstrap:
    """Estimates over frames with 95 % percentile intervals, by drawing clips with replacement.

    All estimates of one instance use the same draws. A draw takes as many clips as there are, each with all of its
    frames; draws that leave an estimate without frames are passed over. (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 13; resampling of clusters: Davison and Hinkley, Bootstrap Methods, 1997, section 3.8.)

    Every method takes arrays with one value a frame, in the order of ``units``, and returns ``value``, ``low`` and
    ``high``. They are None where there is nothing to compute them from; the interval also where fewer than two clips
    contribute, of which no spread can be learned.

    Args:
        units: name of the clip of each frame.
        samples: number of draws.
        seed: seed of the draws.

    Raises:
        ValueError: there are no frames, or no draws are wanted.
    """

    def __init__(self, units: Sequence[str], samples: int = 2000, seed: int = 0) -> None:
        if not len(units):
            raise ValueError("units is empty: an estimate needs at least one frame.")
        if samples < 1:
            raise ValueError(f"samples must be at least 1, got {samples}.")
        names, self.unit = np.unique(np.asarray(units, dtype=str), return_inverse=True)
        self.units = len(names)
        drawn = np.random.default_rng(seed).integers(self.units, size=(samples, self.units))
        drawn += np.arange(samples)[:, None] * self.units
        counts = np.bincount(drawn.ravel(), minlength=samples * self.units)
        self.counts = counts.reshape(samples, self.units).astype(np.float64)

    def mean(self, values: np.ndarray) -> Estimate:
        """Mean over the frames whose value is not NaN."""
        known = np.isfinite(values)
        return self.ratio(np.where(known, values, 0), known)

    def ratio(self, numerator: np.ndarray, denominator: np.ndarray) -> Estimate:
        """Sum of the numerator over sum of the denominator, both over all frames; the denominator is never negative."""
        above = np.bincount(self.unit, numerator, self.units)
        below = np.bincount(self.unit, denominator, self.units)
        if below.sum() == 0:
            return estimate(None)
        value = above.sum() / below.sum()
        if np.count_nonzero(below) < 2:
            return estimate(value)
        totals = self.counts @ below
        some = totals > 0
        return estimate(value, (self.counts @ above)[some] / totals[some])

    def median(self, values: np.ndarray) -> Estimate:
        """Median over the frames whose value is not NaN."""
        frames = np.flatnonzero(np.isfinite(values))
        if not len(frames):
            return estimate(None)
        value = float(np.median(values[frames]))
        if len(np.unique(self.unit[frames])) < 2:
            return estimate(value)
        frames = frames[np.argsort(values[frames])]
        drawn = []
        for weights in self._weights(frames):
            running = weights.cumsum(axis=1)
            running = running[running[:, -1] > 0]
            # The middle of an even number of frames lies between two of them, which may be one and the same.
            half = running[:, -1:] / 2
            lower, upper = (running >= half).argmax(axis=1), (running > half).argmax(axis=1)
            drawn.append((values[frames[lower]] + values[frames[upper]]) / 2)
        return estimate(value, np.concatenate(drawn))

    def auc(self, scores: np.ndarray, truth: np.ndarray) -> Estimate:
        """Area under the ROC curve.

        Args:
            scores: one a frame, higher for a positive frame.
            truth: 1 for positive frames, 0 for negative ones, NaN for frames that are neither and left out.
        """
        frames = np.flatnonzero(np.isfinite(truth))
        positive = truth[frames] == 1
        clips_of = [len(np.unique(self.unit[frames[chosen]])) for chosen in (positive, ~positive)]
        if min(clips_of) == 0:
            return estimate(None)
        value = float(compute_roc_auc(torch.as_tensor(scores[frames]), torch.as_tensor(truth[frames])))
        if min(clips_of) < 2:
            return estimate(value)
        order = np.argsort(scores[frames])
        frames, positive = frames[order], positive[order]
        ties = np.flatnonzero(np.diff(scores[frames], prepend=-np.inf))
        drawn = []
        for weights in self._weights(frames):
            positives = np.add.reduceat(weights * positive, ties, axis=1)
            negatives = np.add.reduceat(weights * ~positive, ties, axis=1)
            pairs = positives.sum(axis=1) * negatives.sum(axis=1)
            # Mann-Whitney: each positive wins over the negatives below it and shares with those that tie.
            wins = (positives * (negatives.cumsum(axis=1) - negatives / 2)).sum(axis=1)
            drawn.append(wins[pairs > 0] / pairs[pairs > 0])
        return estimate(value, np.concatenate(drawn))

    def statistic(self, parts: np.ndarray, compute: Callable[[np.ndarray], np.ndarray]) -> Estimate:
        """Any statistic of sums over the frames, such as a ratio, a correlation or the difference of two of them.

        Args:
            parts: (frames, m), what a frame adds to each sum.
            compute: from sums (..., m) to values (...), NaN where undefined.
        """
        value = float(compute(parts.sum(axis=0)))
        if not np.isfinite(value):
            return estimate(None)
        by_clip = self._by_clip(parts)
        if np.count_nonzero(by_clip.any(axis=1)) < 2:
            return estimate(value)
        drawn = compute(self.counts @ by_clip)
        return estimate(value, drawn[np.isfinite(drawn)])

    def sums(self, parts: np.ndarray) -> np.ndarray:
        """Sums over the frames of each draw: (frames, m) to (draws, m)."""
        return self.counts @ self._by_clip(parts)

    def _by_clip(self, parts: np.ndarray) -> np.ndarray:
        """Sums over the frames of each clip: (frames, m) to (clips, m)."""
        return np.stack([np.bincount(self.unit, part, self.units) for part in parts.T], axis=-1)

    def _weights(self, frames: np.ndarray) -> Iterator[np.ndarray]:
        """How often each draw holds each of these frames: arrays (draws, frames), in chunks to spare memory."""
        for start in range(0, len(self.counts), CHUNK):
            yield self.counts[start : start + CHUNK, self.unit[frames]]


def estimate(value: float | None, drawn: np.ndarray | None = None) -> Estimate:
    """An estimate with the 95 % percentile interval of its draws, (draws,); without one where there are none."""
    low = high = None
    if drawn is not None and len(drawn):
        low, high = (float(end) for end in np.percentile(drawn, (2.5, 97.5)))
    return {"value": None if value is None else float(value), "low": low, "high": high}
