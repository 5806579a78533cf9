# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The three protocols keep apart what they promise to keep apart, and are the same for everyone."""

from __future__ import annotations

import json

import pytest

from pe_monai.data import PROTOCOLS, Item, load_datalist, split_items, splits, write_datalist
from pe_monai.errors import DatasetError

SECTIONS = ("training", "validation", "testing")


def values(split, attribute):
    return {section: {getattr(item, attribute) for item in split[section]} for section in SECTIONS}


def disjoint(sets):
    return len(set().union(*sets.values())) == sum(map(len, sets.values()))


@pytest.fixture
def many(make_dataset):
    """Ten folds of five clips with two frames; ten exams, each in several folds; every fourth frame is empty."""
    folds = {fold: [(f"EX{(fold + clip) % 10:03d}F{fold}C{clip}", 2) for clip in range(5)] for fold in range(1, 11)}
    return make_dataset(folds, pixels=lambda number: 0 if number % 4 == 0 else 247 + number % 4)


def test_clip_takes_whole_folds(many):
    split = split_items(many, "clip")
    assert values(split, "fold") == {"training": set(range(1, 8)), "validation": {8}, "testing": {9, 10}}
    assert disjoint(values(split, "clip"))
    assert {section: len(items) for section, items in split.items()} == {
        "training": 70,
        "validation": 10,
        "testing": 20,
    }


@pytest.mark.parametrize(
    ("folds", "training", "validation", "testing"),
    [
        ((1, 2, 3), {1, 2}, {3}, set()),
        ((1, 8), {1}, {8}, set()),
        ((7, 8, 11), {7, 11}, {8}, set()),
        ((2, 5, 9), {2}, {5}, {9}),
        ((9,), set(), set(), {9}),
        ((3, 9, 10), set(), {3}, {9, 10}),
    ],
)
def test_clip_with_some_folds_validates_on_the_last_that_is_left(make_dataset, folds, training, validation, testing):
    root = make_dataset({fold: [(f"CLIP{fold}", 1)] for fold in folds})
    found = values(split_items(root, "clip"), "fold")
    assert found == {"training": training, "validation": validation, "testing": testing}


def test_held_out_folds_alone_are_tested_on_and_not_trained_on(make_dataset):
    root = make_dataset({fold: [(f"CLIP{fold}", 2)] for fold in (9, 10)})
    assert [item["fold"] for item in load_datalist("clip", "testing", root)] == [9, 9, 10, 10]
    for section in ("training", "validation"):
        with pytest.raises(DatasetError, match=f"'{section}' is empty.*name another section or split, or give more"):
            load_datalist("clip", section, root)


def test_exam_keeps_exams_together_across_folds(many):
    split = split_items(many, "exam")
    assert disjoint(values(split, "exam")) and disjoint(values(split, "clip"))
    assert {section: len(items) for section, items in split.items()} == {
        "training": 70,
        "validation": 10,
        "testing": 20,
    }
    assert sum(map(len, split.values())) == 100


def test_of_a_few_large_exams_each_section_gets_one(make_dataset):
    split = split_items(make_dataset({1: [(f"EX{exam}xxF", 10) for exam in range(3)]}), "exam")
    assert [len(values(split, "exam")[section]) for section in SECTIONS] == [1, 1, 1]


def test_exam_needs_the_clip_table(make_dataset):
    root = make_dataset({1: [("A", 2)], 2: [("B", 2)]}, table=False)
    with pytest.raises(DatasetError, match="no exams"):
        split_items(root, "exam")
    assert len(split_items(root, "clip")["training"]) == 2


def test_paper_takes_frames_with_249_pixels_or_more(many):
    split = split_items(many, "paper")
    assert sum(map(len, split.values())) == 50
    assert disjoint(values(split, "image"))
    assert len(split["testing"]) == 15


def test_paper_counts(monkeypatch):
    """Of 2,541 frames 1,779 are for training (and validation) and 762 for testing, as published."""
    items = [Item(f"{number}.png", f"{number}.png", 1) for number in range(2541)]
    monkeypatch.setattr(splits, "index_dataset", lambda root: items)
    monkeypatch.setattr(splits, "effusion_pixels", lambda path: 249)
    split = split_items("anywhere", "paper")
    assert len(split["training"]) + len(split["validation"]) == 1779
    assert len(split["testing"]) == 762
    assert len(split["validation"]) == pytest.approx(178, abs=1)


@pytest.mark.parametrize("protocol", ["exam", "paper"])
def test_chance_follows_the_seed(many, protocol):
    first = split_items(many, protocol, seed=1)
    assert split_items(many, protocol, seed=1) == first
    assert split_items(many, protocol, seed=2) != first


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_phantom_set_can_be_split(phantom_root, protocol):
    split = split_items(phantom_root, protocol)
    assert split["training"] and disjoint(values(split, "image"))


def test_an_unknown_protocol_is_named(many):
    with pytest.raises(ValueError, match="protocol must be one of clip, exam, paper, got 'patient'"):
        split_items(many, "patient")


FOLDS = {1: [("AAAAA1", 2)], 2: [("BBBBB1", 1)]}


def test_the_hash_covers_sections_and_contents_but_not_the_place(make_dataset, tmp_path):
    hashes = []
    for name in ("one", "two"):
        root = make_dataset(FOLDS, root=tmp_path / name)
        hashes.append(write_datalist(split_items(root, "clip"), tmp_path / f"{name}.json", root, "clip"))
    assert hashes[0] == hashes[1] == json.loads((tmp_path / "one.json").read_text())["sha256"]
    swapped = split_items(root, "clip")
    swapped["training"], swapped["validation"] = swapped["validation"], swapped["training"]
    assert write_datalist(swapped, tmp_path / "swapped.json", root, "clip") != hashes[0]
    moved = split_items(root, "clip")
    moved["validation"].insert(0, moved["training"].pop())
    assert write_datalist(moved, tmp_path / "moved.json", root, "clip") != hashes[0]
    mask = root / "data/fold1/fold1_mask/0001.png"
    frame = root / "data/fold1/fold1_process_img/0001.png"
    for changed, source in ((mask, frame), (frame, root / "data/fold2/fold2_process_img/0000.png")):
        kept = changed.read_bytes()
        changed.write_bytes(source.read_bytes())
        assert write_datalist(split_items(root, "clip"), tmp_path / "changed.json", root, "clip") != hashes[0]
        changed.write_bytes(kept)
    assert write_datalist(split_items(root, "clip"), tmp_path / "same.json", root, "clip") == hashes[0]


def test_a_datalist_says_what_it_is_and_is_written_whole(make_dataset, tmp_path):
    root = make_dataset(FOLDS)
    path = tmp_path / "lists" / "clip.json"
    write_datalist(split_items(root, "clip"), path, root, "clip")
    document = json.loads(path.read_text())
    assert document["protocol"] == "clip"
    assert document["frames"] == {"training": 2, "validation": 1, "testing": 0}
    assert document["training"][0]["image"] == "data/fold1/fold1_process_img/0000.png"
    assert [file.name for file in path.parent.iterdir()] == ["clip.json"]


def test_a_file_and_its_protocol_give_the_same_items(make_dataset, tmp_path):
    root = make_dataset(FOLDS)
    path = tmp_path / "clip.json"
    write_datalist(split_items(root, "clip"), path, root, "clip")
    for section in ("training", "validation"):
        by_file, by_name = load_datalist(path, section, root), load_datalist("clip", section, root)
        assert by_file == by_name
        assert by_name[0]["clip"] in ("AAAAA1", "BBBBB1")
    assert by_name[0]["image"] == str(root / "data/fold2/fold2_process_img/0000.png")
    assert by_name[0]["label"] == str(root / "data/fold2/fold2_mask/0000.png")


def test_what_a_datalist_lacks_is_named(make_dataset, tmp_path):
    root = make_dataset(FOLDS)
    path = tmp_path / "clip.json"
    write_datalist(split_items(root, "clip"), path, root, "clip")
    with pytest.raises(DatasetError, match="clip.json.*testing.*empty"):
        load_datalist(path, "testing", root)
    with pytest.raises(DatasetError, match="clip.*testing.*empty"):
        load_datalist("clip", "testing", root)
    with pytest.raises(DatasetError, match="clip.json: no section 'train'"):
        load_datalist(path, "train", root)
    with pytest.raises(DatasetError, match="absent.json: no such datalist.*clip, exam, paper"):
        load_datalist(tmp_path / "absent.json", "training", root)
    for text, words in (("{", "is no JSON"), ('{"training": ["a.png"]}', "no section"), ("[]", "no section")):
        path.write_text(text)
        with pytest.raises(DatasetError, match=f"clip.json: {words}"):
            load_datalist(path, "training", root)


def test_null_in_a_datalist_is_what_is_unknown(make_dataset, tmp_path):
    root, path = make_dataset(FOLDS), tmp_path / "own.json"
    item = {"image": "data/fold2/fold2_process_img/0000.png", "label": "data/fold2/fold2_mask/0000.png"}
    path.write_text(json.dumps({"training": [{**item, "clip": None, "exam": None, "fold": 2}]}))
    (loaded,) = load_datalist(path, "training", root)
    assert loaded == {"image": str(root / item["image"]), "label": str(root / item["label"]), "fold": 2}
    for image, words in ((None, "has no 'image'"), (5, "'image' of frame 1 .* is 5"), (["a.png"], "path of one file")):
        path.write_text(json.dumps({"training": [{**item, "image": image}]}))
        with pytest.raises(DatasetError, match=f"own.json: .*{words}"):
            load_datalist(path, "training", root)


def test_a_datalist_of_another_data_set_is_said_to_be_that(make_dataset, tmp_path):
    root, other = make_dataset(FOLDS), make_dataset({3: [("CCCCC1", 1)]}, root=tmp_path / "other")
    path = tmp_path / "clip.json"
    write_datalist(split_items(root, "clip"), path, root, "clip")
    with pytest.raises(DatasetError, match=r"clip.json: .*fold1_process_img/0000.png is missing; name the data set"):
        load_datalist(path, "training", other)
    path.write_text(json.dumps({"testing": [{"image": "data/fold1/fold1_process_img/0000.png"}]}))
    with pytest.raises(DatasetError, match="frame 1 of 'testing' has no 'label'"):
        load_datalist(path, "testing", root)


def test_a_protocol_has_no_other_section(make_dataset):
    with pytest.raises(DatasetError, match="train"):
        load_datalist("clip", "train", make_dataset(FOLDS))
