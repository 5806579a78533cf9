# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""`pe_monai labelme` as a user meets it: annotations become rows of `evaluate`, masks become annotations."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from pe_monai.cli import main
from pe_monai.data import load_datalist, phantom_frame, write_picture
from pe_monai.data.labelme_writer import write_annotation


@pytest.fixture
def labelme(capsys):
    """Run the command; returns its exit code and what it wrote to stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["labelme", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def frames():
    return [phantom_frame(seed, thickness_mm=mm, size=(150, 200)) for seed, mm in ((1, 15), (2, 0), (3, 20))]


def annotate(frames, folder: Path, name: str = "积液") -> Path:
    for number, frame in enumerate(frames):
        write_annotation(folder / f"病例{number % 2}" / f"心超 {number}", frame.image, frame.mask, name)
    return folder


def read(path: Path | str) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_data_set_is_not_written_among_the_annotations(labelme, frames, tmp_path):
    folder = annotate(frames, tmp_path / "annotated")
    before = sorted(folder.rglob("*"))
    for output in (folder, folder / "external"):
        code, _, stderr = labelme(folder, "-o", output)
        assert code == 2 and "which is read; write to another folder" in stderr
    assert sorted(folder.rglob("*")) == before


def test_annotations_become_a_data_set(labelme, frames, tmp_path):
    out = tmp_path / "external"
    code, stdout, stderr = labelme(annotate(frames, tmp_path / "annotated"), "-o", out)
    assert (code, stderr) == (0, "")
    assert "3 frames, 2 with effusion, 1 without" in stdout
    items = load_datalist(out / "datalist.json", "testing", out)
    assert [item.get("clip") for item in items] == ["病例0", "病例0", "病例1"]
    for item, frame in zip(items, (frames[0], frames[2], frames[1]), strict=True):
        np.testing.assert_array_equal(read(item["image"]), frame.image)
        label = read(item["label"]) > 0
        assert (label & frame.mask).sum() >= 0.98 * (label | frame.mask).sum()
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert labelme(tmp_path / "annotated", "-o", out)[0] == 0
    assert files == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_each_of_several_folders_is_a_clip(labelme, frames, tmp_path):
    first, second = (annotate(frames[:2], tmp_path / name) for name in ("one", "two"))
    for given, clips in (
        ([first / "病例0", second / "病例1"], ["病例0", "病例1"]),
        ([first, second], ["one/病例0", "one/病例1", "two/病例0", "two/病例1"]),
        ([first / "病例0"], [None]),
    ):
        out = tmp_path / "external"
        assert labelme(*given, "-o", out)[0] == 0
        assert [item.get("clip") for item in load_datalist(out / "datalist.json", "testing", out)] == clips


def test_folders_of_one_name_are_told_apart(labelme, frames, tmp_path):
    given = [annotate(frames[:1], tmp_path / name / "frames") / "病例0" for name in ("one", "two")]
    assert labelme(*given, "-o", tmp_path / "external")[0] == 0
    items = load_datalist(tmp_path / "external" / "datalist.json", "testing", tmp_path / "external")
    assert [item["clip"] for item in items] == ["one/frames/病例0", "two/frames/病例0"]


def test_evaluate_scores_them(labelme, frames, tmp_path, tiny_bundle, capsys):
    out, scores = tmp_path / "external", tmp_path / "scores"
    assert labelme(annotate(frames, tmp_path / "annotated"), "-o", out)[0] == 0
    command = ["evaluate", "--data", out, "--split", out / "datalist.json", "--section", "testing", "-o", scores]
    assert main([*map(str, command), "--bundle", str(tiny_bundle)]) == 0
    with (scores / "frames.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["truth_px"]) for row in rows] == [int(f.mask.sum()) for f in (frames[0], frames[2], frames[1])]


def test_what_does_not_count_is_said(labelme, frames, tmp_path):
    folder = annotate(frames, tmp_path / "annotated") / "病例0"
    write_picture(frames[0].image, folder / "forgotten.png")
    path = folder / "心超 0.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    ventricle = {"label": "LV", "shape_type": "circle", "points": [[50, 50], [60, 50]]}
    line = {"label": "积液", "shape_type": "linestrip", "points": [[0, 0], [60, 50]]}
    document["shapes"] += [ventricle, line]
    path.write_text(json.dumps(document), encoding="utf-8")
    (folder / "broken.json").write_text("{")
    code, stdout, stderr = labelme(tmp_path / "annotated", "-o", tmp_path / "external")
    assert code == 1 and "3 frames" in stdout
    assert "other labels: 'LV' (1)" in stdout
    assert "lines and points, which have no area: 1" in stdout
    assert "pictures without an annotation: 1" in stdout
    assert stderr.count("\n") == 1 and "broken.json: is no JSON" in stderr


def test_unknown_labels_are_listed_and_nothing_is_written(labelme, frames, tmp_path):
    annotate(frames, tmp_path / "annotated", "水")
    code, _, stderr = labelme(tmp_path / "annotated", "-o", tmp_path / "external")
    assert code == 2 and stderr.count("\n") == 1
    assert "the names are '水' (" in stderr and "--label" in stderr
    assert not (tmp_path / "external").exists()
    assert labelme(tmp_path / "annotated", "-o", tmp_path / "external", "--label", "水")[0] == 0


def test_masks_go_to_labelme_and_come_back(labelme, frames, tmp_path):
    for number, frame in enumerate(frames):
        write_picture(frame.image, tmp_path / "frames" / "deep" / f"{number}.png")
        if number != 1:
            write_picture(frame.mask.astype(np.uint8) * 255, tmp_path / "masks" / "deep" / f"{number}.png")
    to_correct = tmp_path / "to_correct"
    code, stdout, stderr = labelme(tmp_path / "frames", "--masks", tmp_path / "masks", "-o", to_correct)
    assert code == 1 and "2 of 3 frames" in stdout
    assert stderr.count("\n") == 1 and "1.png: no mask" in stderr
    assert sorted(path.name for path in (to_correct / "deep").iterdir()) == ["0.json", "0.png", "2.json", "2.png"]
    code, stdout, _ = labelme(to_correct, "-o", tmp_path / "external", "--section", "training")
    assert code == 0
    for item, frame in zip(
        load_datalist(tmp_path / "external" / "datalist.json", "training", tmp_path / "external"),
        (frames[0], frames[2]),
        strict=True,
    ):
        label = read(item["label"]) > 0
        assert (label & frame.mask).sum() > 0.98 * (label | frame.mask).sum()


def test_masks_of_other_frames_are_refused(labelme, frames, tmp_path):
    write_picture(frames[0].image, tmp_path / "a.png")
    write_picture(np.zeros((20, 20), np.uint8), tmp_path / "masks" / "a.png")
    code, _, stderr = labelme(tmp_path / "a.png", "--masks", tmp_path / "masks", "-o", tmp_path / "out")
    assert code == 2 and "has another size than its frame" in stderr and not (tmp_path / "out").exists()


def test_frames_and_what_was_corrected_by_hand_stay(labelme, frames, tmp_path):
    folder, masks = tmp_path / "frames", tmp_path / "masks"
    folder.mkdir()
    deep = folder / "deep.png"
    Image.fromarray(frames[0].image[..., 0].astype(np.uint16) * 257).save(deep)
    write_picture(frames[1].image, folder / "a.jpg")
    for name in ("deep", "a"):
        write_picture(frames[0].mask.astype(np.uint8) * 255, masks / f"{name}.png")
    before = deep.read_bytes()
    for _ in range(2):
        assert labelme(deep, "--masks", masks, "-o", folder)[0] == 0
    assert deep.read_bytes() == before
    annotation = folder / "deep.json"
    annotation.write_text(annotation.read_text().replace('"effusion"', '"corrected"'))
    code, _, stderr = labelme(folder, "--masks", masks, "-o", folder)
    assert code == 1 and "deep.json: is there already" in stderr and (folder / "a.json").is_file()
    assert "corrected" in annotation.read_text()
    write_picture(frames[2].image, tmp_path / "other" / "a.png")
    code, _, stderr = labelme(folder / "a.jpg", "--masks", masks, "-o", tmp_path / "other")
    assert code == 2 and "a.png: is there already and another picture" in stderr


def test_a_mask_file_of_many_frames_is_refused(labelme, frames, tmp_path):
    nibabel.save(nibabel.Nifti1Image(frames[0].image[..., 0].T, np.eye(4)), tmp_path / "a.nii")
    (tmp_path / "masks").mkdir()
    nibabel.save(nibabel.Nifti1Image(np.zeros((30, 20, 1, 3), np.uint8), np.eye(4)), tmp_path / "masks" / "a.nii")
    code, _, stderr = labelme(tmp_path / "a.nii", "--masks", tmp_path / "masks", "-o", tmp_path / "out")
    assert code == 2 and "a.nii: holds 3 masks" in stderr and "Traceback" not in stderr
