# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How far two masks agree."""

from __future__ import annotations

import numpy as np


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    """Dice of two masks, (H, W) bool; 1 where both are empty."""
    total = int(mask.sum()) + int(truth.sum())
    return 2 * int((mask & truth).sum()) / total if total else 1.0
