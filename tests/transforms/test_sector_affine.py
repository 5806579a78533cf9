# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Image, label and sector move as one, and nothing is left outside the sector."""

from __future__ import annotations

import pytest
import torch

from pe_monai.transforms import RandSectorAffined
from pe_monai.transforms.sector_affine import sector_affine

STILL = {"rotate": (0, 0), "zoom": (1, 1), "stretch": (1, 1), "shift": (0, 0), "flip_prob": 0.0}


@pytest.fixture
def sample():
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    sector = ((torch.atan2((x - 45).abs(), y - 5) < 0.7) & (torch.hypot(y - 5, x - 45) < 55))[None].float()
    label = (torch.hypot((y - 40) / 1.5, x - 35) < 7)[None].float()
    return {"image": (0.2 + 0.8 * label) * sector, "label": label, "sector": sector}


def move(seed=0, **kwargs):
    return RandSectorAffined(["image", "label"], prob=1.0, **kwargs).set_random_state(seed)


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a)


def test_same_seed_same_result_other_seed_another(sample):
    assert same(move(3)(sample), move(3)(sample))
    assert not same(move(3)(sample), move(4)(sample))


def test_no_chance_no_change(sample):
    transform = RandSectorAffined(["image", "label"], prob=0.0, flip_prob=0.0).set_random_state(0)
    assert same(transform(sample), sample)


def test_the_identity_map_is_the_identity(sample):
    out = move(**STILL)(sample)
    assert torch.allclose(out["image"], sample["image"], atol=1e-4)
    assert torch.equal(out["sector"], sample["sector"])


def test_image_label_and_sector_stay_aligned(sample):
    before = {key: value.clone() for key, value in sample.items()}
    for seed in range(25):
        out = move(seed)(sample)
        inside = out["sector"] > 0
        assert set(out["sector"].unique().tolist()) == {0.0, 1.0}
        assert out["image"][~inside].abs().max() == out["label"][~inside].abs().max() == 0
        assert 0 <= out["image"].min() and out["image"].max() <= 1
        bright, marked = out["image"] > 0.6, out["label"] > 0.5
        assert 2 * (bright & marked).sum() / (bright.sum() + marked.sum()) > 0.97
        assert marked.sum() > 100
        deep = torch.nn.functional.avg_pool2d(out["sector"], 5, 1, 2) == 1
        assert torch.allclose(out["image"][deep], (0.2 + 0.8 * out["label"])[deep], atol=1e-4)
    assert same(sample, before)


def test_a_soft_label_stays_soft(sample):
    sample["label"] = 0.5 * sample["label"]
    out = move(rotate=(5, 5))(sample)["label"]
    assert 0.49 < out.max() <= 0.5 + 1e-5


def test_a_flip_mirrors_about_the_middle_of_the_sector_and_twice_is_none_at_all(sample):
    flip = RandSectorAffined(["image", "label"], prob=0.0, flip_prob=1.0)
    once = flip(sample)
    columns = torch.where(sample["sector"][0].any(0))[0]
    first, last = int(columns[0]), int(columns[-1])
    expected = sample["image"][:, :, first : last + 1].flip(2)
    assert torch.allclose(once["image"][:, :, first : last + 1], expected, atol=1e-4)
    twice = flip(once)
    assert torch.equal(twice["sector"], sample["sector"])
    for key in ("image", "label"):
        assert torch.allclose(twice[key], sample[key] * sample["sector"], atol=1e-4)


def test_a_zoom_enlarges_and_a_stretch_widens(sample):
    area = float(sample["label"].sum())
    zoomed = move(**{**STILL, "zoom": (1.2, 1.2)})(sample)["label"]
    assert float(zoomed.sum()) == pytest.approx(1.44 * area, rel=0.05)
    wide = move(**{**STILL, "stretch": (1.2, 1.2)})(sample)["label"]
    assert float(wide.sum()) == pytest.approx(area, rel=0.05)
    sides = [int((wide[0] > 0.5).any(dim).sum()) for dim in (0, 1)]
    before = [int((sample["label"][0] > 0.5).any(dim).sum()) for dim in (0, 1)]
    assert sides[0] > before[0] and sides[1] < before[1]


def test_the_probability_is_kept(sample):
    transform = RandSectorAffined(["image", "label"], prob=0.5, flip_prob=0.0).set_random_state(0)
    assert 20 < sum(transform(sample)["image"] is sample["image"] for _ in range(80)) < 60
    transform = RandSectorAffined(["image", "label"], prob=0.0, flip_prob=0.5).set_random_state(0)
    assert 20 < sum(transform(sample)["image"] is sample["image"] for _ in range(80)) < 60


def test_the_sector_may_be_a_key_too_and_keys_may_be_missing(sample):
    listed = RandSectorAffined(["image", "label", "sector"], prob=1.0).set_random_state(2)(sample)
    assert same(listed, move(2)(sample))
    lone = RandSectorAffined(["image", "absent"], prob=1.0, allow_missing_keys=True)
    assert set(lone({"image": sample["image"], "sector": sample["sector"]})) == {"image", "sector"}


def test_the_map_goes_from_the_result_to_its_source():
    image = torch.zeros(1, 1, 20, 30)
    image[..., 5, 8] = 1
    moved = sector_affine(
        image, torch.tensor([[[1.0, 0, 3], [0, 1.0, -2]]]), torch.tensor([[9.5, 14.5]]), mode="nearest"
    )
    assert torch.nonzero(moved).tolist() == [[0, 0, 7, 5]]
    turned = sector_affine(
        image, torch.tensor([[[0, 1.0, 0], [-1.0, 0, 0]]]), torch.tensor([[10.0, 10.0]]), mode="nearest"
    )
    assert torch.nonzero(turned).tolist() == [[0, 0, 8, 15]]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("flip_prob", 1.5),
        ("rotate", (-200, 0)),
        ("rotate", 15),
        ("zoom", (0, 1)),
        ("stretch", (1.2, 0.9)),
        ("shift", (-0.1, 2)),
    ],
)
def test_bad_arguments_are_named(argument, value):
    with pytest.raises(ValueError, match=argument):
        RandSectorAffined("image", **{argument: value})
