# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of results are there whole or not at all, and nobody else's folder is replaced."""

from __future__ import annotations

import os

import pytest

from pe_monai.studies.folder import MARK, drop_other_study, drop_others, find_other_studies, whole_folder


def fill(path, text: str) -> None:
    with whole_folder(path) as folder:
        (folder / MARK).write_text(text)


def test_new_and_replaced(tmp_path):
    target = tmp_path / "a" / "clip-1"
    fill(target, "first")
    (target / "more.png").write_text("old")
    fill(target, "second")
    assert [path.name for path in target.iterdir()] == [MARK]
    assert (target / MARK).read_text() == "second"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("names", [("a", "a/b", "a"), ("a/b", "a")])
def test_clip_beside_a_folder_of_its_name(tmp_path, names):
    for name in names:
        fill(tmp_path / name, name)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} == {
        "a", "a/b", f"a/{MARK}", f"a/b/{MARK}"
    }  # fmt: skip
    assert (tmp_path / "a" / MARK).read_text() == "a"


def test_failure_leaves_what_was_there(tmp_path):
    target = tmp_path / "clip-1"
    with pytest.raises(RuntimeError), whole_folder(target) as folder:
        (folder / MARK).write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    fill(target, "first")
    with pytest.raises(RuntimeError), whole_folder(target):
        raise RuntimeError
    assert (target / MARK).read_text() == "first"
    assert list(tmp_path.iterdir()) == [target]


def test_what_was_there_comes_back_where_it_cannot_be_replaced(tmp_path):
    target = tmp_path / "clip-1"
    fill(target, "first")
    with pytest.raises(FileNotFoundError), whole_folder(target) as folder:
        folder.rmdir()
    assert (target / MARK).read_text() == "first"
    assert list(tmp_path.iterdir()) == [target]


def test_folder_or_file_of_someone_else_is_not_replaced(tmp_path):
    other, file = tmp_path / "photos", tmp_path / "file"
    other.mkdir()
    (other / "me.jpg").write_text("me")
    file.write_text("text")
    for target in (other, file):
        with pytest.raises(FileExistsError, match="another output"):
            fill(target, "new")
    assert (other / "me.jpg").read_text() == "me"
    empty = tmp_path / "empty"
    empty.mkdir()
    fill(empty, "new")


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell whether a process lives")
def test_two_runs_at_once_leave_each_other_alone(tmp_path):
    other = tmp_path / f".partial-{os.getppid()}-clip-1"
    other.mkdir()
    fill(tmp_path / "clip-1", "ours")
    drop_others(tmp_path, [tmp_path / "clip-1"])
    assert other.is_dir() and (tmp_path / "clip-1" / MARK).read_text() == "ours"


def test_what_a_killed_run_left_goes(tmp_path):
    for name in (
        ".partial-9999999-clip-1",
        ".old-9999999-clip-1",
        ".partial-9999999-other-clip-1",
        ".partial-9999999-8-clip-1",
    ):
        fill(tmp_path / name, "left")
    fill(tmp_path / "clip-1", "new")
    assert {path.name for path in tmp_path.iterdir()} == {
        "clip-1",
        ".partial-9999999-other-clip-1",
        ".partial-9999999-8-clip-1",
    }


@pytest.mark.parametrize("replaced", [False, True])
def test_clips_beneath_one_that_a_kill_left_half_replaced_stay(tmp_path, replaced):
    fill(tmp_path / "a", "first")
    fill(tmp_path / "a/b", "beneath")
    (tmp_path / "a").rename(tmp_path / ".old-9999999-a")
    fill(tmp_path / ".partial-9999999-a", "second")
    if replaced:
        (tmp_path / ".partial-9999999-a").rename(tmp_path / "a")
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "a"):
        raise RuntimeError
    assert (tmp_path / "a" / MARK).read_text() == ("second" if replaced else "first")
    fill(tmp_path / "a", "third")
    assert (tmp_path / "a" / MARK).read_text() == "third"
    assert (tmp_path / "a/b" / MARK).read_text() == "beneath"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_clips_of_an_earlier_run_leave_the_study(tmp_path):
    for name in ("clip-1", "clip-2", "clip-10", ".partial-9999999-clip-3"):
        fill(tmp_path / name, "results")
    (tmp_path / "clip-notes").mkdir()
    drop_others(tmp_path, [tmp_path / "clip-1"])
    assert {path.name for path in tmp_path.iterdir()} == {"clip-1", "clip-notes"}


def test_studies_of_an_earlier_run_are_found(tmp_path):
    for name in ("study-1", "study-2", "study-10", "study-notes"):
        (tmp_path / name).mkdir()
    found = find_other_studies(tmp_path, [tmp_path / "study-1"])
    assert [path.name for path in found] == ["study-2", "study-10"]


def test_the_longest_name_of_a_folder(tmp_path):
    fill(tmp_path / ("n" * 255), "first")
    fill(tmp_path / ("n" * 255), "second")
    assert [(path.name, (path / MARK).read_text()) for path in tmp_path.iterdir()] == [("n" * 255, "second")]


def test_another_study_goes_before_its_number_is_taken(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    study = tmp_path / "study-1"
    for name in ("clip-1", "clip-2"):
        fill(study / name, "first")
    (study / "report.html").write_text("first")
    owned = pydicom.Dataset()
    owned.file_meta = pydicom.dataset.FileMetaDataset()
    owned.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    owned.SOPClassUID, owned.SOPInstanceUID, owned.StudyInstanceUID, owned.PatientID = "1.2", "1.3", "1.4", "P1"
    owned.save_as(study / "clip-1" / "segmentation.dcm", enforce_file_format=True)
    drop_other_study(study, "1.4", "P1")
    assert {path.name for path in study.iterdir()} == {"clip-1", "clip-2", "report.html"}
    drop_other_study(study, "1.4", "P2")
    assert list(study.iterdir()) == []
