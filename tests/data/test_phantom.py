# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The phantom: its truth is true, its files are the published layout, and a seed says all."""

import json

import numpy as np
import pytest
from openpyxl import load_workbook
from PIL import Image
from scipy import ndimage

from pe_monai.data.phantom import phantom_clip, phantom_frame, write_phantom_dataset
from pe_monai.data.phantom.heart import VIEWS

GREEN = np.array([0, 255, 0])


def inscribed_diameter_mm(mask, spacing):
    """Twice the greatest distance to the outside, less its mean bias: it ends at a centre beyond the edge."""
    return 2 * ndimage.distance_transform_edt(mask, sampling=spacing).max() - 0.7 * float(np.mean(spacing))


def test_equal_seeds_give_equal_frames_and_other_seeds_do_not():
    first, again, other = (phantom_frame(seed, thickness_mm=12) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.coverage, again.coverage)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("aspect", [1.0, 0.6, 1.7])
@pytest.mark.parametrize("thickness", [2.0, 5.5, 10.0, 20.0, 40.0])
def test_thickness_is_the_inscribed_circle(thickness, aspect):
    depth_cm = max(9.0, thickness * 0.36)
    for seed in (0, 1):
        frame = phantom_frame(seed, (800, 1100), thickness_mm=thickness, depth_cm=depth_cm, pixel_aspect=aspect)
        assert frame.spacing[0] / frame.spacing[1] == pytest.approx(aspect)
        assert frame.thickness_mm == pytest.approx(thickness)
        assert inscribed_diameter_mm(frame.mask, frame.spacing) == pytest.approx(thickness, abs=0.3)


@pytest.mark.parametrize("view", VIEWS)
def test_thickness_holds_through_the_beat_and_varies(view):
    clip = phantom_clip(3, 3, (800, 1100), thickness_mm=18, depth_cm=9, view=view)
    truths = [frame.thickness_mm for frame in clip]
    assert max(truths) == pytest.approx(18)
    assert max(truths) - min(truths) > 0.5
    for frame in clip:
        assert inscribed_diameter_mm(frame.mask, frame.spacing) == pytest.approx(frame.thickness_mm, abs=0.3)


def test_thickness_survives_the_default_raster():
    for seed in range(12):
        frame = phantom_frame(seed, thickness_mm=8)
        assert abs(inscribed_diameter_mm(frame.mask, frame.spacing) - 8) < 1.5 * max(frame.spacing)


def test_spacing_follows_from_depth_and_sector_height():
    frame = phantom_frame(1, (600, 800), depth_cm=16, thickness_mm=0)
    rows = np.flatnonzero(frame.sector.any(axis=1))
    # A convex probe's face is an arc, so the sector is a little higher than its depth.
    assert 158 < (np.ptp(rows) + 1) * frame.spacing[0] < 175


def test_no_thickness_no_mask():
    frame = phantom_frame(2, thickness_mm=0)
    assert frame.thickness_mm == 0
    assert not frame.mask.any() and not frame.coverage.any()


def test_mask_lies_inside_the_sector_and_is_darker_than_its_rim():
    darker = []
    for seed in range(12):
        frame = phantom_frame(seed, thickness_mm=15)
        assert not (frame.coverage.astype(bool) & ~frame.sector).any()
        assert np.array_equal(frame.mask, frame.coverage > 127)
        rim = ndimage.binary_dilation(frame.mask, iterations=6) & frame.sector & ~frame.mask
        darker.append(frame.image[rim].mean() - frame.image[frame.mask].mean())
    assert np.median(darker) > 20


def test_backgrounds():
    green, black = (phantom_frame(4, background=background) for background in ("green", "black"))
    outside = ~green.sector
    assert np.array_equal(green.sector, black.sector)
    assert (green.image[outside] == GREEN).all()
    assert black.image[outside].any() and not (black.image[outside] == GREEN).all(axis=1).any()
    assert np.array_equal(green.image[green.sector], black.image[black.sector])
    inside = green.image[green.sector]
    assert (inside == inside[:, :1]).all(), "the sector is grey"


def test_frames_of_a_clip_share_geometry_and_move():
    clip = phantom_clip(7, 4, thickness_mm=20)
    for frame in clip[1:]:
        assert np.array_equal(frame.sector, clip[0].sector)
        assert (frame.spacing, frame.depth_cm, frame.view) == (clip[0].spacing, clip[0].depth_cm, clip[0].view)
        assert not np.array_equal(frame.image, clip[0].image)
        overlap = (frame.mask & clip[0].mask).sum() * 2 / (frame.mask.sum() + clip[0].mask.sum())
        assert overlap > 0.6


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"seed": -1}, "seed"),
        ({"size": (20, 320)}, "size"),
        ({"background": "blue"}, "background"),
        ({"thickness_mm": 1.0}, "thickness_mm"),
        ({"thickness_mm": 60}, "thickness_mm"),
        ({"thickness_mm": float("nan")}, "thickness_mm"),
        ({"depth_cm": 3}, "depth_cm"),
        ({"thickness_mm": 40, "depth_cm": 8}, "does not fit"),
        ({"pixel_aspect": 0}, "pixel_aspect"),
        ({"view": "subcostal"}, "view"),
    ],
)
def test_bad_frame_arguments(arguments, word):
    with pytest.raises(ValueError, match=word):
        phantom_frame(**{"seed": 0, **arguments})


@pytest.mark.parametrize("arguments", [{"folds": ()}, {"folds": (1, 1)}, {"folds": (0,)}, {"clips_per_fold": 0}])
def test_bad_dataset_arguments_leave_nothing_behind(tmp_path, arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        write_phantom_dataset(tmp_path / "set", **arguments)
    with pytest.raises(ValueError, match="size"):
        write_phantom_dataset(tmp_path / "set", size=(10, 10))
    assert not list(tmp_path.iterdir())


def test_no_frames_no_clip():
    with pytest.raises(ValueError, match="frames"):
        phantom_clip(0, 0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_phantom_dataset(tmp_path_factory.mktemp("phantom") / "set", folds=(2, 9), clips_per_fold=15, seed=1)


def test_layout_matches_the_table(dataset):
    book = load_workbook(dataset / "pce_dicom_length.xlsx")
    assert book.sheetnames == ["Fold 2", "Fold 9"]
    names = []
    for fold in (2, 9):
        header, *rows = book[f"Fold {fold}"].iter_rows(values_only=True)
        assert header == ("dicom file", "frames", "duration(s)", "frames used")
        assert len(rows) == 15 and all(1 <= row[3] <= 5 for row in rows)
        names += [row[0] for row in rows]
        expected = [f"{n:04d}.png" for n in range(sum(row[3] for row in rows))]
        for kind in ("process_img", "mask"):
            assert sorted(p.name for p in (dataset / f"data/fold{fold}/fold{fold}_{kind}").iterdir()) == expected
    assert len(set(names)) == len(names) and {len(name) for name in names} == {8}
    assert {n[:5] for n in names[:15]} & {n[:5] for n in names[15:]}, "some exams span folds"


def test_truth_matches_the_files(dataset):
    frames = json.loads((dataset / "phantom.json").read_text())["frames"]
    assert len(frames) == len(list(dataset.glob("data/*/*_process_img/*.png")))
    assert 0.3 < np.mean([f["thickness_mm"] == 0 for f in frames]) < 0.45
    for frame in frames[::5]:
        mask = np.array(Image.open(dataset / frame["mask"]))
        assert mask.shape == (224, 320, 3) and mask.max() <= 254
        assert not mask[..., 0].any() and not mask[..., 2].any()
        assert (mask[..., 1] > 127).any() == (frame["thickness_mm"] > 0)
        assert Image.open(dataset / frame["image"]).mode == "RGB"


def test_equal_seeds_give_equal_bytes(tmp_path):
    roots = [write_phantom_dataset(tmp_path / name, (1,), 3, seed=8) for name in ("a", "b")]
    first, second = ({p.relative_to(r): p.read_bytes() for p in r.rglob("*") if p.is_file()} for r in roots)
    assert first == second and len(first) > 4


def test_a_folder_in_use_is_refused_and_an_empty_one_taken(tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "keep.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="used"):
        write_phantom_dataset(tmp_path / "used", (1,), 1)
    assert [p.name for p in (tmp_path / "used").iterdir()] == ["keep.txt"]
    (tmp_path / "empty").mkdir()
    assert (write_phantom_dataset(tmp_path / "empty", (1,), 1) / "data" / "fold1").is_dir()
    assert {p.name for p in tmp_path.iterdir()} == {"used", "empty"}
