# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Which files hold frames, and where the results of each of them go."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pe_monai.data.reader import NIFTI_SUFFIXES, SUFFIXES, FrameReader
from pe_monai.errors import FrameError


@dataclass(frozen=True)
class FrameFile:
    """A file that should hold a frame.

    Attributes:
        path: where it lies.
        stem: path of its results below an output folder, with forward slashes and without a suffix; unique in a batch,
            and valid text where the file's name is in another encoding than the system's.
    """

    path: Path
    stem: str


def list_frames(folder: str | Path, accept: Callable[[Path], bool] | None = None) -> list[str]:
    """Paths of all files below a folder that have a suffix of a frame or are DICOM, sorted.

    Hidden files are left out: macOS puts one beside each file on a foreign disk, a kill leaves half of one.

    Args:
        folder: the folder.
        accept: which files to take instead.

    Raises:
        FrameError: the folder is missing or holds none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FrameError(f"{folder}: no such folder; name a folder with frames.")
    accept = accept or FrameReader().verify_suffix
    found = (path for path in folder.rglob("*") if not path.name.startswith(".") and path.is_file())
    paths = sorted(str(path) for path in found if accept(path))
    if not paths:
        raise FrameError(f"{folder}: no frame in it or below it; a frame is DICOM or ends with {' '.join(SUFFIXES)}.")
    return paths


def collect_frames(
    inputs: Iterable[str | Path], accept: Callable[[Path], bool] | None = None
) -> tuple[list[FrameFile], list[FrameError]]:
    """Find the frames behind any mix of files and folders.

    A file keeps its name, a file below a given folder its path below that folder. Where two results would fall on one
    another, the later one gets a number.

    Args:
        inputs: files and folders.
        accept: which files below a folder to take; those that :class:`FrameReader` knows by default.

    Returns:
        The frames in the order given, each file once, and an error for each input that is missing or holds none.
    """
    found: dict[str, tuple[Path, PurePosixPath]] = {}
    errors = []
    for given in map(Path, inputs):
        if given.is_dir():
            try:
                paths = [Path(path) for path in list_frames(given, accept)]
            except FrameError as e:
                errors.append(e)
                continue
            for path in paths:
                found.setdefault(os.path.abspath(path), (path, PurePosixPath(path.relative_to(given).as_posix())))
        elif given.is_file():
            found.setdefault(os.path.abspath(given), (given, PurePosixPath(given.name)))
        elif given.exists():  # opening a pipe would wait for who writes into it
            errors.append(FrameError(f"{given}: is a pipe or device; give a file."))
        else:
            errors.append(FrameError(f"{given}: no such file or folder; check the path."))
    taken: set[str] = set()
    frames = []
    for path, name in found.values():
        stem = os.fsencode(_without_suffix(name)).decode("utf-8", "replace")
        unique, number = stem, 2
        while unique.casefold() in taken:
            unique, number = f"{stem}-{number}", number + 1
        taken.add(unique.casefold())
        frames.append(FrameFile(path, unique))
    return frames, errors


def _without_suffix(name: PurePosixPath) -> str:
    lower = name.name.lower()
    for suffix in sorted((*NIFTI_SUFFIXES, *SUFFIXES), key=len, reverse=True):
        if lower.endswith(suffix) and len(lower) > len(suffix):
            return str(name.with_name(name.name[: -len(suffix)]))
    return str(name)
