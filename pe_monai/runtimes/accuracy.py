# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a conversion costs in accuracy: Dice on annotated frames, the same frames for every network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pe_monai.data.splits import PAPER_MIN_PIXELS
from pe_monai.errors import DatasetError, FrameError
from pe_monai.measure import dice
from pe_monai.measure.mask_files import read_mask
from pe_monai.predictor import Predictor
from pe_monai.runtimes.session import Session


def with_session(predictor: Predictor, session: Session | None) -> Predictor:
    """The same predictor, its network computed by another session; None is PyTorch."""
    other = copy.copy(predictor)
    other.session = session
    other.settings = {**predictor.settings, "runtime": session.name if session else "torch"}
    return other


def read_labels(items: Sequence[dict], min_pixels: int = PAPER_MIN_PIXELS) -> dict[Path, np.ndarray]:
    """Frames of a datalist that show at least so many pixels of effusion, and their masks, bool (H, W).

    Raises:
        DatasetError: there is no such frame.
        FrameError: an annotation cannot be read or is no mask.
    """
    masks = {Path(item["image"]): read_mask(item["label"]) for item in items}
    masks = {path: mask for path, mask in masks.items() if mask.sum() >= min_pixels}
    if not masks:
        raise DatasetError(
            f"none of {len(items)} frames shows {min_pixels} pixels of effusion to measure Dice on; give more folds."
        )
    return masks


def mean_dice(predictor: Predictor, labels: dict[Path, np.ndarray]) -> float:
    """Mean Dice of a predictor over annotated frames; a frame that it cannot use counts 0."""
    scores = []
    for path, outcome in predictor.predict_files(labels):
        label = labels[path]
        mask = np.zeros_like(label) if isinstance(outcome, FrameError) else outcome.mask
        scores.append(dice(mask, label))
    return float(np.mean(scores))
