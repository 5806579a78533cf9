# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of results that are there whole or not at all, and of one run."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from pe_monai.whole import find_folders, find_leftovers, replace_folder

MARK, OBJECT, PAGE = "measurements.json", "segmentation.dcm", "report.html"
_NUMBERED = re.compile(r"study-(\d+)")


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill beside ``path``; it takes that name, in the place of older results, if nothing goes wrong.

    Folders in it stay: results are files, and a clip a.mp4 may lie beside a folder a with clips of its own.

    Args:
        path: the folder to be.

    Raises:
        FileExistsError: ``path`` is there and holds no results, so that it is not ours to replace.
        OSError: what the operating system says.
    """
    is_ours = (path / MARK).is_file() or path.is_dir() and len(find_folders(path)) == len(list(path.iterdir()))
    if path.exists() and not is_ours:
        raise FileExistsError(17, "exists and holds no results of pe_monai; name another output folder", str(path))
    with replace_folder(path, keep_folders=True) as partial:
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


def drop_other_study(study: Path, uid: str, patient: str) -> None:
    """Remove another study's results before the first clip is written, lest a run that breaks off leave both mixed.

    Args:
        study: the folder of a study.
        uid: Study Instance UID of what it is to hold.
        patient: the Patient ID.
    """
    from pydicom import dcmread

    for path in sorted(study.glob(f"clip-*/{OBJECT}")):
        try:
            found = dcmread(path, stop_before_pixels=True, specific_tags=["StudyInstanceUID", "PatientID"])
            owner = (str(found.get("StudyInstanceUID") or ""), str(found.get("PatientID") or ""))
        except Exception:  # pydicom raises what it likes on damaged bytes
            continue
        if owner != (uid, patient):
            (study / PAGE).unlink(missing_ok=True)
            drop_others(study, [])
            return


def find_other_studies(output: Path, studies: Collection[Path]) -> list[Path]:
    """The studies that an earlier run left in an output folder, by number; they are whole, and perhaps still wanted.

    Args:
        output: the folder of all studies.
        studies: the folders that belong to the present run.
    """
    found = {int(match[1]): path for path in output.glob("study-*") if (match := _NUMBERED.fullmatch(path.name))}
    return [found[number] for number in sorted(found) if found[number] not in studies]
