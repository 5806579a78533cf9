# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Which files are frames, and that no two results fall on one another."""

from __future__ import annotations

import os

import pytest

from pe_monai.data import collect_frames, list_frames
from pe_monai.data.clip_files import is_clip
from pe_monai.errors import FrameError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in/b.png", "in/a.JPG", "in/deep/er/a.nii.gz", "in/deep/c.mha", "in/notes.txt", "other/a.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "in/IM0001").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "in/looks like.png").mkdir()
    return tmp_path


def stems(*inputs):
    frames, errors = collect_frames(inputs)
    assert errors == []
    return [frame.stem for frame in frames]


def test_frames_are_listed_at_any_depth_and_by_content_where_they_have_no_suffix(folder):
    names = [os.path.relpath(path, folder / "in").replace(os.sep, "/") for path in list_frames(folder / "in")]
    assert names == ["IM0001", "a.JPG", "b.png", "deep/c.mha", "deep/er/a.nii.gz"]


def test_hidden_files_are_no_frames(folder):
    for name in ("in/._b.png", "in/.partial-9999999-b.png", "in/deep/._c.mha"):
        (folder / name).write_bytes(b"x")
    assert stems("in") == ["IM0001", "a", "b", "deep/c", "deep/er/a"]
    assert stems("in/._b.png") == ["._b"], "what is named is taken"


def test_a_folder_without_frames_is_an_error(folder):
    (folder / "empty").mkdir()
    with pytest.raises(FrameError, match="empty: no frame"):
        list_frames(folder / "empty")
    with pytest.raises(FrameError, match="absent: no such folder"):
        list_frames(folder / "absent")


def test_results_keep_the_path_below_the_folder_without_the_whole_suffix(folder):
    assert stems(folder / "in") == ["IM0001", "a", "b", "deep/c", "deep/er/a"]
    assert stems(folder / "in/deep/er/a.nii.gz", folder / "in/b.png") == ["a", "b"]


def test_results_that_would_collide_get_numbers(folder):
    assert stems(folder / "in/a.JPG", folder / "other/a.png", folder / "in/deep/er/a.nii.gz") == ["a", "a-2", "a-3"]
    for name in ("A.png", "a-2.png"):
        (folder / "other" / name).write_bytes(b"x")
    found = stems(folder / "in/a.JPG", folder / "other")
    assert len({stem.casefold() for stem in found}) == len(found) == len(os.listdir(folder / "other")) + 1


def test_a_file_given_twice_is_taken_once(folder):
    assert stems("in/b.png", "./in/b.png", folder / "in/b.png", "other/../in/b.png") == ["b"]
    assert stems("in", "in/deep", folder / "in/b.png") == ["IM0001", "a", "b", "deep/c", "deep/er/a"]


def test_the_paths_stay_as_given_and_in_order(folder):
    frames, _ = collect_frames(["other/a.png", "in/b.png"])
    assert [frame.path.as_posix() for frame in frames] == ["other/a.png", "in/b.png"]


def test_what_is_missing_is_an_error_beside_the_frames_found(folder):
    (folder / "empty").mkdir()
    frames, errors = collect_frames([folder / "gone.png", folder / "in/b.png", folder / "empty"])
    assert [frame.stem for frame in frames] == ["b"]
    assert len(errors) == 2 and all(isinstance(error, FrameError) for error in errors)
    assert "gone.png: no such file" in str(errors[0])
    assert "empty: no frame" in str(errors[1])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_an_error_and_is_never_opened(folder):
    for name in ("pipe.png", "pipe.zip", "DICOMDIR"):
        os.mkfifo(folder / name)
    frames, errors = collect_frames([folder / "pipe.png", folder / "in/b.png"])
    assert [frame.stem for frame in frames] == ["b"]
    assert "pipe.png: is a pipe or device" in str(errors[0])
    assert not is_clip(folder / "pipe.png")


def test_a_file_named_is_taken_whatever_its_suffix(folder):
    assert stems(folder / "in/notes.txt", folder / "in/IM0001") == ["notes.txt", "IM0001"]
    for name in (".png", "a.b.png", ".nii.gz"):
        (folder / "other" / name).write_bytes(b"x")
    assert stems(folder / "other/.png", folder / "other/a.b.png", folder / "other/.nii.gz") == [
        ".png",
        "a.b",
        ".nii.gz",
    ]
