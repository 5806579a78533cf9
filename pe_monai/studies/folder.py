# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of results that are there whole or not at all, and of one run."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from pe_monai.whole import find_leftovers, replace_folder

MARK = "measurements.json"
_NUMBERED = re.compile(r"study-(\d+)")


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
    with replace_folder(path) as partial:
        yield partial


def drop_others(study: Path, clips: Collection[Path]) -> None:
    """Remove the clips of an earlier run, which may be another patient's, and what a killed one left.

    Args:
        study: the folder of a study.
        clips: the folders that belong to it now.
    """
    earlier = [path for path in study.glob("clip-*") if path not in clips and (path / MARK).is_file()]
    for path in (*earlier, *find_leftovers(study, r"clip-\d+")):
        shutil.rmtree(path)


def find_other_studies(output: Path, studies: Collection[Path]) -> list[Path]:
    """The studies that an earlier run left in an output folder, by number; they are whole, and perhaps still wanted.

    Args:
        output: the folder of all studies.
        studies: the folders that belong to the present run.
    """
    found = {int(match[1]): path for path in output.glob("study-*") if (match := _NUMBERED.fullmatch(path.name))}
    return [found[number] for number in sorted(found) if found[number] not in studies]
