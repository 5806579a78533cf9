# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The sector is the same whatever surrounds it; the isolated frame is grey, zero outside, and keeps its metadata."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Transposed
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from pe_monai.transforms.sector import IsolateSector, IsolateSectord, SectorNotFoundError, find_sector
from pe_monai.transforms.sector_tissue import _main_tissue

GREEN = (0, 255, 0)


def _wedge(shape, apex, half_angle, radius, inner=0.0):
    """Return bool (H, W): the points between two radii around the apex (y, x), to both sides of the vertical."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    y, x = y - apex[0], x - apex[1]
    distance = np.hypot(y, x)
    return (np.abs(np.arctan2(x, y)) <= np.deg2rad(half_angle)) & (distance <= radius) & (distance >= inner)


def _box(shape, top, bottom, left, right):
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


SHAPES = {
    "phased array": _wedge((224, 320), (30.0, 160.0), 44, 175),
    "off centre": _wedge((224, 320), (12.0, 140.0), 38, 195),
    "convex probe": _wedge((224, 320), (-60.0, 160.0), 33, 270, inner=90),
    "linear probe": _box((224, 320), 20, 205, 70, 250),
    "large": _wedge((768, 1024), (90.0, 500.0), 42, 600),
    "full HD": _wedge((1080, 1920), (70.0, 960.0), 45, 900),
}


def _speckle(mask, seed=0):
    """Return uint8 (H, W, 3): grey speckle in ``mask``, with a black pool inside, darker towards the right."""
    rng = np.random.default_rng(seed)
    height, width = mask.shape
    scale = max(1.0, height / 224)
    grain = ndimage.gaussian_filter(rng.rayleigh(1.0, mask.shape), scale)
    grey = np.clip(70 * grain / grain.mean() * np.linspace(1.2, 0.3, width), 0, 255)
    y, x = np.mgrid[:height, :width]
    centre = [int(np.median(axis)) for axis in np.nonzero(mask)]
    grey[np.hypot(y - centre[0], x - centre[1]) < 0.13 * height] = 0
    grey[~mask] = 0
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)


def _paint(frame, mask, colour=GREEN):
    painted = frame.copy()
    painted[~mask] = colour
    return painted


def _annotate(frame, mask, seed=0):
    """Return a copy of ``frame`` with text, a ruler, a trace and a logo, all outside ``mask``."""
    height, width = mask.shape
    scale = max(1, round(height / 224))
    rng = np.random.default_rng(seed)
    layer = Image.new("RGB", (width // scale, height // scale))
    draw = ImageDraw.Draw(layer)
    w, h = layer.size
    for text, fill in [("TIS0.7 MI 1.3", "white"), ("HR 78", "lime"), ("S5-1/Adult", "cyan"), ("15 cm", "yellow")]:
        draw.text((int(rng.integers(0, w - 50)), int(rng.integers(0, h - 10))), text, fill=fill)
    for row in range(5, h, 12):
        draw.line([(w - 6, row), (w - 2, row)], fill="white")
    draw.line([(x, h - 6 + (x % 30 == 0) * 4) for x in range(w)], fill="yellow")
    draw.rectangle([3, 30, 9, 100], fill=(128, 128, 128))
    draw.ellipse([3, 3, 22, 22], fill=(230, 230, 230))
    marks = np.zeros_like(frame)
    drawn = np.asarray(layer.resize((w * scale, h * scale), Image.Resampling.NEAREST))
    marks[: drawn.shape[0], : drawn.shape[1]] = drawn
    return np.where((marks.max(axis=-1) > 0)[..., None] & ~mask[..., None], marks, frame)


def _iou(a, b):
    return (a & b).sum() / (a | b).sum()


def _box_of(mask):
    rows, columns = np.nonzero(mask)
    return np.array([rows.min(), rows.max(), columns.min(), columns.max()])


@pytest.mark.parametrize("name", SHAPES)
def test_finds_the_drawn_sector_on_any_background(name):
    mask = SHAPES[name]
    frame = _speckle(mask)
    black, green = find_sector(frame), find_sector(_paint(frame, mask))
    assert _iou(black, mask) >= 0.97
    assert np.array_equal(black, green)
    annotated = find_sector(_annotate(frame, mask))
    assert _iou(annotated, mask) >= 0.97
    assert np.abs(_box_of(annotated) - _box_of(black)).max() <= max(2, mask.shape[0] // 150)


def test_a_rim_blended_with_the_key_changes_nothing():
    mask = SHAPES["phased array"]
    frame = _speckle(mask)
    blended = _paint(frame, mask)
    rim = ndimage.binary_dilation(mask) & ~mask
    blended[rim] = (4, 124, 4)
    assert _iou(find_sector(blended), mask) >= 0.97
    assert np.abs(_box_of(find_sector(blended)) - _box_of(find_sector(frame))).max() <= 1


def test_a_dark_side_is_completed_from_the_other():
    mask = SHAPES["phased array"]
    frame = _speckle(mask)
    frame[60:, 215:] = 0
    assert _iou(find_sector(frame), mask) >= 0.95


def test_an_anechoic_band_does_not_cut_off_the_near_field():
    mask = SHAPES["phased array"]
    frame = _speckle(mask)
    y, x = np.mgrid[:224, :320]
    distance = np.hypot(y - 30, x - 160)
    frame[(distance > 24) & (distance < 50)] = 0
    assert _iou(find_sector(frame), mask) >= 0.97
    frame[(np.abs(x - 160) > 40) & (distance > 24)] = 0
    found = find_sector(frame)
    assert (mask & found)[distance < 60].sum() >= 0.97 * mask[distance < 60].sum()


def test_a_logo_above_the_sector_is_not_its_near_field():
    mask = SHAPES["linear probe"]
    shifted = np.roll(mask, 15, axis=0)
    frame = _speckle(shifted)
    frame[6:20, 145:175] = 200
    assert _iou(find_sector(frame), shifted) >= 0.97


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_dark_rim_does_not_pull_the_side_in(side):
    mask = SHAPES["phased array"]
    frame = _speckle(mask)
    y, x = np.mgrid[:224, :320]
    # A dark rim with a ragged inner border, which on average leans less than the side of the sector does.
    ragged = np.random.default_rng(0).uniform(16, 36, (224, 1))
    angle = np.rad2deg(np.arctan2(x - 160, y - 30))
    dark = (angle > ragged) & (y > 45)
    frame[dark] = 0
    if side == "left":
        frame, mask = frame[:, ::-1].copy(), mask[:, ::-1]
    found = find_sector(frame)
    assert (found & mask).sum() >= 0.97 * mask.sum()
    assert _iou(found, mask) >= 0.95


def test_a_dark_far_field_is_kept():
    mask = SHAPES["phased array"]
    frame = _speckle(mask)
    y, x = np.mgrid[:224, :320]
    distance = np.hypot(y - 30, x - 160)
    frame[(distance > 130) & (np.abs(x - 130) > 25)] = 0
    assert _iou(find_sector(frame), mask) >= 0.95


@pytest.mark.parametrize("radius", [320, 370, 420])
def test_a_small_sector_of_dark_pools_beside_a_ruler(radius):
    mask = _wedge((768, 1024), (120.0, 480.0), 44, radius)
    frame = _speckle(mask)
    y, x = np.mgrid[:768, :1024]
    angle, distance = np.arctan2(x - 480, y - 120), np.hypot(y - 120, x - 480)
    frame[(np.abs(np.rad2deg(angle) % 22 - 11) < 6) & (0.2 * radius < distance) & (distance < 0.9 * radius)] = 0
    frame[10:760:12, 1018:1023] = 200
    assert _iou(find_sector(frame), mask) >= 0.95


def test_parts_of_even_tissue_belong_together():
    mask = _wedge((768, 1024), (120.0, 480.0), 44, 360)
    frame = _speckle(mask)
    y, x = np.mgrid[:768, :1024]
    angle, distance = np.arctan2(x - 480, y - 120), np.hypot(y - 120, x - 480)
    frame[(np.abs(np.rad2deg(angle)) > 15) & (distance > 0.4 * 360)] = 0
    assert _iou(find_sector(frame), mask) >= 0.95


def test_a_ruler_at_the_edge_is_no_part_of_a_small_tissue():
    y, x = np.mgrid[:768, :1024]
    mask = np.hypot(y - 300, x - 400) < 105
    frame = _speckle(np.ones_like(mask))[..., 0]
    frame[~mask] = 0
    frame[10:760:12, 1018:1023] = 200
    region, _, _ = _main_tissue(frame, 768 / 224)
    assert region[mask].mean() > 0.95 and not region[:, 900:].any()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("paper", [0, 255])
@pytest.mark.parametrize(("size", "columns"), [(12, 1), (16, 2), (20, 3), (24, 1)])
def test_a_page_of_text_shows_no_sector(size, columns, paper, compressed):
    page = Image.new("RGB", (800, 600), (paper,) * 3)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size)
    words = "LVIDd 4.52 cm IVSd 0.93 Mitral valve peak gradient 12.4 mmHg TAPSE 21 mm EF 62 %".split()
    rng = np.random.default_rng(size)
    for top in range(20, 600 - size, round(1.5 * size)):
        for left in range(20, 780, 780 // columns):
            line = " ".join(rng.choice(words, 24 // columns))
            draw.text((left, top), line[: 60 // columns], font=font, fill=(255 - paper,) * 3)
    frame = np.asarray(page)
    with pytest.raises(SectorNotFoundError, match="no ultrasound sector"):
        find_sector(_compressed(frame) if compressed else frame)


def _compressed(frame):
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=75)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize("colour", [(16, 16, 16), (45, 45, 45), (20, 30, 70), (255, 255, 255)])
@pytest.mark.parametrize("name", ["phased array", "large", "full HD"])
def test_an_even_background_is_no_tissue(name, colour):
    mask = SHAPES[name]
    frame = _paint(_speckle(mask), mask, colour)
    assert _iou(find_sector(frame), mask) >= 0.95
    least = 0.85 if name == "phased array" else 0.93  # blocks of a small frame ring far into its sector
    assert _iou(find_sector(_compressed(frame)), mask) >= least


@pytest.mark.parametrize("bottom", [40, 70], ids=["even", "shaded"])
def test_panels_with_text_are_no_tissue(bottom):
    mask = SHAPES["large"]
    screen = Image.fromarray(_speckle(mask))
    shades = np.linspace(40, bottom, 768).astype(np.uint8)[:, None].repeat(95, 1)
    screen.paste(Image.fromarray(shades).convert("RGB"), (0, 0))
    screen.paste((40, 40, 40), (0, 0, 1024, 40))
    draw = ImageDraw.Draw(screen)
    for row in range(60, 760, 30):
        draw.text((10, row), "Gain 52", fill="white")
    draw.text((300, 12), "General Hospital 2026-01-01", fill="white")
    frame = np.asarray(screen)
    assert _iou(find_sector(frame), mask) >= 0.97
    assert _iou(find_sector(_compressed(frame)), mask) >= 0.95


def test_background_noise_and_compression_are_not_tissue():
    mask = SHAPES["phased array"]
    frame = _speckle(mask)
    noise = np.random.default_rng(1).integers(0, 4, frame.shape[:2]).astype(np.uint8)
    frame[~mask] = noise[~mask][:, None]
    assert _iou(find_sector(frame), mask) >= 0.95


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((224, 320, 3), np.uint8),
        np.full((224, 320), 255, np.uint8),
        np.broadcast_to(np.array(GREEN, np.uint8), (224, 320, 3)),
        _annotate(np.zeros((224, 320, 3), np.uint8), np.zeros((224, 320), bool)),
    ],
    ids=["black", "white", "green", "text only"],
)
def test_no_sector_is_an_error(frame):
    with pytest.raises(SectorNotFoundError, match="no ultrasound sector.*B-mode"):
        find_sector(frame)


@pytest.mark.parametrize("frame", [np.zeros((224, 320)), np.zeros((3, 224, 320), np.uint8)])
def test_wrong_type_or_layout_is_named(frame):
    with pytest.raises(ValueError, match="uint8"):
        find_sector(frame)


@pytest.fixture
def frame():
    mask = SHAPES["phased array"]
    return np.moveaxis(_paint(_speckle(mask), mask), -1, 0)


def test_output_is_grey_and_exactly_zero_outside(frame):
    grey, sector = IsolateSector().with_sector(frame)
    assert grey.shape == sector.shape == (1, 224, 320)
    assert grey.dtype == torch.float32
    assert grey[sector == 0].abs().max() == 0
    assert 0.2 < grey.max() <= 1
    inside = SHAPES["phased array"] & (sector[0].numpy() > 0)
    assert np.allclose(grey[0].numpy()[inside], frame[0][inside] / 255.0)


def test_colour_inside_the_sector_falls_to_its_grey_part(frame):
    frame[:, 100:110, 160:170] = np.array([200, 30, 30], np.uint8)[:, None, None]
    frame[:, 120:130, 160:170] = np.array([0, 0, 255], np.uint8)[:, None, None]
    grey = IsolateSector()(frame)[0]
    assert np.allclose(grey[100:110, 160:170], 30 / 255)
    assert grey[120:130, 160:170].max() == 0


def test_every_input_type_gives_the_same(frame):
    expected = IsolateSector()(frame)
    rgba = np.concatenate([frame, np.full_like(frame[:1], 255)])
    for variant in (torch.from_numpy(frame), frame.astype(np.float32), frame.astype(np.int64), frame / 255.0, rgba):
        assert torch.equal(torch.as_tensor(IsolateSector()(variant)), torch.as_tensor(expected))


@pytest.mark.parametrize("value", [-1.0, 256.0, np.nan])
def test_values_out_of_range_are_named(frame, value):
    bad = frame.astype(np.float32)
    bad[0, 0, 0] = value
    with pytest.raises(ValueError, match="0..255"):
        IsolateSector()(bad)


def test_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"\(C, H, W\).*\(224, 320\)"):
        IsolateSector()(np.zeros((224, 320), np.uint8))


def test_dictionary_keeps_metadata_and_the_sector_inverts(frame):
    stored = MetaTensor(frame.transpose(0, 2, 1).copy(), meta={"filename_or_obj": "frame.png"})
    load = Compose([Transposed("image", (0, 2, 1)), IsolateSectord("image")])
    out = load({"image": stored, "other": 1})
    image, sector = out["image"], out["sector"]
    assert image.shape == sector.shape == (1, 224, 320)
    assert set(np.unique(sector)) == {0, 1}
    assert image.meta["filename_or_obj"] == sector.meta["filename_or_obj"] == "frame.png"
    assert [step["class"] for step in sector.applied_operations] == ["Transposed"]
    assert image.applied_operations == sector.applied_operations
    assert sector.applied_operations is not image.applied_operations
    back = Invertd("sector", load, orig_keys="image", nearest_interp=False)(out)["sector"]
    assert back.shape == (1, 320, 224)
    assert torch.equal(back.as_tensor(), sector.as_tensor().transpose(1, 2))


def test_dictionary_without_a_sector_key(frame):
    out = IsolateSectord("image", sector_key=None)({"image": frame})
    assert set(out) == {"image"}


@pytest.mark.realdata
def test_real_frames_green_black_and_annotated_agree(real_root):
    """Boxes and sectors agree between the painted frame, its blackened twin, and that with annotations."""
    overlaps, shifts, annotated_shifts, key_overlaps = [], [], [], []
    paths = sorted(real_root.glob("data/fold*/fold*_process_img/*.png"))
    for number, path in enumerate(paths[:: max(1, len(paths) // 80)]):
        green = np.asarray(Image.open(path).convert("RGB"))
        excess = green[..., 1].astype(int) - green[..., ::2].max(axis=-1)
        black = np.where((excess > 20)[..., None], np.median(green, axis=-1, keepdims=True), green).astype(np.uint8)
        key = ndimage.binary_opening(excess <= 40, np.ones((3, 3)))
        a, b, c = (find_sector(x) for x in (green, black, _annotate(black, excess <= 40, number)))
        overlaps.append(_iou(a, b))
        key_overlaps.append(_iou(a, key))
        shifts.append(np.abs(_box_of(a) - _box_of(b)).max())
        annotated_shifts.append(np.abs(_box_of(a) - _box_of(c)).max())
    assert np.mean(overlaps) >= 0.99
    assert np.mean(key_overlaps) >= 0.97
    for found in (np.array(shifts), np.array(annotated_shifts)):
        assert (found <= 1).mean() >= 0.9
        assert (found <= 3).mean() >= 0.98


@pytest.mark.parametrize("shape", [(16, 4000), (4000, 16), (300, 3000)])
def test_a_narrow_strip_is_refused(shape):
    """Framed to the network's aspect, a strip of a megabyte as PNG would take gigabytes."""
    strip = np.random.default_rng(0).integers(20, 220, shape).astype(np.uint8)
    with pytest.raises(SectorNotFoundError, match="more than 5 times as long as wide"):
        find_sector(strip)


def test_a_file_without_sector_is_named():
    frame = MetaTensor(torch.zeros(1, 64, 96), meta={"filename_or_obj": "study/black.png"})
    with pytest.raises(SectorNotFoundError, match=r"^study/black\.png: no ultrasound sector"):
        IsolateSectord(keys="image")({"image": frame})
