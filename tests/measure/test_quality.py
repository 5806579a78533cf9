# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Reasons to doubt a mask."""

from __future__ import annotations

import numpy as np
import pytest

from pe_monai.data import phantom_frame
from pe_monai.measure import measure_frame
from pe_monai.measure.quality import judge_frame

SECTOR = np.ones((60, 80), dtype=bool)
MASK = np.zeros((60, 80), dtype=bool)
MASK[20:30, 20:60] = True


def test_sure_and_unsure_outlines():
    assert judge_frame(MASK, SECTOR, np.where(MASK, 0.97, 0.001)) == ""
    assert judge_frame(MASK, SECTOR, np.where(MASK, 0.6, 0.02)).startswith(
        "the outline is uncertain (expected error 0."
    )
    # an empty mask where the network half saw something
    assert "uncertain" in judge_frame(MASK & False, SECTOR, np.where(MASK, 0.4, 0.0))
    assert judge_frame(MASK & False, SECTOR, np.full(MASK.shape, 0.01)) == ""


def test_sectors():
    assert judge_frame(MASK, SECTOR & False) == "no sector"
    small = np.zeros_like(SECTOR)
    small[:20, :40] = True
    assert judge_frame(MASK, small) == "the sector has only 800 pixels"
    assert judge_frame(MASK, None) == ""


def test_pictures():
    frame = phantom_frame(3, thickness_mm=12)
    assert judge_frame(frame.mask, frame.sector, None, frame.image) == ""
    assert judge_frame(frame.mask, frame.sector, None, frame.image[..., 0]) == ""
    assert "too dark" in judge_frame(frame.mask, frame.sector, None, frame.image // 6)
    assert "too little contrast" in judge_frame(frame.mask, frame.sector, None, frame.image // 8 + 120)
    bright = np.minimum(frame.image.astype(int) * 4, 255).astype(np.uint8)
    assert "gain is too high" in judge_frame(frame.mask, frame.sector, None, bright)


def test_surroundings_do_not_count():
    frame = phantom_frame(3, thickness_mm=12)
    image = frame.image.copy()
    image[~frame.sector] = 255
    assert judge_frame(frame.mask, frame.sector, None, image) == ""


def test_a_frame_carries_the_reason():
    measured = measure_frame(MASK, SECTOR, probability=np.where(MASK, 0.55, 0.0))
    assert not measured.reliable and "uncertain" in measured.reason and measured.regions


@pytest.mark.realdata
def test_published_frames_pass(real_root):
    from PIL import Image

    from pe_monai.transforms import find_sector

    for number in range(0, 300, 60):
        image = np.asarray(Image.open(real_root / f"data/fold1/fold1_process_img/{number:04d}.png").convert("RGB"))
        assert judge_frame(np.zeros(image.shape[:2]), find_sector(image), None, image) == ""
