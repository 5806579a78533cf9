# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How wrong the outline of a frame is likely to be, as one number."""

from __future__ import annotations

import numpy as np

from pe_monai.measure.score import frame_score


def frame_uncertainty(probability: np.ndarray, mask: np.ndarray, sector: np.ndarray) -> float:
    """The error to be expected of a mask if the probabilities are right.

    For a mask with effusion it is one minus the Dice of the mask and the probabilities taken as a soft truth (the usual
    approximation of the expected Dice by the ratio of expectations). An empty mask is wrong if there is any effusion,
    so there it is the frame's score. It ranks frames for correction and for active learning and needs no second pass
    of the network.

    Args:
        probability: of effusion, (H, W), in [0, 1]; calibrated ones give the best estimate.
        mask: effusion, (H, W), non-zero inside.
        sector: non-zero inside the sector, (H, W).

    Returns:
        The expected error in [0, 1].
    """
    inside = np.asarray(sector) > 0
    outlined = (np.asarray(mask) > 0) & inside
    if not outlined.any():
        return frame_score(probability, sector)
    probability = np.asarray(probability, dtype=np.float64)
    shared = probability[outlined].sum()
    return float(1 - 2 * shared / (outlined.sum() + probability[inside].sum()))
