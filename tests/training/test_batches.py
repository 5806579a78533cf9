# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A batch augmented as a whole is what its frames would have become one by one."""

from __future__ import annotations

import pytest
import torch
from monai.transforms import Compose, RandFlipd

from pe_monai.training import AugmentBatch
from pe_monai.transforms import RandAcousticShadowd, RandGaind, RandSectorAffined, RandTimeGaind

RANDOM = {
    "affine": lambda: RandSectorAffined(["image", "label"], prob=0.5),
    "gain": lambda: RandGaind("image", prob=0.5),
    "time gain": lambda: RandTimeGaind("image", prob=0.5),
    "shadow": lambda: RandAcousticShadowd("image", prob=0.5),
}


@pytest.fixture
def batch():
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    frames = []
    for k in range(6):
        apex, reach = 26 + 3 * k, 38 + k
        sector = ((torch.atan2((x - apex).abs(), y - 2) < 0.6) & (torch.hypot(y - 2, x - apex) < reach))[None].float()
        label = (torch.hypot(y - 25, x - apex - 4) < 5)[None].float() * sector
        grey = torch.rand(1, 48, 64, generator=torch.Generator().manual_seed(k)) * sector
        frames.append({"image": grey, "label": label, "sector": sector})
    return {key: torch.stack([frame[key] for frame in frames]) for key in frames[0]}


@pytest.mark.parametrize("name", RANDOM)
def test_a_batch_is_its_frames_one_by_one(name, batch):
    whole = RANDOM[name]().set_random_state(3).batch(batch)
    single = RANDOM[name]().set_random_state(3)
    changed = 0
    for k in range(6):
        before = {key: value[k] for key, value in batch.items()}
        after = single(before)
        changed += not torch.equal(after["image"], before["image"])
        for key in batch:
            assert torch.allclose(whole[key][k], after[key], atol=1e-4), (k, key)
    assert 0 < changed < 6 or name == "affine"  # a frame that is only mirrored is changed, too


@pytest.mark.parametrize("kind", [RandGaind, RandTimeGaind, RandAcousticShadowd])
def test_all_keys_of_a_frame_share_its_draw(kind, batch):
    out = kind(["image", "twin"], prob=0.5).set_random_state(5).batch({**batch, "twin": batch["image"]})
    assert torch.equal(out["image"], out["twin"]) and not torch.equal(out["image"], batch["image"])


def test_what_was_given_stays_as_it_is(batch):
    before = {key: value.clone() for key, value in batch.items()}
    image, label = AugmentBatch(Compose([make() for make in RANDOM.values()]))(batch, torch.device("cpu"))
    assert all(torch.equal(batch[key], before[key]) for key in batch)
    assert image.shape == label.shape == batch["image"].shape
    assert not torch.equal(image, batch["image"])


def test_the_seed_of_the_chain_decides(batch):
    chain = Compose([make() for make in RANDOM.values()])
    prepare = AugmentBatch(chain)
    first, second, third = (
        prepare(batch, torch.device("cpu"))[0] for seed in (1, 1, 2) if chain.set_random_state(seed) is not None
    )
    assert torch.equal(first, second) and not torch.equal(first, third)


def test_a_transform_of_single_frames_is_refused():
    with pytest.raises(ValueError, match="RandFlipd"):
        AugmentBatch([RandFlipd("image")])
