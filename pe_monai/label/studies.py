# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A folder of studies, frame by frame: pictures, and the frames of clips and ultrasound DICOM."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pe_monai.data import FrameReader
from pe_monai.data.clip_files import ITK_STACK_SUFFIXES, is_clip, open_clip
from pe_monai.data.clips import Clip
from pe_monai.data.reader import NIFTI_SUFFIXES, SUFFIXES, is_dicom
from pe_monai.data.video import VIDEO_SUFFIXES
from pe_monai.errors import FrameError, list_some
from pe_monai.kept import drop_oldest
from pe_monai.whole import write_text_whole

logger = logging.getLogger(__name__)
LABELS, STATE = "labels", ".pe_monai"
SINGLE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")  # never opened to be listed
_LENGTHS, _NAMES = "clips.json", "names.json"
_CHUNK = 16
Stamp = tuple[str, int, int]


@dataclass(frozen=True)
class Frame:
    """A frame of the folder.

    Attributes:
        id: its name towards clients; made of file names, holds no slash.
        path: file it is in.
        stem: name of that file below the folder, without a suffix; unlike the id never cut, and not of one file only.
        clip: name of the clip it belongs to; None for a single picture.
        view: which of the pictures side by side in a DICOM object.
        place: in the clip, from 0.
    """

    id: str
    path: Path
    stem: str
    clip: str | None = None
    view: int = 0
    place: int = 0


class Studies:
    """Frames below a folder; nothing in it is ever changed but ``labels`` and ``.pe_monai``.

    Listing opens no picture. Of files that may hold several frames the number, or why they cannot be used, is read from
    their header once and kept in ``.pe_monai/clips.json``; ``.pe_monai/names.json`` keeps what the frames of a file are
    called.

    Args:
        root: the folder.
        spacing: (row, column) pixel size in mm for files that state none.

    Attributes:
        frames: by their id.
        left_out: why a file that may hold several frames cannot be used, by its path below the folder.

    Raises:
        FrameError: there is no such folder.
    """

    def __init__(self, root: str | Path, spacing: tuple[float, float] | None = None) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise FrameError(f"{self.root}: no such folder; name a folder with frames or clips.")
        self.spacing = spacing
        self.frames: dict[str, Frame] = {}
        self.left_out: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._lock, self._listing = threading.Lock(), threading.Lock()
        self._decoded: OrderedDict[Stamp, np.ndarray] = OrderedDict()
        self._open: OrderedDict[tuple[Path, int, int], list[Clip]] = OrderedDict()
        self.refresh()

    def refresh(self) -> None:
        """List the folder anew. A file keeps its frames' ids, by which labels are found, whatever comes beside it."""
        with self._listing:  # of two at once the one that began first would undo the ids that the other gave
            self._list()

    def _list(self) -> None:
        files = {path.relative_to(self.root): path for path in self._files()}
        stems = {file: _name(file) for file in files}
        shared = Counter(map(str.casefold, stems.values()))
        lengths, known = self._read(_LENGTHS), {}
        written = self._read(_NAMES)
        names = {file: name for file, name in {**self._names, **written}.items() if isinstance(name, str)}
        given: dict[str, str] = {}
        found: dict[Path, dict[str, Frame]] = {}
        taken: set[str] = set()
        left_out: dict[str, str] = {}
        for file, path in sorted(files.items(), key=lambda item: item[0].as_posix() not in names):  # new ones last
            short, long, digest = stems[file], _name(file, suffix=True), _digest(file)
            # two files of one name keep their suffix, so that none ever gets the label of the other
            name = long if shared[short.casefold()] > 1 else short
            if (before := names.get(file.as_posix())) in (short, long, f"{short}-{digest}", f"{long}-{digest}"):
                name = before
            length: list[int] | str = [1]
            if path.suffix.lower() not in SINGLE_SUFFIXES:
                try:
                    status = path.stat()
                except OSError:  # gone meanwhile, or a link to what is gone
                    continue
                key = f"{file.as_posix()}|{status.st_size}|{status.st_mtime_ns}"
                length, lasts = (lengths[key], True) if _is_length(lengths.get(key)) else _count(path)
                if lasts:
                    known[key] = length
            if isinstance(length, str):
                left_out[os.fsencode(file.as_posix()).decode(errors="replace")], length = self.hide(length), []
            frames = {frame.id: frame for frame in _expand(name, path, _plain(file), length)}
            if not taken.isdisjoint(frames):  # a/b.png beside a__b.png, or a picture called clip@001
                name = f"{name}-{digest}"
                frames = {frame.id: frame for frame in _expand(name, path, _plain(file), length)}
            taken.update(frames)
            found[file], given[file.as_posix()] = frames, name
        used = set(given.values())
        # one that is away for a while gets its own back, unless that has gone to another meanwhile
        self._names = {file: name for file, name in names.items() if name not in used} | given
        self._write(_LENGTHS, lengths, known)
        self._write(_NAMES, written, self._names)
        self.frames = {image_id: frame for file in files for image_id, frame in found.get(file, {}).items()}
        if left_out and left_out != self.left_out:
            reasons = [f"{count} x {reason.rstrip('.')}" for reason, count in Counter(left_out.values()).most_common()]
            # without their names, which may be patients'
            logger.warning("%d files hold no frames that can be used: %s", len(left_out), list_some(reasons, "; "))
        self.left_out = left_out

    def pixels(self, frame: Frame) -> np.ndarray:
        """The frame, uint8 (H, W) or (H, W, 3), row first as displayed.

        Raises:
            FrameError: it cannot be decoded.
        """
        stamp = self.stamp(frame)
        with self._lock:
            if stamp in self._decoded:
                self._decoded.move_to_end(stamp)
                return self._decoded[stamp]
            clip = self._clip(frame, stamp)
            # a clip is looked at in order, and seeking costs more than decoding on
            stop = frame.place + (_CHUNK if frame.clip else 1)
            siblings = {(other.view, other.place): (other.id, *stamp[1:]) for other in self._siblings(frame)}
            try:
                for place, pixels in enumerate(clip.frames(frame.place, stop), start=frame.place):
                    if (frame.view, place) in siblings:
                        self._decoded[siblings[frame.view, place]] = pixels
            except FrameError:
                if stamp not in self._decoded:  # otherwise one further on is damaged, which nobody has asked for
                    raise
            if stamp not in self._decoded:
                raise FrameError(f"{frame.path}: its frame {frame.place + 1} cannot be decoded; export it again.")
            pixels = self._decoded[stamp]
            drop_oldest(self._decoded, lambda kept: kept.nbytes)
            return pixels

    def stamp(self, frame: Frame) -> Stamp:
        """Id of the frame, size and time of its file: what tells it from one whose file has taken its place.

        Raises:
            FrameError: the file is gone, or a link that leaves the folder has taken its place.
        """
        try:
            if not frame.path.resolve().is_relative_to(self.root.resolve()):
                raise FrameError(f"{frame.path}: is a link out of the folder; put the file itself there.")
            status = frame.path.stat()
        except OSError as e:
            raise FrameError(f"{frame.path}: is gone; put it back, or reload the list of frames.") from e
        return frame.id, status.st_size, status.st_mtime_ns

    def pixel_size(self, frame: Frame) -> tuple[float, float] | None:
        """(row, column) pixel size in mm; None if unknown."""
        if frame.path.suffix.lower() in SINGLE_SUFFIXES:
            return self.spacing
        stamp = self.stamp(frame)
        with self._lock:
            return self._clip(frame, stamp).spacing or self.spacing

    def hide(self, text: str) -> str:
        """A text for clients: where the folder lies is nobody's business."""
        return text.replace(f"{self.root}{os.sep}", "").replace(str(self.root), "FOLDER")

    def affine(self, frame: Frame) -> np.ndarray:
        """Where the frame lies, 4x4 RAS; that of a picture as ITK, and so 3D Slicer, reads it: the identity in LPS."""
        if frame.clip is None and frame.path.name.lower().endswith((*NIFTI_SUFFIXES, *ITK_STACK_SUFFIXES)):
            return np.asarray(FrameReader().get_data(frame.path)[1]["affine"])
        return np.diag([-1.0, -1.0, 1.0, 1.0])

    def _siblings(self, frame: Frame) -> list[Frame]:
        if frame.clip is None:
            return [frame]
        width = len(frame.id.rpartition("@")[2])
        names = (f"{frame.clip}@{place + 1:0{width}d}" for place in range(frame.place, frame.place + _CHUNK))
        return [self.frames[name] for name in names if name in self.frames]

    def _clip(self, frame: Frame, stamp: Stamp) -> Clip:
        key = frame.path, *stamp[1:]
        if key not in self._open:
            self._open[key] = open_file(frame.path)
            while len(self._open) > 8:
                self._open.popitem(last=False)
        if frame.view >= len(self._open[key]):
            raise FrameError(f"{frame.path}: has changed; reload the list of frames.")
        return self._open[key][frame.view]

    def _files(self) -> Iterator[Path]:
        reader, root = FrameReader(), self.root.resolve()
        for folder, folders, names in os.walk(self.root):
            top = Path(folder) == self.root
            folders[:] = sorted(n for n in folders if not n.startswith(".") and not (top and n == LABELS))
            for name in sorted(names):
                path = Path(folder) / name
                if name.startswith("."):
                    continue
                try:
                    # a link may point anywhere, and to open a pipe is to wait for ever
                    inside = path.is_file() and path.resolve().is_relative_to(root)
                    taken = inside and (path.suffix.lower() in VIDEO_SUFFIXES or reader.verify_suffix(path))
                except (OSError, RuntimeError):  # it may not be read, or is a link in a circle
                    continue
                if taken:
                    yield path

    def _read(self, name: str) -> dict[str, Any]:
        try:
            kept = json.loads((self.root / STATE / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}

    def _write(self, name: str, before: dict[str, Any], kept: dict[str, Any]) -> None:
        if kept != before:
            with contextlib.suppress(OSError):  # of a folder that is read only the clips are counted at every start
                write_text_whole(self.root / STATE / name, json.dumps(kept))


def open_file(path: Path) -> list[Clip]:
    """The clips of a file, one for each picture in it; a single picture is a clip of one frame.

    Raises:
        FrameError: it cannot be read.
    """
    try:
        if not is_dicom(path):
            return [open_clip(path)]
        from pe_monai.dicom.reader import open_ultrasound

        return list(open_ultrasound(path))
    except OSError as e:
        raise FrameError(f"{path}: cannot be read ({e.strerror}); see who may read it.") from e


def _count(path: Path) -> tuple[list[int] | str, bool]:
    """Number of frames of each view of a file, or why it cannot be used, without its name.

    And whether that stays while the file does: not if it may not be read, or what decodes videos is not installed.
    """
    error: BaseException | None
    try:
        with path.open("rb"):
            pass  # a stack that may not be read would count as a picture
        if is_dicom(path) or is_clip(path):
            return [len(clip) for clip in open_file(path)], True
        return [1], True
    except FrameError as e:
        error, reason = e, str(e).removeprefix(f"{path}: ").replace(str(path), "the file")
        if path.suffix:  # a name such as 1 would be found in any text
            reason = reason.replace(path.name, "the file")
    except OSError as e:
        error, reason = e, f"cannot be read ({e.strerror}); see who may read it."
    while error is not None and not isinstance(error, (OSError, ImportError)):
        error = error.__cause__
    return reason, error is None


def _is_length(kept: Any) -> bool:
    """Whether what was kept of a file is a number of frames of each view, or a reason."""
    if isinstance(kept, list):
        return bool(kept) and all(isinstance(count, int) and count > 0 for count in kept)
    return isinstance(kept, str)


def _expand(name: str, path: Path, stem: str, lengths: list[int]) -> Iterator[Frame]:
    for view, length in enumerate(lengths):
        clip = name if len(lengths) == 1 else f"{name}-view{view + 1}"
        if length == 1:
            yield Frame(clip, path, stem, None, view)
            continue
        width = max(len(str(length)), 3)
        for place in range(length):
            yield Frame(f"{clip}@{place + 1:0{width}d}", path, stem, clip, view, place)


def _name(path: Path, suffix: bool = False) -> str:
    """A file's path as one word; long ones are cut and hashed, as they become names of files in turn."""
    name = _plain(path, suffix)
    if len(name.encode()) <= 160:
        return name
    return f"{name.encode()[:140].decode(errors='ignore')}-{_digest(path)}"


def _plain(path: Path, suffix: bool = False) -> str:
    name = os.fsencode(path.as_posix()).decode(errors="replace")  # whatever an old archive left in a name
    if not suffix:
        ends = (end for end in (".nii.gz", *SUFFIXES, *VIDEO_SUFFIXES) if path.name.lower().endswith(end))
        name = name[: len(name) - len(next((end for end in ends if len(path.name) > len(end)), ""))]
    return name.replace("/", "__")


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path.as_posix())).hexdigest()[:12]
