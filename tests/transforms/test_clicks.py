# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Clicks as maps, and where a simulated user clicks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pe_monai.transforms import CorrectErrord, RandCorrectiond, RandMistakes, add_click, error_centre, put_click


def test_a_click_is_one_where_it_was_set_and_falls_off():
    clicks = add_click(torch.zeros(20, 30), 5, 12, sigma=2)
    assert clicks[5, 12] == 1 and clicks.argmax() == 5 * 30 + 12
    assert clicks[5, 14] == pytest.approx(np.exp(-0.5))
    both = add_click(clicks, 15, 3, sigma=2)
    assert both[5, 12] == 1 and both[15, 3] == 1 and both.max() == 1


def test_error_centre_is_the_middle_of_the_largest_error():
    truth, mask = np.zeros((30, 40), bool), np.zeros((30, 40), bool)
    truth[2:7, 10:15] = True  # 25 px missing, middle at (4, 12)
    mask[20:23, 30:33] = True  # 9 px too many
    assert error_centre(mask, truth) == (4, 12, True)
    truth[:] = False
    assert error_centre(mask, truth) == (21, 31, False)
    assert error_centre(truth, truth) is None


def test_the_middle_stays_off_the_border_of_the_frame():
    truth = np.zeros((11, 11), bool)
    truth[:, :5] = True
    assert error_centre(np.zeros_like(truth), truth)[1] == 2


def test_correction_replaces_the_mask_and_adds_a_click():
    inputs, truth = torch.zeros(4, 16, 20), torch.zeros(1, 16, 20)
    truth[0, 4:9, 5:10] = 1
    logits = torch.full((1, 16, 20), -5.0)
    logits[0, 12:14, 1:3] = 5.0
    data = {"image": inputs, "pred": logits, "label": truth, "probability": 1.0}
    done = CorrectErrord("image")(data)["image"]
    assert torch.equal(done[3] > 0, logits[0] > 0)
    assert done[1, 6, 7] == 1 and done[2].max() == 0
    assert torch.equal(CorrectErrord("image")({**data, "probability": 0.0})["image"], inputs)


def test_put_click_leaves_its_input_as_it_was():
    inputs = torch.zeros(4, 16, 16)
    put_click(inputs, np.ones((16, 16), bool), (3, 3, False))
    assert not inputs.any()


def test_mistakes_are_repeatable_stay_in_the_sector_and_keep_thin_masks():
    mask, sector = torch.zeros(1, 64, 80), torch.zeros(1, 64, 80)
    mask[0, 30:33, 20:60] = 1
    sector[0, 10:60, 10:70] = 1
    mistakes = RandMistakes(part=0).set_random_state(3)
    results = [mistakes(mask, sector) for _ in range(20)]
    again = RandMistakes(part=0).set_random_state(3)
    assert all(torch.equal(result, again(mask, sector)) for result in results)
    assert all(not (result * (1 - sector)).any() for result in results)
    assert sum(bool(result.any()) for result in results) == 20
    assert any(not torch.equal(result, mask) for result in results)


def test_set_up_correction_gives_clicks_on_the_side_they_mark():
    image, truth, sector = torch.rand(1, 64, 80), torch.zeros(1, 64, 80), torch.ones(1, 64, 80)
    truth[0, 20:40, 20:50] = 1
    setup = RandCorrectiond("image", given=1, contradicted=0, jitter=0).set_random_state(0)
    seen = 0
    for _ in range(20):
        inputs = setup({"image": image, "label": truth, "sector": sector})["image"]
        assert inputs.shape == (4, 64, 80) and torch.equal(inputs[0], image[0])
        inside, outside = inputs[1] == 1, inputs[2] == 1
        assert (truth[0][inside] == 1).all() and (truth[0][outside] == 0).all()
        seen += bool(inside.any()) + bool(outside.any())
    assert seen > 10
    alone = RandCorrectiond("image", given=0, contradicted=0)({"image": image, "label": truth, "sector": sector})
    assert not alone["image"][1:].any()
