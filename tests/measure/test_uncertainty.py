# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from pe_monai.measure.score import frame_score
from pe_monai.measure.uncertainty import frame_uncertainty

SECTOR = np.ones((20, 20), dtype=bool)


def outlined(rows=slice(5, 10)):
    mask = np.zeros((20, 20), dtype=bool)
    mask[rows, 5:15] = True
    return mask


def test_a_sure_outline_has_none():
    assert frame_uncertainty(outlined().astype(float), outlined(), SECTOR) == 0


def test_by_hand():
    # 50 px at 0.8 outlined, 50 px at 0.4 left out: 1 - 2 * 40 / (50 + 40 + 20)
    probability = 0.8 * outlined() + 0.4 * outlined(slice(10, 15))
    assert frame_uncertainty(probability, outlined(), SECTOR) == pytest.approx(1 - 80 / 110)


def test_an_empty_mask_is_as_uncertain_as_effusion_is_likely():
    probability = 0.3 * outlined()
    empty = np.zeros((20, 20), dtype=bool)
    assert frame_uncertainty(probability, empty, SECTOR) == frame_score(probability, SECTOR) > 0.29


def test_what_lies_outside_the_sector_does_not_count():
    sector = SECTOR.copy()
    sector[:, 10:] = False
    probability = np.where(sector, outlined(), 0.9)
    assert frame_uncertainty(probability, outlined(), sector) == 0


def test_doubt_raises_it():
    values = [frame_uncertainty(p * outlined(), outlined(), SECTOR) for p in (0.95, 0.7, 0.45)]
    assert values == sorted(values) and values[0] < values[-1]
