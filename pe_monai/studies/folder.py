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

MARK, PAGE = "measurements.json", "report.html"


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


def drop_other_studies(output: Path, studies: Collection[Path]) -> None:
    """Remove the studies of an earlier run of more studies; folders that hold anything else stay, and a run of none
    leaves them all.

    Args:
        output: the folder of all studies.
        studies: the folders that belong to it now.
    """
    for path in output.glob("study-*") if studies else ():
        if path not in studies and re.fullmatch(r"study-\d+", path.name) and _holds_results_alone(path):
            shutil.rmtree(path)


def _holds_results_alone(study: Path) -> bool:
    return all((path / MARK).is_file() if path.is_dir() else path.name == PAGE for path in study.iterdir())
