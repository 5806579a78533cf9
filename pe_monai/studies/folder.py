# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of results that are there whole or not at all, and of one run."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

MARK = "measurements.json"


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill beside ``path``; it takes that name, in the place of older results, if nothing goes wrong.

    Args:
        path: the folder to be.

    Raises:
        FileExistsError: ``path`` is there and holds no results, so that it is not ours to replace.
        OSError: what the operating system says.
    """
    if path.exists() and not (path / MARK).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(17, "exists and holds no results of pe_monai; name another output folder", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name[-50:]  # with what stands before it, no longer than a file's name may be
    partial, old = (path.with_name(f".{kind}-{os.getpid()}-{name}") for kind in ("partial", "old"))
    for left in _leftovers(path.parent, re.escape(name)):
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            path.rename(old)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def drop_others(study: Path, clips: Collection[Path]) -> None:
    """Remove the clips of an earlier run, which may be another patient's, and what a killed one left.

    Args:
        study: the folder of a study.
        clips: the folders that belong to it now.
    """
    earlier = [path for path in study.glob("clip-*") if path not in clips and (path / MARK).is_file()]
    for path in (*earlier, *_leftovers(study, r"clip-\d+")):
        shutil.rmtree(path)


def _leftovers(folder: Path, name: str) -> list[Path]:
    """Folders that runs which were killed left of results with a name like this pattern."""
    pattern = re.compile(rf"\.(partial|old)-\d+-{name}")
    return [path for path in folder.glob(".*") if pattern.fullmatch(path.name)]
