# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The frame's score, by hand on 10 x 10 pixels."""

from __future__ import annotations

import numpy as np
import pytest

from pe_monai.measure import frame_score

EVERYWHERE = np.ones((10, 10), bool)


def spots(count: int, value: float = 1.0) -> np.ndarray:
    return np.where(np.arange(100).reshape(10, 10) < count, value, 0.0)


def test_it_is_the_mean_over_the_highest_share():
    assert frame_score(spots(10), EVERYWHERE, share=0.1) == 1
    assert frame_score(spots(5), EVERYWHERE, share=0.1) == 0.5
    assert frame_score(spots(30, 0.4), EVERYWHERE, share=0.1) == pytest.approx(0.4)
    assert frame_score(spots(25), EVERYWHERE, share=1) == 0.25
    assert frame_score(np.linspace(0, 1, 100).reshape(10, 10), EVERYWHERE, share=0.02) == pytest.approx(
        (1 + 98 / 99) / 2
    )


def test_what_is_outside_the_sector_does_not_count():
    sector = np.zeros((10, 10))
    sector[5:] = 3
    assert frame_score(spots(50), sector) == 0
    assert frame_score(1 - spots(50), sector) == 1


def test_one_hot_pixel_of_a_large_sector_is_nearly_nothing():
    probability = np.zeros((200, 200))
    probability[100, 100] = 1
    assert frame_score(probability, np.ones((200, 200))) == pytest.approx(1 / 400)


def test_a_tiny_sector_uses_one_pixel_and_an_empty_one_scores_zero():
    sector = np.zeros((10, 10))
    sector[0, :2] = 1
    assert frame_score(spots(1, 0.7), sector) == pytest.approx(0.7)
    assert frame_score(spots(100), np.zeros((10, 10))) == 0


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_a_share_without_meaning_is_named(share):
    with pytest.raises(ValueError, match="share"):
        frame_score(spots(1), EVERYWHERE, share)
