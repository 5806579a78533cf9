# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How surely a frame shows effusion, as one number."""

from __future__ import annotations

import numpy as np

SHARE = 0.01


def frame_score(probability: np.ndarray, sector: np.ndarray, share: float = SHARE) -> float:
    """Mean of the highest probabilities inside the sector, over as many pixels as make up a share of it.

    A share of 1 % is about the smallest effusion of the paper's frames (249 px of a sector of 25,000 px), and does not
    depend on how large a frame was exported. As many sure pixels give 1; a single hot pixel gives nearly 0.

    Args:
        probability: of effusion, (H, W), in [0, 1].
        sector: non-zero inside the sector, (H, W).
        share: share of the sector's pixels to average over, in (0, 1].

    Returns:
        The score in [0, 1]; 0 for an empty sector.

    Raises:
        ValueError: the share is out of its range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}.")
    inside = np.asarray(probability)[np.asarray(sector) > 0]
    if inside.size == 0:
        return 0.0
    count = max(1, round(share * inside.size))
    highest = np.partition(inside, inside.size - count)[inside.size - count :]
    return float(highest.mean())
