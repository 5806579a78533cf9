# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Clips in files that hold a stack of pictures: GIF, TIFF, APNG, WebP, NIfTI, NRRD and MetaImage; or one picture."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

import nibabel
import numpy as np
from monai.utils import optional_import
from PIL import Image

from pe_monai.data.clips import Clip
from pe_monai.data.reader import (
    NIFTI_SUFFIXES,
    PICTURE_FORMATS,
    FrameReader,
    itk_pixel_type,
    quiet_itk,
    read_frame,
    read_itk_header,
)
from pe_monai.data.spacing import itk_spacing, nifti_interval, nifti_spacing, trusted_spacing
from pe_monai.data.values import blend_alpha, find_value_range, plain_picture, to_uint8
from pe_monai.errors import FrameError, one_line

itk, _ = optional_import("itk", allow_namespace_pkg=True)

_IMAGEJ_MILLIMETRES = {"mm": 1.0, "cm": 10.0, "micron": 0.001, "um": 0.001}


class StackClip(Clip):
    """Pictures of one size that a file holds one after another.

    Values that are not 8-bit are scaled alike in all frames, by the least and the greatest of the clip (see
    :func:`pe_monai.data.values.to_uint8`); for that the file is gone through once.
    """

    name = "clip"
    is_sequential = False  # whether what follows a damaged frame is lost, too

    def __init__(self, path: Path, size: tuple[int, int], length: int) -> None:
        FrameReader().check_size(size[1], size[0])
        self.path = path
        self.size = size
        self._length = length
        self._range: tuple[float, float] | None = None
        self._lost: tuple[int, str] | None = None

    def __len__(self) -> int:
        return self._length

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        stop = len(self) if stop is None else min(stop, len(self))
        if self._lost is not None and self._lost[0] <= start < stop:
            raise FrameError(f"frame {start + 1} {self._lost[1]}")
        planes = self._planes(start, stop)
        for place in range(start, stop):
            try:
                plane = next(planes)
                if plane.shape[:2] != self.size:
                    raise FrameError(f"is {plane.shape[1]} x {plane.shape[0]} pixels, unlike the first frame")
                plane = np.ascontiguousarray(to_uint8(plane, self._range))
            except Exception as e:  # whatever decoders raise on bad bytes
                known = isinstance(e, FrameError)
                reason = str(e) if known else f"cannot be read ({one_line(e)}); export the file again"
                if self.is_sequential:
                    self._lost = (place, reason)
                raise FrameError(f"frame {place + 1} {reason}") from e
            yield plane

    def find_range(self) -> None:
        """Find the one scale of all frames, where they need one."""
        if next(self._planes(0, 1)).dtype != np.uint8:
            self._range = find_value_range(self._planes(0, len(self)))

    @abstractmethod
    def _planes(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """(H, W) or (H, W, 3) of any one type, one by one."""


class SinglePicture(StackClip):
    """A file of one frame, in any format that :class:`FrameReader` reads."""

    def __init__(self, path: Path) -> None:
        self._plane = read_frame(path)
        super().__init__(path, (self._plane.shape[0], self._plane.shape[1]), 1)
        if path.name.lower().endswith(NIFTI_SUFFIXES):
            self.spacing = nifti_spacing(nibabel.load(path).header)
        elif path.suffix.lower() in (".nrrd", ".mha", ".mhd"):
            with quiet_itk():
                self.spacing = itk_spacing(read_itk_header(path), path)

    def _planes(self, start: int, stop: int) -> Iterator[np.ndarray]:
        yield self._plane


class PictureStack(StackClip):
    """A GIF, TIFF, APNG or WebP of several frames, decoded one at a time by Pillow."""

    def __init__(self, path: Path) -> None:
        with open_picture(path) as picture:
            super().__init__(path, (picture.height, picture.width), picture.n_frames)
            self._is_gif = picture.format == "GIF"
            self.is_sequential = picture.format != "TIFF"
            if self.is_sequential:
                self.times_ms = self._read_durations(picture)
            else:
                self._read_imagej(picture)
        self.find_range()

    def _planes(self, start: int, stop: int) -> Iterator[np.ndarray]:
        with open_picture(self.path) as picture:
            for place in range(start, stop):
                picture.seek(place)
                plain = plain_picture(picture)
                # of a grey GIF Pillow gives the first frame as grey, the others as RGB
                yield np.asarray(plain.convert("RGB") if self._is_gif else plain)

    def _read_durations(self, picture: Any) -> tuple[float, ...] | None:
        durations = []
        for place in range(len(self)):
            try:
                picture.seek(place)
            except (OSError, EOFError, SyntaxError, ValueError):  # that frame will say so when it is asked for
                return None
            durations.append(float(picture.info.get("duration", 0)))
        if min(durations[:-1]) <= 0:
            return None
        return tuple(accumulate(durations[:-1], initial=0.0))

    def _read_imagej(self, picture: Any) -> None:
        """Pixel size and time that ImageJ writes into a TIFF's description; the dpi of others say nothing."""
        tags = picture.tag_v2
        text = str(tags.get(270, ""))
        if not text.startswith("ImageJ="):
            return
        found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        if found.get("channels", "1") != "1":
            raise FrameError("holds an ImageJ hyperstack with channels; export it as RGB or grey")
        factor = _IMAGEJ_MILLIMETRES.get(found.get("unit", "").replace("\\u00B5", "u").replace("µ", "u"))
        if factor is not None and tags.get(282) and tags.get(283):  # X and Y resolution, pixels in a unit
            self.spacing = trusted_spacing(factor / float(tags[283]), factor / float(tags[282]))
        interval = float(found.get("finterval", 0)) * 1000
        if interval > 0:
            self.times_ms = tuple(interval * place for place in range(len(self)))


class NiftiStack(StackClip):
    """A NIfTI of (W, H, F), (W, H, 1, F) or (W, H, 1, F, 3), or of RGB pixels; read one frame at a time."""

    def __init__(self, path: Path) -> None:
        header = nibabel.load(path).header
        width, height, *rest = header.get_data_shape()
        planes = _nifti_planes(header)
        check_planes(planes)
        self._has_colours = len(planes) < len(rest)
        self._axis = 2 + int(np.argmax(planes))
        self.is_sequential = path.name.lower().endswith(".gz")
        super().__init__(path, (height, width), max(planes))
        self.spacing = nifti_spacing(header)
        interval = nifti_interval(header) if self._axis == 3 else None
        self.times_ms = tuple(interval * place for place in range(len(self))) if interval else None
        self.find_range()

    def _planes(self, start: int, stop: int) -> Iterator[np.ndarray]:
        image = nibabel.load(self.path, keep_file_open=True)  # else a compressed file is unpacked anew for each frame
        for place in range(start, stop):
            at: list[Any] = [0] * len(image.shape)
            at[0] = at[1] = slice(None)
            at[self._axis] = place
            if self._has_colours:
                at[-1] = slice(None)
            plane = np.asarray(image.dataobj[tuple(at)])
            if plane.dtype.names:  # NIfTI's RGB24 and RGBA32 pixels
                plane = np.stack([plane[channel] for channel in plane.dtype.names], axis=-1)
            yield blend_alpha(plane.swapaxes(0, 1)) if plane.ndim == 3 else plane.T


class ItkStack(StackClip):
    """A NRRD or MetaImage of several planes. ITK reads these as a whole, so they are held in memory."""

    def __init__(self, path: Path) -> None:
        with quiet_itk():
            header = read_itk_header(path)
            width, height, *rest = (header.GetDimensions(i) for i in range(header.GetNumberOfDimensions()))
            check_planes(rest)
            super().__init__(path, (height, width), int(np.prod(rest)))
            self.spacing = itk_spacing(header, path)
            array = itk.array_from_image(itk.imread(str(path), itk_pixel_type(header)))
        channels = array.shape[1 + len(rest) + 1 :]
        self._array = blend_alpha(array.reshape(len(self), height, width, *channels))
        self.find_range()

    def _planes(self, start: int, stop: int) -> Iterator[np.ndarray]:
        yield from self._array[start:stop]


def open_picture(path: Path | IO[bytes]) -> Image.Image:
    """Open a picture's header; how large it may be is for the caller to check."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of size, and of cut files, which get an error
        return Image.open(path, formats=PICTURE_FORMATS)


def count_nifti_frames(header: Any) -> int:
    """Number of pictures in a NIfTI.

    Three planes are taken for the colours of one picture, as :class:`FrameReader` does, unless they are apart in time.
    """
    shape, planes = header.get_data_shape(), _nifti_planes(header)
    is_timed = len(shape) == 4 and shape[3] == 3 and nifti_interval(header) is not None
    if [length for length in planes if length != 1] == [3] and not (is_timed or header.get_data_dtype().names):
        return 1
    return int(np.prod(planes, dtype=int))


def _nifti_planes(header: Any) -> tuple[int, ...]:
    """Lengths of the axes after width and height, without a fifth one that holds colours."""
    shape = header.get_data_shape()
    has_colours = len(shape) == 5 and shape[4] == 3 and not header.get_data_dtype().names
    return shape[2:4] if has_colours else shape[2:]


def check_planes(lengths: Any) -> None:
    """Refuse a volume in time.

    Raises:
        FrameError: more than one axis beside width and height is longer than 1.
    """
    if sum(length > 1 for length in lengths) > 1:
        shape = " x ".join(str(length) for length in lengths)
        raise FrameError(f"holds {shape} planes; give one plane in time")
