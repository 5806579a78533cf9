# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A folder of studies, frame by frame: pictures, and the frames of clips and ultrasound DICOM."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pe_monai.data import FrameReader, write_whole
from pe_monai.data.clip_files import ITK_STACK_SUFFIXES, is_clip, open_clip
from pe_monai.data.clips import Clip
from pe_monai.data.reader import NIFTI_SUFFIXES, SUFFIXES, is_dicom
from pe_monai.data.video import VIDEO_SUFFIXES
from pe_monai.errors import FrameError

LABELS, STATE = "labels", ".pe_monai"
SINGLE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")  # never opened to be listed
_CHUNK, _KEPT = 16, 128


@dataclass(frozen=True)
class Frame:
    """A frame of the folder.

    Attributes:
        id: its name towards clients; made of file names, holds no slash.
        path: file it is in.
        clip: name of the clip it belongs to; None for a single picture.
        view: which of the pictures side by side in a DICOM object.
        place: in the clip, from 0.
    """

    id: str
    path: Path
    clip: str | None = None
    view: int = 0
    place: int = 0


class Studies:
    """Frames below a folder; nothing in it is ever changed but ``labels`` and ``.pe_monai``.

    Listing opens no picture. Of files that may hold several frames the number is read from their header once and kept
    in ``.pe_monai/clips.json``.

    Args:
        root: the folder.
        spacing: (row, column) pixel size in mm for files that state none.

    Raises:
        FrameError: there is no such folder.
    """

    def __init__(self, root: str | Path, spacing: tuple[float, float] | None = None) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise FrameError(f"{self.root}: no such folder; name a folder with frames or clips.")
        self.spacing = spacing
        self.frames: dict[str, Frame] = {}
        self._lock = threading.Lock()
        self._decoded: OrderedDict[str, np.ndarray] = OrderedDict()
        self._open: OrderedDict[Path, list[Clip]] = OrderedDict()
        self.refresh()

    def refresh(self) -> None:
        """List the folder anew."""
        files = list(self._files())
        stems = [_name(path.relative_to(self.root)) for path in files]
        shared = {stem for stem, count in Counter(stem.casefold() for stem in stems).items() if count > 1}
        lengths, known = self._read_lengths(), {}
        frames: dict[str, Frame] = {}
        for path, stem in zip(files, stems, strict=True):
            # two files of one name keep their suffix, so that none ever gets the label of the other
            name = _name(path.relative_to(self.root), suffix=True) if stem.casefold() in shared else stem
            if path.suffix.lower() in SINGLE_SUFFIXES:
                frames[name] = Frame(name, path)
                continue
            status = path.stat()
            key = f"{path.relative_to(self.root).as_posix()}|{status.st_size}|{status.st_mtime_ns}"
            known[key] = lengths[key] if key in lengths else _count(path)
            for frame in _expand(name, path, known[key]):
                frames[frame.id] = frame
        if known != lengths:
            write_whole(self._lengths_file, lambda partial: partial.write_text(json.dumps(known), encoding="utf-8"))
        self.frames = frames

    def pixels(self, frame: Frame) -> np.ndarray:
        """The frame, uint8 (H, W) or (H, W, 3), row first as displayed.

        Raises:
            FrameError: it cannot be decoded.
        """
        with self._lock:
            if frame.id in self._decoded:
                self._decoded.move_to_end(frame.id)
                return self._decoded[frame.id]
            clip = self._clip(frame)
            # a clip is looked at in order, and seeking costs more than decoding on
            stop = frame.place + (_CHUNK if frame.clip else 1)
            siblings = {(other.view, other.place): other.id for other in self._siblings(frame)}
            for place, pixels in enumerate(clip.frames(frame.place, stop), start=frame.place):
                self._decoded[siblings.get((frame.view, place), frame.id)] = pixels
            if frame.id not in self._decoded:
                raise FrameError(f"{frame.path}: its frame {frame.place + 1} cannot be decoded; export it again.")
            pixels = self._decoded[frame.id]
            while len(self._decoded) > _KEPT:
                self._decoded.popitem(last=False)
            return pixels

    def pixel_size(self, frame: Frame) -> tuple[float, float] | None:
        """(row, column) pixel size in mm; None if unknown."""
        if frame.path.suffix.lower() in SINGLE_SUFFIXES:
            return self.spacing
        with self._lock:
            return self._clip(frame).spacing or self.spacing

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

    def _clip(self, frame: Frame) -> Clip:
        if frame.path not in self._open:
            self._open[frame.path] = open_file(frame.path)
            while len(self._open) > 8:
                self._open.popitem(last=False)
        return self._open[frame.path][frame.view]

    def _files(self) -> Iterator[Path]:
        reader = FrameReader()
        for folder, folders, names in os.walk(self.root):
            top = Path(folder) == self.root
            folders[:] = sorted(n for n in folders if not n.startswith(".") and not (top and n == LABELS))
            for name in sorted(names):
                path = Path(folder) / name
                if name.startswith(".") or not path.resolve().is_relative_to(self.root.resolve()):
                    continue  # a link may point anywhere
                if path.suffix.lower() in VIDEO_SUFFIXES or reader.verify_suffix(path):
                    yield path

    @property
    def _lengths_file(self) -> Path:
        return self.root / STATE / "clips.json"

    def _read_lengths(self) -> dict[str, list[int]]:
        try:
            return json.loads(self._lengths_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}


def open_file(path: Path) -> list[Clip]:
    """The clips of a file, one for each picture in it; a single picture is a clip of one frame.

    Raises:
        FrameError: it cannot be read.
    """
    if not is_dicom(path):
        return [open_clip(path)]
    from pe_monai.dicom.reader import open_ultrasound

    return list(open_ultrasound(path))


def _count(path: Path) -> list[int]:
    """Number of frames of each view of a file; none where it cannot be used, [] likewise for what is no ultrasound."""
    try:
        if is_dicom(path) or is_clip(path):
            return [len(clip) for clip in open_file(path)]
        return [1]
    except FrameError:
        return []


def _expand(name: str, path: Path, lengths: list[int]) -> Iterator[Frame]:
    for view, length in enumerate(lengths):
        clip = name if len(lengths) == 1 else f"{name}-view{view + 1}"
        if length == 1:
            yield Frame(clip, path, None, view)
            continue
        width = max(len(str(length)), 3)
        for place in range(length):
            yield Frame(f"{clip}@{place + 1:0{width}d}", path, clip, view, place)


def _name(path: Path, suffix: bool = False) -> str:
    """A file's path as one word; long ones are cut and hashed, as they become names of files in turn."""
    plain = path.as_posix()
    name = plain
    if not suffix:
        ends = (end for end in (".nii.gz", *SUFFIXES, *VIDEO_SUFFIXES) if path.name.lower().endswith(end))
        name = plain[: len(plain) - len(next((end for end in ends if len(path.name) > len(end)), ""))]
    name = name.replace("/", "__")
    if len(name.encode()) <= 160:
        return name
    return f"{name.encode()[:140].decode(errors='ignore')}-{hashlib.sha256(plain.encode()).hexdigest()[:12]}"
