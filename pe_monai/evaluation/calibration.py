# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a probability means what it says: the reliability diagram and the expected calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pe_monai.evaluation.bootstrap import ClipBootstrap

BINS = 15


def count_bins(probability: np.ndarray, label: np.ndarray, sector: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Sort the pixels inside a frame's sector by their probability.

    Args:
        probability: of effusion, in [0, 1].
        label: non-zero where there is effusion, of the same shape.
        sector: non-zero inside the sector, of the same shape.
        bins: number of equal parts of [0, 1].

    Returns:
        (bins, 3): number of pixels, sum of their probabilities, number of them with effusion.
    """
    inside = np.asarray(sector) > 0
    values = np.clip(np.asarray(probability, dtype=np.float64)[inside], 0, 1)
    effusion = np.asarray(label)[inside] > 0
    place = np.minimum((values * bins).astype(int), bins - 1)
    return np.column_stack([np.bincount(place, given, bins) for given in (np.ones_like(values), values, effusion)])


def summarise_calibration(
    counts: Sequence[np.ndarray], units: Sequence[str], samples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """The reliability diagram of all frames and how far it is from the diagonal.

    The expected calibration error (Guo et al., ICML 2017) is the mean over pixels of the distance between mean
    probability and share of effusion in their bin. Most pixels of a sector are surely none and make it small, so
    ``ece_unsure`` gives it without the lowest bin, too.

    Args:
        counts: one a frame, see :func:`count_bins`.
        units: name of the clip of each frame.
        samples: number of draws of the bootstrap.
        seed: its seed.

    Returns:
        ``bins``: ``from``, ``to``, ``pixels``, ``probability`` (mean, None if empty) and ``effusion`` (share of the
        pixels, None if empty); estimates ``ece`` and ``ece_unsure`` with 95 % intervals over clips.
    """
    parts = np.stack(counts)
    frames, bins, _ = parts.shape
    bootstrap = ClipBootstrap(units, samples, seed)

    def error(first: int):
        def compute(sums: np.ndarray) -> np.ndarray:
            by_bin = sums.reshape(*sums.shape[:-1], bins, 3)[..., first:, :]
            total = by_bin[..., 0].sum(axis=-1)
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.abs(by_bin[..., 1] - by_bin[..., 2]).sum(axis=-1) / total

        return compute

    flat = parts.reshape(frames, -1)
    diagram = [
        {
            "from": place / bins,
            "to": (place + 1) / bins,
            "pixels": int(pixels),
            "probability": float(probability / pixels) if pixels else None,
            "effusion": float(effusion / pixels) if pixels else None,
        }
        for place, (pixels, probability, effusion) in enumerate(parts.sum(axis=0))
    ]
    return {
        "bins": diagram,
        "ece": bootstrap.statistic(flat, error(0)),
        "ece_unsure": bootstrap.statistic(flat, error(1)),
    }
