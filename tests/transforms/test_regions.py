# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Hand-made maps of 40 x 50 pixels in a sector of 1,000: what is kept, filled and dropped is counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from pe_monai.transforms import EffusionRegions, EffusionRegionsd, dice_threshold

SECTOR = torch.zeros(1, 40, 50)
SECTOR[:, 10:30] = 1


def probability(*boxes, value: float = 0.9) -> torch.Tensor:
    """Zeros with boxes (top, bottom, left, right) of `value`."""
    map_ = torch.zeros(1, 40, 50)
    for top, bottom, left, right in boxes:
        map_[:, top:bottom, left:right] = value
    return map_


def test_the_threshold_is_strict():
    decide = EffusionRegions(threshold=0.5, min_share=0)
    assert decide(probability((12, 14, 5, 7), value=0.5), SECTOR).sum() == 0
    assert decide(probability((12, 14, 5, 7), value=0.5001), SECTOR).sum() == 4
    assert EffusionRegions(threshold=0.95, min_share=0)(probability((12, 14, 5, 7)), SECTOR).sum() == 0


def test_regions_smaller_than_the_share_of_the_sector_are_dropped():
    map_ = probability((12, 14, 5, 10), (20, 23, 5, 8), (20, 22, 40, 45))
    assert EffusionRegions(min_share=0.01)(map_, SECTOR).equal(
        probability((12, 14, 5, 10), (20, 22, 40, 45), value=1.0)
    )
    assert EffusionRegions(min_share=0.0101)(map_, SECTOR).sum() == 0
    assert EffusionRegions(min_share=0.0)(map_, SECTOR).sum() == 29


def test_the_share_does_not_depend_on_the_size_of_the_frame():
    map_ = probability((12, 14, 5, 10), (20, 22, 5, 9))
    large = [torch.kron(value, torch.ones(1, 3, 3)) for value in (map_, SECTOR)]
    small = EffusionRegions(min_share=0.01)(map_, SECTOR)
    assert EffusionRegions(min_share=0.01)(*large).equal(torch.kron(small, torch.ones(1, 3, 3)))


def test_pixels_that_touch_at_a_corner_are_one_region():
    map_ = probability((12, 14, 5, 8), (14, 16, 8, 11))
    assert EffusionRegions(min_share=0.012)(map_, SECTOR).sum() == 12


def test_small_holes_are_filled():
    map_ = probability((12, 20, 5, 15))
    map_[:, 15:17, 8:11] = 0
    assert EffusionRegions()(map_, SECTOR).equal(probability((12, 20, 5, 15), value=1.0))
    assert EffusionRegions(fill_holes=False)(map_, SECTOR).sum() == 80 - 6


def test_an_effusion_around_the_heart_does_not_swallow_it():
    ring = probability((11, 29, 5, 35))
    ring[:, 13:27, 7:33] = 0
    assert EffusionRegions()(ring, SECTOR).equal((ring > 0).float())


def test_nothing_is_marked_outside_the_sector():
    map_ = probability((0, 40, 5, 10))
    assert EffusionRegions()(map_, SECTOR).equal(probability((10, 30, 5, 10), value=1.0))
    pierced = SECTOR.clone()
    pierced[:, 15:17, 6:8] = 0
    assert (EffusionRegions()(map_, pierced) * (1 - pierced)).sum() == 0


@pytest.mark.parametrize("map_", [torch.zeros(1, 40, 50), torch.full((1, 40, 50), torch.nan)])
def test_an_empty_map_stays_empty(map_):
    mask = EffusionRegions()(map_, SECTOR)
    assert mask.shape == (1, 40, 50) and mask.dtype == torch.float32 and mask.sum() == 0
    assert EffusionRegions()(probability((12, 20, 5, 15)), torch.zeros(1, 40, 50)).sum() == 0


def test_dictionary_keeps_metadata_and_leaves_its_input_alone():
    map_ = MetaTensor(probability((12, 20, 5, 15), (25, 26, 5, 6)), meta={"filename_or_obj": "a.png"})
    sample = {"pred": map_, "sector": MetaTensor(SECTOR)}
    out = EffusionRegionsd("pred", min_share=0.01)(sample)
    assert isinstance(out["pred"], MetaTensor)
    assert out["pred"].meta["filename_or_obj"] == "a.png"
    assert out["pred"].dtype == torch.float32
    assert torch.as_tensor(out["pred"]).equal(probability((12, 20, 5, 15), value=1.0))
    assert map_.max() == pytest.approx(0.9)
    wide = EffusionRegionsd("pred", min_share=0, threshold=0.91)(sample)["pred"]
    assert wide.sum() == 0


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("threshold", 0),
        ("threshold", 1),
        ("threshold", "best"),
        ("min_share", -0.1),
        ("min_share", 1),
        ("min_score", 1.1),
    ],
)
def test_bad_arguments_are_named(argument, value):
    with pytest.raises(ValueError, match=argument):
        EffusionRegions(**{argument: value})
    with pytest.raises(ValueError, match=argument):
        EffusionRegionsd("pred", **{argument: value})


def test_the_threshold_promises_the_highest_dice():
    """Against every mask that a threshold can give, counted out."""
    for values in np.random.default_rng(0).beta(0.3, 0.9, (20, 60)).astype(np.float32):
        masks = [values >= least for least in values]
        promised = [2 * values[mask].sum() / (mask.sum() + values.sum()) for mask in masks]
        best = masks[int(np.argmax(promised))]
        assert np.array_equal(values > dice_threshold(values), best)
        assert 2 * dice_threshold(values) == pytest.approx(max(promised), rel=1e-5)


def test_clear_pixels_have_a_threshold_of_a_half_and_none_has_none():
    assert dice_threshold(np.repeat([0.0, 1.0], [80, 20])) == 0.5
    assert dice_threshold(np.array([])) == 0.0


def test_a_faint_effusion_is_outlined_by_its_own_threshold():
    faint = probability((12, 17, 5, 15), value=0.4)
    assert EffusionRegions(threshold=0.5)(faint, SECTOR).sum() == 0
    assert EffusionRegions(threshold="dice")(faint, SECTOR).equal(probability((12, 17, 5, 15), value=1.0))
    assert EffusionRegions(threshold="dice", min_score=0.41)(faint, SECTOR).sum() == 0
    assert EffusionRegions(threshold="dice")(probability((0, 9, 5, 15)), SECTOR).sum() == 0, "outside the sector"


def test_a_threshold_that_is_given_asks_for_no_score():
    small = probability((12, 14, 5, 10), value=0.2)
    assert EffusionRegions(threshold=0.1)(small, SECTOR).sum() == 10
    assert EffusionRegions(threshold="dice", min_share=0)(small, SECTOR).sum() == 0
