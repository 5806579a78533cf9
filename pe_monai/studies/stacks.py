# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks of a clip as NIfTI and its pictures as GIF or MP4, written frame by frame."""

from __future__ import annotations

import gzip
import itertools
import math
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

_FRAME_TIME_MS = 40.0
_MOST_GIF_FRAMES = 300


def write_nifti(
    path: Path,
    masks: Iterable[np.ndarray],
    shape: tuple[int, int, int],
    spacing: tuple[float, float] | None,
    frame_time_ms: float | None,
) -> None:
    """Write masks as one NIfTI (W, H, 1, F), x first, 0 or 255.

    Args:
        path: the file, ending in .nii.gz.
        masks: (H, W) bool, in order.
        shape: (F, H, W).
        spacing: (row, column) pixel spacing in mm; without it the units are "unknown" and a pixel is 1.
        frame_time_ms: time between frames; without it the unit of time is "unknown" and a frame is 1.
    """
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((shape[2], shape[1], 1, shape[0]))
    row, column = spacing or (1.0, 1.0)
    # as displayed: x to the patient's left and y to the back, as ITK takes a picture, so both are negative in RAS
    affine = np.diag([-column, -row, 1.0, 1.0])
    header.set_qform(affine, code="scanner" if spacing else "unknown")
    header.set_sform(affine, code="scanner" if spacing else "unknown")
    header.set_zooms((column, row, 1.0, (frame_time_ms or 1000.0) / 1000))
    header.set_xyzt_units("mm" if spacing else "unknown", "sec" if frame_time_ms else "unknown")
    with gzip.GzipFile(path, "wb", compresslevel=4, mtime=0) as file:
        header.write_to(file)
        file.write(b"\0" * (header.get_data_offset() - file.tell()))
        for mask in masks:  # x runs fastest in the file, as in a row of the mask
            file.write((np.asarray(mask) > 0).astype(np.uint8).tobytes().replace(b"\1", b"\xff"))


def write_video(path: Path, pictures: Iterable[np.ndarray], count: int, frame_time_ms: float | None) -> None:
    """Write pictures as GIF or MP4, by the file's suffix.

    A GIF has to be held in memory, so that of a long clip shows every second, third or later picture, at true speed.

    Args:
        path: the file, ending in .gif or .mp4.
        pictures: each (H, W, 3) uint8, all of one size.
        count: how many there are.
        frame_time_ms: time between frames; 40 if unknown.

    Raises:
        ModuleNotFoundError: MP4 needs PyAV, which is not installed.
    """
    seconds = (frame_time_ms or _FRAME_TIME_MS) / 1000
    if path.suffix == ".gif":
        step = math.ceil(count / _MOST_GIF_FRAMES)
        _write_gif(path, itertools.islice(pictures, 0, None, step), step * seconds)
    else:
        _write_mp4(path, pictures, seconds)


def _write_gif(path: Path, pictures: Iterable[np.ndarray], seconds: float) -> None:
    images = (Image.fromarray(picture).quantize(256) for picture in pictures)
    # viewers slow down what is shorter than a fiftieth of a second
    next(images).save(path, save_all=True, append_images=images, duration=max(round(1000 * seconds), 20), loop=0)


def _write_mp4(path: Path, pictures: Iterable[np.ndarray], seconds: float) -> None:
    import av

    with av.open(str(path), "w", options={"movflags": "+faststart"}) as file:
        stream = None
        for picture in pictures:
            even = np.pad(picture, [(0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)])
            if stream is None:
                stream = file.add_stream("libx264", rate=Fraction(1 / seconds).limit_denominator(1000))
                stream.height, stream.width = even.shape[:2]
                stream.pix_fmt = "yuv420p"  # what every player knows; it wants even sides
                stream.options = {"crf": "18"}
            file.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        if stream is not None:
            file.mux(stream.encode())
