# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The index pairs by name, knows each frame's clip, and refuses what does not add up."""

from __future__ import annotations

import json
import logging
import shutil

import pytest

from pe_monai.data import Item, effusion_pixels, index_dataset
from pe_monai.errors import DatasetError

FOLDS = {1: [("AAAAA001", 2), ("BBBBB002", 1)], 2: [("AAAAA003", 3)]}


def test_frames_clips_and_exams_in_order(make_dataset):
    items = index_dataset(make_dataset(FOLDS))
    assert [(item.fold, item.image[-8:], item.clip, item.exam) for item in items] == [
        (1, "0000.png", "AAAAA001", "AAAAA"),
        (1, "0001.png", "AAAAA001", "AAAAA"),
        (1, "0002.png", "BBBBB002", "BBBBB"),
        (2, "0000.png", "AAAAA003", "AAAAA"),
        (2, "0001.png", "AAAAA003", "AAAAA"),
        (2, "0002.png", "AAAAA003", "AAAAA"),
    ]
    assert items[3].as_dict() == {
        "image": "data/fold2/fold2_process_img/0000.png",
        "label": "data/fold2/fold2_mask/0000.png",
        "fold": 2,
        "clip": "AAAAA003",
        "exam": "AAAAA",
    }


def test_the_phantom_set_is_indexed_as_its_truth_says(phantom_root):
    truth = json.loads((phantom_root / "phantom.json").read_text())["frames"]
    assert index_dataset(phantom_root) == [
        Item(frame["image"], frame["mask"], frame["fold"], frame["clip"], frame["exam"]) for frame in truth
    ]


def test_folds_come_in_the_order_of_their_numbers(make_dataset):
    root = make_dataset({2: [("A", 1)], 10: [("B", 1)], 1: [("C", 1)]})
    assert [item.fold for item in index_dataset(root)] == [1, 2, 10]


def test_some_folds_are_enough_and_other_files_are_let_be(make_dataset):
    root = make_dataset(FOLDS)
    shutil.rmtree(root / "data/fold1")
    (root / "data/folders").mkdir()
    (root / "data/fold2/fold2_process_img/Thumbs.db").touch()
    for kind in ("process_img", "mask"):
        (root / f"data/fold2/fold2_{kind}/._0000.png").touch()
    (root / "data/fold7").touch()
    assert [item.clip for item in index_dataset(root)] == ["AAAAA003"] * 3


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("fold1/fold1_mask/0001.png", "fold1.*0001.png has no annotation.*1 such"),
        ("fold2/fold2_process_img/0000.png", "fold2.*0000.png is an annotation without a frame"),
    ],
)
def test_a_lonely_file_is_named(make_dataset, lost, message):
    root = make_dataset(FOLDS)
    (root / "data" / lost).unlink()
    with pytest.raises(DatasetError, match=message):
        index_dataset(root)


@pytest.mark.parametrize("kind", ["process_img", "mask"])
def test_a_missing_folder_is_named(make_dataset, kind):
    root = make_dataset(FOLDS)
    shutil.rmtree(root / f"data/fold2/fold2_{kind}")
    with pytest.raises(DatasetError, match=f"fold2_{kind}: this folder is missing"):
        index_dataset(root)


@pytest.mark.parametrize("made", ["", "data", "data/fold", "data/foldx"])
def test_no_fold_at_all_is_an_error(tmp_path, made):
    (tmp_path / made).mkdir(parents=True, exist_ok=True)
    with pytest.raises(DatasetError, match="no folder data/fold1"):
        index_dataset(tmp_path)
    with pytest.raises(DatasetError, match="no folder data/fold1"):
        index_dataset(tmp_path / "absent")


def test_a_table_that_does_not_add_up_is_an_error(make_dataset):
    root = make_dataset(FOLDS)
    for kind in ("process_img", "mask"):
        (root / f"data/fold1/fold1_{kind}/0002.png").unlink()
    with pytest.raises(DatasetError, match="fold 1 counts 3 frames, the folder holds 2"):
        index_dataset(root)


def test_a_fold_the_table_does_not_know_is_an_error(make_dataset):
    root = make_dataset(FOLDS)
    shutil.copytree(root / "data/fold1", root / "data/fold3")
    for kind in ("process_img", "mask"):
        (root / f"data/fold3/fold1_{kind}").rename(root / f"data/fold3/fold3_{kind}")
    with pytest.raises(DatasetError, match="fold 3 counts 0 frames, the folder holds 3"):
        index_dataset(root)


@pytest.mark.parametrize("content", [b"", b"no workbook"])
def test_a_damaged_table_is_named(make_dataset, content):
    root = make_dataset(FOLDS)
    (root / "pce_dicom_length.xlsx").write_bytes(content)
    with pytest.raises(DatasetError, match="pce_dicom_length.xlsx: not the expected table"):
        index_dataset(root)


def test_without_a_table_there_are_no_clips_and_one_warning(make_dataset, caplog):
    root = make_dataset(FOLDS, table=False)
    with caplog.at_level(logging.WARNING):
        items = index_dataset(root)
    assert len(items) == 6
    assert {(item.clip, item.exam) for item in items} == {(None, None)}
    assert [record.getMessage().split(": ")[0][-29:] for record in caplog.records] == [
        "pce_dicom_length.xlsx is absent"[-29:]
    ]


def test_effusion_is_counted_by_the_one_decoder(make_dataset):
    root = make_dataset(FOLDS, pixels=lambda number: 40 * number)
    assert [effusion_pixels(root / item.label) for item in index_dataset(root)] == [0, 40, 80, 120, 160, 200]


@pytest.mark.realdata
def test_the_published_folds_1_to_8(real_root):
    items = [item for item in index_dataset(real_root) if item.fold <= 8]
    assert {item.fold for item in items} == set(range(1, 9))
    assert len(items) == 4097
    assert len({item.clip for item in items}) == 1451
    folds_of = {}
    for item in items:
        folds_of.setdefault(item.clip, set()).add(item.fold)
    assert all(len(folds) == 1 for folds in folds_of.values())
    counts = [effusion_pixels(real_root / item.label) for item in items]
    assert sum(count > 0 for count in counts) == 2728
    assert sum(count >= 249 for count in counts) == 2007
