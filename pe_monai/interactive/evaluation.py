# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How many clicks a frame takes: the protocol of the NoC (number of clicks) measure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pe_monai.interactive.predictor import Click, InteractivePredictor
from pe_monai.measure import dice
from pe_monai.transforms import error_centre


@dataclass(frozen=True)
class Session:
    """One frame, corrected by a simulated user.

    Attributes:
        dice: before the first click, and after each; shorter where nothing was left to correct.
        seconds: that each click took.
    """

    dice: tuple[float, ...]
    seconds: tuple[float, ...]


def correct(
    predictor: InteractivePredictor, frame: np.ndarray, truth: np.ndarray, start: np.ndarray, most: int = 10
) -> Session:
    """Click in the middle of the largest error until none is left, or ``most`` times.

    Truth outside the sector that was found cannot be clicked; it still counts in Dice.

    Args:
        predictor: what answers.
        frame: uint8 (H, W) or (H, W, 3).
        truth: (H, W) bool.
        start: outline to begin with, (H, W) bool.
        most: clicks.
    """
    sector = predictor.predict(frame, [], start).sector
    mask, clicks = start, []
    values, seconds = [dice(mask, truth)], []
    for _ in range(most):
        centre = error_centre(mask, truth & sector)
        if centre is None:
            break
        clicks.append(Click(*centre))
        begun = time.perf_counter()
        mask = predictor.predict(frame, clicks, start).mask
        seconds.append(time.perf_counter() - begun)
        values.append(dice(mask, truth))
    return Session(tuple(values), tuple(seconds))


def summarise(
    sessions: Sequence[Session], most: int = 10, goals: Sequence[float] = (0.85, 0.9, 0.95)
) -> dict[str, Any]:
    """Mean Dice after each number of clicks, clicks to each goal, and how often a click made it worse.

    Frames in which nothing is left to correct keep their Dice. A frame that never reaches a goal counts as ``most``.

    Args:
        sessions: of :func:`correct`, with the same ``most``.
        most: clicks of each.
        goals: Dice to reach.

    Raises:
        ValueError: there is no session.
    """
    if not sessions:
        raise ValueError("there is no frame to judge by.")
    curves = np.array([[*s.dice, *[s.dice[-1]] * (most + 1 - len(s.dice))] for s in sessions])
    steps = np.concatenate([np.diff(s.dice) for s in sessions])
    seconds = np.concatenate([s.seconds for s in sessions])
    found: dict[str, Any] = {"frames": len(sessions), "mean_dice": [round(float(v), 4) for v in curves.mean(0)]}
    for goal in goals:
        reached = curves >= goal
        first = np.where(reached.any(1), reached.argmax(1), most)
        found[f"noc_{round(100 * goal)}"] = round(float(first.mean()), 2)
        found[f"never_{round(100 * goal)}"] = round(float((~reached.any(1)).mean()), 4)
    found["clicks"] = len(steps)
    found["worse_share"] = round(float((steps < 0).mean()), 4) if len(steps) else 0.0
    found["worse_by_0.01_share"] = round(float((steps < -0.01).mean()), 4) if len(steps) else 0.0
    if len(seconds):
        for name, share in (("median", 50), ("p95", 95)):
            found[f"{name}_ms"] = round(1000 * float(np.percentile(seconds, share)), 1)
    return found
