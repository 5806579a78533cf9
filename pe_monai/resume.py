# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What an earlier run into a folder of results has done, so that a later one goes on instead of starting again."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pe_monai.data import FrameFile
from pe_monai.data.reader import ITK_SUFFIXES
from pe_monai.data.writer import result_suffix
from pe_monai.errors import BundleError
from pe_monai.predictor import Predictor
from pe_monai.results import COLUMNS, provenance

# the header of a NRRD or MetaImage whose pixels lie in another file
_DETACHED = re.compile(rb"^(?:data ?file[ \t]*:|ElementDataFile\s*=\s*(?!LOCAL\b))", re.IGNORECASE | re.MULTILINE)
_HEADER = 65536
_DECIDING = ("weights_sha256", "settings", "pe_monai")


def find_done(
    folder: str | Path, frames: Sequence[FrameFile], predictor: Predictor, kinds: Mapping[str, bool]
) -> list[dict]:
    """Rows of the frames that need not be segmented again.

    A frame is done if its row in ``frames.csv`` is whole and says so, and every file wanted of it is where it would be
    written now and no older than the frame and its arrival there. A NRRD or MetaImage whose pixels lie in another file
    is never taken for done, as they may have changed.

    Args:
        folder: of the results.
        frames: all that are to be segmented.
        predictor: what is to segment them.
        kinds: which of ``overlays``, ``probabilities`` and ``sectors`` are wanted.

    Raises:
        BundleError: the results are of other weights or settings.
    """
    folder = Path(folder)
    table, manifest = folder / "frames.csv", folder / "manifest.json"
    if not table.is_file() or not manifest.is_file():
        return []
    try:
        earlier = json.loads(manifest.read_text(encoding="utf-8"))
    except ValueError:
        earlier = {}
    now = json.loads(json.dumps(provenance(predictor)))
    for key in _DECIDING:
        if earlier.get(key) != now[key]:
            raise BundleError(
                f"{folder}: its results were made with {key} {earlier.get(key)}, not {now[key]}; "
                "leave --resume out, or name another folder."
            )
    # a run that was killed leaves half a row at the end
    text = table.read_bytes().rpartition(b"\n")[0].decode("utf-8")
    rows = {row["file"]: row for row in csv.DictReader(text.splitlines(keepends=True)) if _is_whole(row)}
    return [
        rows[name]
        for frame in frames
        if (name := str(frame.path)) in rows and _has_files(folder, frame, rows[name], kinds)
    ]


def _is_whole(row: dict) -> bool:
    return set(row) == set(COLUMNS) and row["status"] == "ok" and None not in row.values()


def _has_files(folder: Path, frame: FrameFile, row: dict, kinds: Mapping[str, bool]) -> bool:
    mask = Path("masks", frame.stem + result_suffix(frame.path))
    if row["mask"] != mask.as_posix():  # among other inputs its results had another place, which may be another's now
        return False
    wanted = [folder / mask]
    wanted += [folder / kind / mask.relative_to("masks") for kind in ("probabilities", "sectors") if kinds[kind]]
    if kinds["overlays"]:
        wanted.append(folder / "overlays" / f"{frame.stem}.png")
    try:
        if frame.path.suffix.lower() in ITK_SUFFIXES and _is_detached(frame.path):
            return False
        source = frame.path.stat()
        # a copy may keep the time of its original, but not that of its own arrival
        return min(path.stat().st_mtime for path in wanted) >= max(source.st_mtime, source.st_ctime)
    except OSError:
        return False


def _is_detached(path: Path) -> bool:
    with path.open("rb") as file:
        return _DETACHED.search(file.read(_HEADER)) is not None
