# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Intensity augmentation: reproducible, within [0, 1], and never a pixel outside the sector."""

from __future__ import annotations

import pickle

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from pe_monai.transforms import (
    RandAcousticShadow,
    RandAcousticShadowd,
    RandGain,
    RandGaind,
    RandTimeGain,
    RandTimeGaind,
)
from pe_monai.transforms.augment import polar_grid, probe_position

PAIRS = [(RandGain, RandGaind), (RandTimeGain, RandTimeGaind), (RandAcousticShadow, RandAcousticShadowd)]
ARRAYS = [array for array, _ in PAIRS]


@pytest.fixture
def sector():
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    return ((torch.atan2((x - 40).abs(), y - 3) < 0.7) & (torch.hypot(y - 3, x - 40) < 58))[None].float()


@pytest.fixture
def image(sector):
    return torch.rand(1, 64, 96, generator=torch.Generator().manual_seed(1)) * sector


@pytest.mark.parametrize("kind", ARRAYS)
def test_same_seed_same_result_other_seed_another(kind, image, sector):
    results = [kind(prob=1.0).set_random_state(seed)(image, sector) for seed in (3, 3, 4)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    again = kind(prob=1.0).set_random_state(3)
    assert not torch.equal(again(image, sector), again(image, sector))


@pytest.mark.parametrize("kind", ARRAYS)
def test_probability_zero_is_the_identity_and_one_always_acts(kind, image, sector):
    assert torch.equal(kind(prob=0.0).set_random_state(0)(image, sector), image)
    always, half = kind(prob=1.0).set_random_state(0), kind(prob=0.5).set_random_state(0)
    assert not any(torch.equal(always(image, sector), image) for _ in range(20))
    assert 20 < sum(torch.equal(half(image, sector), image) for _ in range(80)) < 60


@pytest.mark.parametrize("kind", ARRAYS)
def test_outside_stays_exactly_zero_and_inside_within_the_range(kind, image, sector):
    transform = kind(prob=1.0).set_random_state(0)
    before = image.clone()
    for _ in range(20):
        out = transform(image, sector)
        assert out.shape == image.shape and out.dtype == torch.float32
        assert out[sector == 0].abs().max() == 0
        assert 0 <= out.min() and out.max() <= 1
    assert torch.equal(image, before)


@pytest.mark.parametrize("kind", ARRAYS)
def test_an_empty_sector_is_no_error(kind):
    empty = torch.zeros(1, 32, 40)
    assert kind(prob=1.0).set_random_state(0)(empty, empty).abs().max() == 0


@pytest.mark.parametrize(("array", "dictionary"), PAIRS)
def test_dictionary_equals_array_with_one_draw_for_all_keys(array, dictionary, image, sector):
    sample = {"image": MetaTensor(image, meta={"filename_or_obj": "a.png"}), "twin": image, "sector": sector}
    out = dictionary(["image", "twin"], prob=1.0).set_random_state(5)(sample)
    assert torch.equal(torch.as_tensor(out["image"]), out["twin"])
    assert torch.equal(out["twin"], array(prob=1.0).set_random_state(5)(image, sector))
    assert out["image"].meta["filename_or_obj"] == "a.png"
    assert torch.equal(out["sector"], sector)
    assert torch.equal(sample["twin"], image)
    lone = dictionary(["image", "absent"], prob=1.0, allow_missing_keys=True)({"image": image, "sector": sector})
    assert set(lone) == {"image", "sector"}


def test_a_composed_and_pickled_chain_repeats_itself(image, sector):
    chain = Compose([dictionary("image", prob=0.5) for _, dictionary in PAIRS])
    sample = {"image": image, "sector": sector}
    twin = pickle.loads(pickle.dumps(chain))
    for seed in range(6):
        first = chain.set_random_state(seed)(sample)["image"]
        assert torch.equal(twin.set_random_state(seed)(sample)["image"], first)


def test_gain_follows_its_formula(image, sector):
    out = RandGain(prob=1.0, gain=(1.2, 1.2), gamma=(0.8, 0.8), offset=(-0.1, -0.1))(image, sector)
    assert torch.allclose(out, (1.2 * image**0.8 - 0.1).clamp(0, 1) * sector)


def test_time_gain_changes_with_depth_alone_and_smoothly(image, sector):
    out = RandTimeGain(prob=1.0, strength=0.4).set_random_state(0)(0.4 * sector, sector)
    factor = out[0] / 0.4
    inside = sector[0] > 0
    assert 0.67 <= factor[inside].min() and factor[inside].max() <= 1.5
    depth = polar_grid(sector)[0][0]
    for near in range(5, 50, 5):
        ring = factor[inside & (depth >= near) & (depth < near + 1)]
        assert ring.max() - ring.min() < 0.1
    assert torch.equal(RandTimeGain(prob=1.0, strength=0.0)(image, sector), image)


def test_a_shadow_darkens_a_wedge_and_brightens_nothing(sector):
    cast = RandAcousticShadow(prob=1.0, width=(0.05, 0.05), darkness=(0.9, 0.9), start=(0.0, 0.0))
    for seed in range(10):
        out = cast.set_random_state(seed)(0.5 * sector, sector)
        assert (out <= 0.5 * sector).all()
        deep = (polar_grid(sector)[0] > 40) & (sector > 0)
        assert out[deep].min() < 0.1
        assert (out[deep] > 0.49).float().mean() > 0.5


def test_the_probe_is_the_middle_of_the_top_edge(sector):
    assert probe_position(sector) == pytest.approx((4.0, 40.0), abs=1)
    depth, angle = polar_grid(sector)
    row, column = (int(v) for v in probe_position(sector))
    assert depth[0, row, column] == 0
    assert depth[0, row + 10, column] == pytest.approx(10)
    assert angle[0, row + 10, column] == 0
    assert angle[0, row + 10, column + 10] == pytest.approx(torch.pi / 4)
    assert angle[0, row + 10, column - 10] == pytest.approx(-torch.pi / 4)


@pytest.mark.parametrize(
    ("array", "dictionary", "argument", "value"),
    [
        (RandGain, RandGaind, "gain", (0, 1)),
        (RandGain, RandGaind, "gain", (1.2, 0.8)),
        (RandGain, RandGaind, "gamma", (-1, 1)),
        (RandGain, RandGaind, "gamma", 1.0),
        (RandGain, RandGaind, "offset", (-2, 0)),
        (RandGain, RandGaind, "offset", (0, 2)),
        (RandTimeGain, RandTimeGaind, "strength", -1),
        (RandTimeGain, RandTimeGaind, "sliders", 1),
        (RandAcousticShadow, RandAcousticShadowd, "width", (0, 0.1)),
        (RandAcousticShadow, RandAcousticShadowd, "darkness", (0.5, 1.1)),
        (RandAcousticShadow, RandAcousticShadowd, "darkness", (-0.5, 0.5)),
        (RandAcousticShadow, RandAcousticShadowd, "start", ("a", 1)),
        (RandAcousticShadow, RandAcousticShadowd, "start", (0, 0.5, 1)),
        (RandAcousticShadow, RandAcousticShadowd, "start", (0, float("nan"))),
    ],
)
def test_bad_arguments_are_named(array, dictionary, argument, value):
    with pytest.raises(ValueError, match=argument):
        array(**{argument: value})
    with pytest.raises(ValueError, match=argument):
        dictionary("image", **{argument: value})
