# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One decoder for every kind of annotation: what counts is the green channel and one threshold."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from pe_monai.errors import FrameError
from pe_monai.transforms import DecodeMask, DecodeMaskd

VALUES = torch.tensor([[0, 1, 126, 127], [128, 200, 254, 255]], dtype=torch.uint8)
EXPECTED = torch.tensor([[[0, 0, 0, 0], [1, 1, 1, 1]]], dtype=torch.float32)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.int64])
def test_green_above_127_is_effusion_and_127_is_not(dtype):
    rgb = torch.stack([torch.zeros_like(VALUES), VALUES, torch.zeros_like(VALUES)]).to(dtype)
    mask = DecodeMask()(rgb)
    assert mask.dtype == torch.float32
    assert torch.equal(torch.as_tensor(mask), EXPECTED)


def test_red_blue_and_alpha_do_not_count():
    full = torch.full_like(VALUES, 255)
    assert DecodeMask()(torch.stack([full, VALUES, full])).equal(EXPECTED)
    assert DecodeMask()(torch.stack([full, VALUES, full, full])).equal(EXPECTED)
    assert DecodeMask()(torch.stack([full, 0 * full, full, full])).sum() == 0


def test_grey_annotations_follow_the_same_threshold():
    assert DecodeMask()(VALUES[None]).equal(EXPECTED)
    assert DecodeMask()(torch.tensor([[[0, 255]]], dtype=torch.uint8)).equal(torch.tensor([[[0.0, 1.0]]]))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bool])
def test_a_label_map_of_zeros_and_ones_is_taken_as_it_is(dtype):
    labels = torch.tensor([[[0, 1], [1, 0]]]).to(dtype)
    assert DecodeMask()(labels).equal(labels.float())
    assert DecodeMask()(torch.zeros_like(labels)).sum() == 0


def test_ones_in_colour_are_nearly_black_and_no_label_map():
    assert DecodeMask()(torch.ones(3, 2, 2, dtype=torch.uint8)).sum() == 0


def test_another_threshold():
    assert DecodeMask(199.5)(VALUES[None]).sum() == 3


@pytest.mark.parametrize("channels", [2, 5])
def test_other_channels_are_refused(channels):
    with pytest.raises(ValueError, match=rf"1, 3 or 4 channels.*\({channels}, 4, 4\)"):
        DecodeMask()(torch.zeros(channels, 4, 4))


@pytest.mark.parametrize("threshold", [-1, 255])
def test_a_threshold_without_meaning_is_named(threshold):
    with pytest.raises(ValueError, match="threshold"):
        DecodeMask(threshold)
    with pytest.raises(ValueError, match="threshold"):
        DecodeMaskd("label", threshold)


def test_dictionary_keeps_metadata_and_other_keys():
    label = MetaTensor(VALUES.fmod(2)[None], meta={"filename_or_obj": "mask.png"})
    out = DecodeMaskd("label")({"label": label, "image": 1})
    assert isinstance(out["label"], MetaTensor)
    assert out["label"].meta["filename_or_obj"] == "mask.png"
    assert out["image"] == 1
    assert torch.equal(label.as_tensor(), VALUES.fmod(2)[None])
    assert DecodeMaskd("label", allow_missing_keys=True)({"image": 1}) == {"image": 1}
    with pytest.raises(KeyError, match="label"):
        DecodeMaskd("label")({"image": 1})


def test_an_annotation_of_another_size_than_its_frame_is_refused_by_name():
    label = MetaTensor(VALUES.fmod(2)[None], meta={"filename_or_obj": "mask.png"})
    assert DecodeMaskd("label")({"label": label, "image": torch.zeros(3, 2, 4)})["label"].shape == (1, 2, 4)
    with pytest.raises(FrameError, match=r"mask.png: is 4 wide x 2 high, its frame is 2 wide x 4 high"):
        DecodeMaskd("label")({"label": label, "image": torch.zeros(1, 4, 2)})


@pytest.mark.parametrize(
    ("planes", "words"),
    [
        (torch.tensor([[[0, 255]], [[0, 0]], [[0, 0]]]), "colours"),
        (torch.tensor([[[0, 2]]]), "it is 0 and 2"),
        (torch.tensor([[[1, 2]]]), "it is 1 and 2"),
        (torch.tensor([[[2, 2]]]), "it is 2;"),
        (torch.tensor([[[60, 200]]]), "many shades"),
    ],
)
def test_an_annotation_that_is_no_mask_is_refused_by_name(planes, words):
    label = MetaTensor(planes.to(torch.uint8), meta={"filename_or_obj": "mask.png"})
    with pytest.raises(FrameError, match=f"mask.png: is no mask, .*{words}"):
        DecodeMaskd("label")({"label": label})


def test_grey_ones_saved_as_rgb_are_a_label_map():
    ones = torch.tensor([[0, 1]], dtype=torch.uint8).expand(3, 1, 2)
    assert DecodeMaskd("label")({"label": ones})["label"].equal(torch.tensor([[[0.0, 1.0]]]))
