# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a machine writes stands still while the heart moves."""

from __future__ import annotations

import numpy as np
import pytest

from pe_monai.report.moving import MovingArea


@pytest.fixture
def frames() -> np.ndarray:
    """Speckle in a disk of 50 pixels radius, letters above it, a counter of 10 x 10 pixels and a trace below."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:160, :200]
    frames = rng.integers(0, 8, (6, 160, 200)).astype(np.uint8)
    inside = (rows - 90) ** 2 + (columns - 100) ** 2 < 50**2
    frames[:, inside] = rng.integers(0, 255, (6, int(inside.sum())))
    frames[:, 5:20, 10:190:4] = 255
    frames[:, 5:15, 180:190] = rng.integers(0, 255, (6, 10, 10))
    for number, frame in enumerate(frames):
        frame[150, 10 + 20 * number : 30 + 20 * number] = 255
    return frames


@pytest.mark.parametrize("colour", [False, True])
def test_what_moves_is_found_without_letters(frames, colour):
    moving = MovingArea()
    for frame in frames:
        moving.add(np.repeat(frame[..., None], 3, axis=-1) if colour else frame)
    area = moving.find()
    assert area[90, 100] and 0.9 < area.sum() / (np.pi * 50**2) < 1.1
    assert not area[:35].any() and not area[145:].any()


def test_nothing_moves(frames):
    moving = MovingArea()
    assert moving.find() is None
    moving.add(frames[0])
    assert moving.find() is None
    moving.add(frames[0])
    assert moving.find() is None
