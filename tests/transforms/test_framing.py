# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Framing keeps the aspect, centres the sector, and comes back to the frame it started from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Transposed

from pe_monai.transforms import FrameSector, FrameSectord
from pe_monai.transforms.framing import sector_box

SIZE = (64, 96)


def box_sector(height=120, width=200, top=20, bottom=100, left=30, right=170) -> torch.Tensor:
    sector = torch.zeros(1, height, width)
    sector[:, top:bottom, left:right] = 1
    return sector


def disc(height, width, row, column, radius) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return (torch.hypot(y - row, x - column) <= radius).float()[None]


def extent(mask: torch.Tensor) -> tuple[int, int]:
    return tuple(int((torch.as_tensor(mask)[0] > 0.5).any(dim).sum()) for dim in (1, 0))


def dice(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = torch.as_tensor(a) > 0.5, torch.as_tensor(b) > 0.5
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_one_number_for_a_size_is_refused_by_its_name():
    with pytest.raises(ValueError, match=r"spatial_size must be \(height, width\)"):
        FrameSectord("image", 128)


@pytest.mark.parametrize("sector", [box_sector(), box_sector(left=90, right=110), box_sector(top=50, bottom=60)])
def test_the_box_has_the_aspect_asked_for_and_the_sector_in_its_middle(sector):
    top, left, height, width = sector_box(sector, SIZE, margin=3)
    assert width / height == pytest.approx(96 / 64, abs=0.03)
    rows, columns = torch.where(sector[0].any(1))[0], torch.where(sector[0].any(0))[0]
    assert top + height / 2 == pytest.approx(float(rows[0] + rows[-1] + 1) / 2, abs=0.5)
    assert left + width / 2 == pytest.approx(float(columns[0] + columns[-1] + 1) / 2, abs=0.5)
    tight = (rows[0] - top, columns[0] - left)
    assert min(tight) == 3


def test_a_circle_stays_a_circle_and_the_sector_fills_the_frame():
    sector = box_sector()
    framed = FrameSector(SIZE)(disc(120, 200, 60, 100, 25), sector)
    height, width = extent(framed)
    assert abs(height - width) <= 1
    rows, columns = extent(FrameSector(SIZE)(sector, sector))
    assert max(rows / SIZE[0], columns / SIZE[1]) > 0.9


@pytest.mark.parametrize("mode", ["bilinear", "nearest-exact"])
def test_what_lies_beyond_the_frame_is_zero(mode):
    sector = torch.ones(1, 120, 40)
    framed = FrameSector(SIZE, mode=mode)(torch.ones(2, 120, 40), sector)
    assert framed.shape == (2, *SIZE)
    assert framed.dtype == torch.float32
    assert framed[:, :, :30].abs().max() == framed[:, :, -30:].abs().max() == 0
    assert framed[:, 32, 48].min() == pytest.approx(1)


def test_shrinking_turns_a_mask_into_shares():
    sector = torch.ones(1, 640, 960)
    stripes = torch.zeros(1, 640, 960)
    stripes[:, :, ::10] = 1
    framed = FrameSector(SIZE, margin=0)(stripes, sector)
    assert framed[0, 8:-8, 8:-8].sub(0.1).abs().max() < 0.01


@pytest.mark.parametrize("spatial_size", [SIZE, (128, 192), (200, 120)])
@pytest.mark.parametrize("sector", [box_sector(), box_sector(top=0, bottom=120, left=0, right=60)])
def test_inverse_comes_back_to_the_frame(spatial_size, sector):
    frame = FrameSector(spatial_size)
    y, x = torch.meshgrid(torch.arange(120) / 20, torch.arange(200) / 25, indexing="ij")
    smooth = (0.5 + 0.5 * torch.sin(y) * torch.cos(x))[None] * sector
    back = frame.inverse(frame(smooth, sector))
    inside = torch.zeros_like(sector)
    rows, columns = torch.where(sector[0].any(1))[0], torch.where(sector[0].any(0))[0]
    inside[:, rows[0] + 4 : rows[-1] - 3, columns[0] + 4 : columns[-1] - 3] = 1
    assert back.shape == smooth.shape
    assert ((back - smooth) * inside).abs().max() < 0.03
    mask = disc(120, 200, 60, 40, 18) * sector
    assert dice(frame.inverse(frame(mask, sector)), mask) > 0.97


def test_inverse_is_zero_outside_the_box():
    sector = box_sector()
    frame = FrameSector(SIZE)
    back = frame.inverse(frame(torch.ones(1, 120, 200), sector))
    top, left, height, width = sector_box(sector, SIZE)
    outside = torch.ones(1, 120, 200)
    outside[:, max(top, 0) : top + height, max(left, 0) : left + width] = 0
    assert outside.sum() > 0
    assert (back * outside).abs().max() == 0


@pytest.mark.parametrize("nearest", [False, True])
def test_a_pipeline_goes_from_the_file_s_axes_to_the_network_and_back(nearest):
    """An asymmetric frame, x first as readers deliver it, through Transposed and framing, and all of it inverted."""
    sector = box_sector(top=30, bottom=115, left=10, right=120)
    mask = disc(120, 200, 95, 30, 12)
    mask[:, 40:50, 100:115] = 1
    stored = {
        key: MetaTensor(value.transpose(1, 2).contiguous(), meta={"filename_or_obj": "frame.png"})
        for key, value in {"image": mask, "label": mask, "sector": sector}.items()
    }
    pipeline = Compose(
        [
            Transposed(["image", "label", "sector"], (0, 2, 1)),
            FrameSectord(["image", "label", "sector"], SIZE, mode=["bilinear", "bilinear", "nearest-exact"]),
        ]
    )
    out = pipeline(stored)
    assert {key: tuple(value.shape) for key, value in out.items()} == dict.fromkeys(stored, (1, *SIZE))
    assert torch.equal(out["image"], out["label"])
    assert set(np.unique(out["sector"])) == {0, 1}
    out["pred"] = MetaTensor(out["image"].as_tensor().clone())
    inverse = Invertd(["pred", "label"], pipeline, orig_keys=["image", "label"], nearest_interp=nearest)
    back = inverse(out)
    for key in ("pred", "label"):
        assert back[key].shape == (1, 200, 120)
        assert dice(back[key], mask.transpose(1, 2)) > (0.95 if nearest else 0.97)
    assert back["label"].applied_operations == []


def test_the_frame_given_is_left_alone():
    sector = box_sector()
    image = MetaTensor(torch.rand(1, 120, 200), meta={"filename_or_obj": "a.png"})
    before = image.clone()
    framed = FrameSector(SIZE)(image, sector)
    assert torch.equal(image, before)
    assert image.applied_operations == []
    assert framed.meta["filename_or_obj"] == "a.png"


def test_different_sizes_name_the_key_and_both_sizes():
    sample = {"image": torch.rand(1, 120, 200), "label": torch.rand(1, 60, 200), "sector": box_sector()}
    with pytest.raises(ValueError, match="label is 200 wide x 60 high.*200 wide x 120 high"):
        FrameSectord(["image", "label"], SIZE)(sample)


def test_an_empty_sector_is_an_error():
    with pytest.raises(ValueError, match="sector is empty"):
        FrameSector(SIZE)(torch.rand(1, 40, 40), torch.zeros(1, 40, 40))


@pytest.mark.parametrize(
    ("argument", "kwargs"),
    [
        ("spatial_size", {"spatial_size": (64,)}),
        ("spatial_size", {"spatial_size": (64, 96, 1)}),
        ("spatial_size", {"spatial_size": (8, 96)}),
        ("mode", {"spatial_size": SIZE, "mode": "bicubic"}),
        ("margin", {"spatial_size": SIZE, "margin": -1}),
    ],
)
def test_bad_arguments_are_named(argument, kwargs):
    with pytest.raises(ValueError, match=argument):
        FrameSector(**kwargs)
    with pytest.raises(ValueError, match=argument):
        FrameSectord(["image", "label"], **kwargs)


def test_a_bad_mode_of_one_key_is_named():
    with pytest.raises(ValueError, match="mode.*cubic"):
        FrameSectord(["image", "label"], SIZE, mode=["bilinear", "cubic"])
