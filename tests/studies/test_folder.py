# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of results are there whole or not at all, and nobody else's folder is replaced."""

from __future__ import annotations

import pytest

from pe_monai.studies.folder import MARK, whole_folder


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
