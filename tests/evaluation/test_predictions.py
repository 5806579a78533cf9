# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks that exist already, of any kind and naming: matched with their frames, or refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from pe_monai.cli import main
from pe_monai.data import load_datalist
from pe_monai.data.counts import effusion_pixels
from pe_monai.errors import DatasetError, FrameError
from pe_monai.evaluation import match_masks, score_masks
from pe_monai.evaluation.predictions import relative_stem

STEMS = ["data/fold1/fold1_process_img/0001", "data/fold2/fold2_process_img/0001", "data/fold2/fold2_process_img/0002"]


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (20, 20)).save(path)
    return folder


@pytest.mark.parametrize(
    "names",
    [
        [f"{stem}.png" for stem in STEMS],
        ["fold1/fold1_process_img/0001.png", "fold2/fold2_process_img/0001.png", "fold2/fold2_process_img/0002.tif"],
        ["fold1_process_img/0001.png", "fold2_process_img/0001.png", "fold2_process_img/0002.bmp"],
        ["fold1_0001.png", "fold2_0001.png", "fold2_0002.png"],
        ["fold1_0001_0000.png", "fold2_0001_0000.png", "fold2_0002_0000.png"],
        ["fold1_process_img_0001.png", "fold2_process_img_0001.png", "fold2_process_img_0002.png"],
    ],
    ids=["whole path", "end of it", "folder", "nnU-Net", "nnU-Net channel", "flat"],
)
def test_masks_are_found_by_name(tmp_path, names):
    got = match_masks(touch(tmp_path, *names), STEMS)
    assert [got[stem].relative_to(tmp_path).as_posix() for stem in STEMS] == names


def test_a_bare_name_must_be_one_frames_own(tmp_path):
    touch(tmp_path, "0002.png")
    assert list(match_masks(tmp_path, STEMS)) == [STEMS[2]]
    touch(tmp_path, "0001.png")
    with pytest.raises(DatasetError, match=r"0001\.png: could be the mask of .*fold1.* or of .*fold2"):
        match_masks(tmp_path, STEMS)


def test_a_frame_has_one_mask(tmp_path):
    touch(tmp_path, "fold1_0001.png", "0002.png", "0002-2.png", "0009.png", "0009.tif")
    assert set(match_masks(tmp_path, STEMS)) == {STEMS[0], STEMS[2]}
    touch(tmp_path, "0002.tif")
    with pytest.raises(DatasetError, match=r"0002\.(png|tif).*0002\.(png|tif) is of the same name"):
        match_masks(tmp_path, STEMS)


@pytest.fixture(scope="module")
def items(phantom_root) -> list[dict]:
    return load_datalist("clip", "validation", phantom_root)


def write_truth(items: list[dict], folder: Path, kind: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for item in items:
        truth = np.asarray(Image.open(item["label"]))[..., 1] > 127
        name = f"fold{item['fold']}_{Path(item['image']).stem}"
        if kind == "nii":
            nibabel.save(nibabel.Nifti1Image(truth.T.astype(np.uint8), np.eye(4)), folder / f"{name}.nii.gz")
        elif kind == "rgb labels":
            Image.fromarray(np.dstack([truth] * 3).astype(np.uint8)).save(folder / f"{name}.png")
        else:
            Image.fromarray(truth.astype(np.uint8) * (1 if kind == "labels" else 255)).save(folder / f"{name}.png")
    return folder


@pytest.mark.parametrize("kind", ["png", "labels", "rgb labels", "nii"])
def test_the_truth_itself_scores_one(items, phantom_root, tmp_path, kind):
    rows = score_masks(write_truth(items, tmp_path / kind, kind), "clip", "validation", phantom_root)
    assert len(rows) == len(items)
    assert {row["dice"] for row in rows if row["truth_px"]} == {1.0}
    assert {row["false_effusion"] for row in rows if not row["truth_px"]} <= {0.0}
    assert all(row["truth_px"] == row["pred_px"] for row in rows)
    assert [row["clip"] for row in rows] == [item["clip"] for item in items]


def test_the_command_refuses_missing_masks_or_counts_them_as_empty(items, phantom_root, tmp_path, capsys):
    folder = write_truth(items, tmp_path / "masks", "png")
    largest = max(items, key=lambda item: (np.asarray(Image.open(item["label"]))[..., 1] > 127).sum())
    (folder / f"fold{largest['fold']}_{Path(largest['image']).stem}.png").unlink()
    arguments = ["evaluate", "--data", str(phantom_root), "--predictions", str(folder), "-o", str(tmp_path / "out")]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "no mask for 1 of" in error and Path(largest["image"]).stem in error and "--missing empty" in error
    assert not (tmp_path / "out").exists()
    assert main([*arguments, "--missing", "empty"]) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    positives = summary["positives"]
    assert positives["missed"]["value"] == pytest.approx(1 / positives["frames"])
    assert positives["mean"]["dice"]["value"] == pytest.approx(1 - 1 / positives["frames"])
    assert "calibration" not in summary and "uncertainty" not in summary
    assert "Dice (F1)" in capsys.readouterr().out


def test_masks_that_cannot_be_used_are_all_named(items, phantom_root, tmp_path):
    folder = write_truth(items, tmp_path / "masks", "png")
    small, broken = sorted(folder.glob("*.png"))[:2]
    Image.new("L", (20, 30)).save(small)
    broken.write_bytes(b"no picture")
    with pytest.raises(
        DatasetError, match=rf"2 frames cannot be scored: .*{small.name}: is 20 wide x 30 high.*{broken.name}"
    ):
        score_masks(folder, "clip", "validation", phantom_root)


@pytest.mark.parametrize(("heart", "found"), [(0, "0 and 2"), (1, "0, 1 and 2")])
def test_a_label_map_of_another_index_is_refused_and_not_empty(items, phantom_root, tmp_path, heart, found):
    folder = write_truth(items, tmp_path / "masks", "png")
    for path in folder.glob("*.png"):
        effusion = np.asarray(Image.open(path)) > 0
        effusion[:9] = False
        planes = effusion.astype(np.uint8) * 2
        planes[:9] = heart
        Image.fromarray(planes).save(path)
    with pytest.raises(DatasetError, match=f"frames cannot be scored: .*it is {found}; give masks that are 0 and 255"):
        score_masks(folder, "clip", "validation", phantom_root)


@pytest.mark.parametrize(("inside", "found"), [(-1, "-1 and 0"), (0.001, "0 and 0.001")])
def test_masks_of_values_that_say_nothing_are_refused(items, phantom_root, tmp_path, inside, found):
    for path in write_truth(items, tmp_path, "nii").glob("*.nii.gz"):
        values = np.asarray(nibabel.load(path).dataobj) * np.float32(inside)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    with pytest.raises(DatasetError, match=f"frames cannot be scored: .*is no mask, it is {found}; give masks"):
        score_masks(tmp_path, "clip", "validation", phantom_root)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (lambda mask: np.dstack([mask * 255, 0 * mask, 0 * mask]), "has colours"),
        (lambda mask: mask * 2, "it is 0 and 2"),
        (lambda mask: mask * 100, "it is 0 and 100"),
        (lambda mask: np.tile(np.linspace(40, 200, 320, dtype=np.uint8), (224, 1)), "many shades"),
    ],
    ids=["red", "index 2", "grey 100", "shades"],
)
def test_a_truth_that_is_no_mask_is_named(items, phantom_root, tmp_path, kind, words):
    data = shutil.copytree(phantom_root, tmp_path / "data")
    for item in items:
        mask = (np.asarray(Image.open(item["label"]))[..., 1] > 127).astype(np.uint8)
        Image.fromarray(kind(mask)).save(data / Path(item["label"]).relative_to(phantom_root))
    with pytest.raises(DatasetError, match=f"frames cannot be scored: .*is no mask, .*{words}"):
        score_masks(write_truth(items, tmp_path / "masks", "png"), "clip", "validation", data)
    with pytest.raises(FrameError, match=words):
        effusion_pixels(data / Path(items[0]["label"]).relative_to(phantom_root))


def test_a_truth_of_ones_in_rgb_is_a_mask(items, phantom_root, tmp_path):
    data = shutil.copytree(phantom_root, tmp_path / "data")
    for item in items:
        truth = (np.asarray(Image.open(item["label"]))[..., 1] > 127).astype(np.uint8)
        Image.fromarray(np.dstack([truth] * 3)).save(data / Path(item["label"]).relative_to(phantom_root))
    rows = score_masks(write_truth(items, tmp_path / "masks", "png"), "clip", "validation", data)
    assert any(row["truth_px"] for row in rows) and all(row["truth_px"] == row["pred_px"] for row in rows)


def test_links_are_frames_of_their_own(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        there = touch(tmp_path / "elsewhere" / folder / "images", "0001.png") / "0001.png"
        (tmp_path / "data" / folder / "0001.png").symlink_to(there)
    stems = [relative_stem(tmp_path / f"data/{folder}/0001.png", tmp_path / "data") for folder in ("one", "two")]
    assert stems == ["one/0001", "two/0001"]


def test_an_annotation_of_another_size_than_its_frame_is_named(items, phantom_root, tmp_path):
    data = shutil.copytree(phantom_root, tmp_path / "data")
    item = items[0]
    label = data / Path(item["label"]).relative_to(phantom_root)
    Image.new("RGB", (20, 30)).save(label)
    with pytest.raises(
        DatasetError, match=rf"1 frames cannot be scored: .*{label.name}: is 20 wide x 30 high.*320 x 224"
    ):
        score_masks(write_truth(items, tmp_path / "masks", "png"), "clip", "validation", data)


def test_a_frame_without_a_sector_is_named(items, phantom_root, tmp_path):
    data = shutil.copytree(phantom_root, tmp_path / "data")
    frame = data / Path(items[0]["image"]).relative_to(phantom_root)
    Image.new("RGB", (320, 224)).save(frame)
    with pytest.raises(DatasetError, match=rf"1 frames cannot be scored: .*{frame.name}: no ultrasound sector"):
        score_masks(write_truth(items, tmp_path / "masks", "png"), "clip", "validation", data)


def test_a_folder_without_masks_is_refused(items, phantom_root, tmp_path):
    touch(tmp_path, "other.png")
    with pytest.raises(DatasetError, match="no mask for"):
        score_masks(tmp_path, "clip", "validation", phantom_root, missing="empty")
