# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Ultrasound objects as clips: frames decoded lazily, their times, the pixel size and the R peak."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.uid import UID

from pe_monai.data.clips import Clip
from pe_monai.dicom.identity import check_source
from pe_monai.dicom.pixels import PixelFile
from pe_monai.dicom.regions import View, find_views
from pe_monai.dicom.sop_classes import ULTRASOUND
from pe_monai.errors import FrameError

_LONGEST_FRAME_MS = 10_000


class UltrasoundClip(Clip):
    """A B-mode picture of an ultrasound object over time.

    Attributes:
        header: the object without its pixels; its Number of Frames is that of whole frames in the file.
        box: rows and columns that are looked at, zero around them; None for the whole frame.
    """

    def __init__(self, path: Path, pixels: PixelFile, view: View, name: str) -> None:
        header = pixels.header
        self.name, self.path, self.header = name, path, header
        self.size = (int(header.Rows), int(header.Columns))
        self.box, self.spacing, self.notes = view.box, view.spacing, view.notes
        if pixels.held < pixels.announced:
            header.NumberOfFrames = pixels.held
            self.faults = (f"announces {pixels.announced} frames and holds {pixels.held}; the rest is missing.",)
        elif pixels.unannounced:
            total = pixels.held + pixels.unannounced
            self.faults = (f"announces {pixels.announced} frames and holds {total}; the rest is not looked at.",)
        self.times_ms = frame_times(header, pixels.held)
        self.phase_frame = find_r_peak(header, self.times_ms)
        self._pixels = pixels

    def __len__(self) -> int:
        return self._pixels.held

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        for frame in self._pixels.frames(start, len(self) if stop is None else min(stop, len(self))):
            if self.box is None:
                yield frame
            else:
                alone = np.zeros_like(frame)
                alone[self.box] = frame[self.box]
                yield alone


def open_ultrasound(path: str | Path) -> list[UltrasoundClip]:
    """Open an ultrasound object, single-frame or multi-frame; no pixel is decoded yet.

    Transfer syntaxes: implicit, explicit, deflated and big endian, RLE, JPEG baseline, extended and lossless, JPEG-LS,
    JPEG 2000 and HTJ2K. Colours come as RGB, whatever is stored; deeper grey values as 8 bits.

    Args:
        path: the file.

    Returns:
        One clip for each B-mode picture in it; of two side by side each has the other's pixels set to zero.

    Raises:
        FrameError: it is damaged, no ultrasound, or shows no B-mode picture; names the file.
    """
    path = Path(path)
    try:
        pixels = PixelFile(path)
        check_class(pixels.header)
        check_source(pixels.header)
        views = find_views(pixels.header)
    except FrameError as e:
        text = str(e)
        raise e if text.startswith(f"{path}: ") else FrameError(f"{path}: {text}") from e.__cause__
    except OSError as e:
        raise FrameError(f"{path}: cannot be read ({e.strerror or e}); check the path and its rights.") from e
    names = ["clip"] if len(views) == 1 else [f"picture-{number}" for number in range(1, len(views) + 1)]
    return [UltrasoundClip(path, pixels, view, name) for view, name in zip(views, names, strict=True)]


def check_class(header: Dataset) -> None:
    """Refuse what is no ultrasound image.

    Raises:
        FrameError: says what it is; without the file's name.
    """
    kind = UID(str(header.get("SOPClassUID") or ""))
    if kind in ULTRASOUND:
        return
    name = kind.name if kind and kind.name != str(kind) else "an object of unknown kind"
    raise FrameError(f"is no ultrasound image but {name}; give ultrasound images.")


def frame_times(header: Dataset, count: int) -> tuple[float, ...] | None:
    """Time of each frame in ms from the first, by Frame Time, Frame Time Vector or a frame rate (PS3.3, C.7.6.5).

    Args:
        header: of the object.
        count: number of frames.
    """
    steps = _numbers(header, "FrameTimeVector")
    if len(steps) >= count > 1 and all(0 < step < _LONGEST_FRAME_MS for step in steps[1:count]):
        return tuple(np.cumsum([0.0, *steps[1:count]]).tolist())
    interval = next(iter(_numbers(header, "FrameTime")), 0.0)
    for keyword in ("CineRate", "RecommendedDisplayFrameRate"):
        rate = next(iter(_numbers(header, keyword)), 0.0)
        if not 0 < interval < _LONGEST_FRAME_MS and rate > 0:
            interval = 1000 / rate
    if not 0 < interval < _LONGEST_FRAME_MS:
        return None
    return tuple(interval * number for number in range(count))


def find_r_peak(header: Dataset, times_ms: tuple[float, ...] | None) -> int | None:
    """Number, from 1, of the frame nearest to the first R peak within the clip; None if the object does not tell.

    R Wave Time Vector holds the times of R peaks in ms from the first frame (PS3.3, C.8.5.6).
    """
    if times_ms is None or len(times_ms) < 2:
        return None
    half = (times_ms[1] - times_ms[0]) / 2
    peaks = [peak for peak in _numbers(header, "RWaveTimeVector") if -half <= peak <= times_ms[-1] + half]
    return int(np.abs(np.array(times_ms) - peaks[0]).argmin()) + 1 if peaks else None


def _numbers(header: Dataset, keyword: str) -> list[float]:
    """Finite values of an attribute; none where it is absent or no number."""
    try:
        value = header.get(keyword)
        values = [] if value is None or value == "" else value if isinstance(value, (list, tuple)) else [value]
        values = list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else values
        return [float(number) for number in values if math.isfinite(float(number))]
    except Exception:  # pydicom converts on access and raises what it likes on bad bytes
        return []
