# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The pixels of a DICOM file, frame by frame: each is found, read and decoded by itself, so that memory stays flat."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_fragmented_frames
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_color_lut, as_pixel_options, get_decoder
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from pe_monai.dicom.deflated import check_inflated_size
from pe_monai.dicom.identity import count_frames
from pe_monai.dicom.lossless_jpeg import LABEL
from pe_monai.errors import FrameError, one_line

MAX_PIXELS, MIN_SIDE = 50_000_000, 16
_PIXEL_DATA = (0x7FE0, 0x0010)
_UNDEFINED = 0xFFFFFFFF
_ITEM = (0xFFFE, 0xE000)
_END_OF_IMAGE = b"\xff\xd9"
_JPEG_LS = (JPEGLSLossless, JPEGLSNearLossless)
_NATIVE_YBR = ("YBR_FULL", "YBR_FULL_422")  # what pydicom converts; a frame of others has another length
_VIDEO = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))  # MPEG-2, MPEG-4, HEVC


class PixelFile:
    """A DICOM image whose frames are decoded when they are asked for.

    Attributes:
        path: the file.
        header: all but the pixels.
        announced: number of frames that the header states.
        held: number of whole frames that the file holds, at most those announced.
        unannounced: number of frames behind them, where their size tells.

    Args:
        path: the file.

    Raises:
        FrameError: it is no DICOM image that can be decoded; without the file's name.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._inflated: bytes | None = None
        self.unannounced = 0
        check_inflated_size(self.path)
        with self.path.open("rb") as file:
            self.header, start = _read_header(file)
            syntax = UID(str(self.header.file_meta.get("TransferSyntaxUID") or ""))
            self._decoder, self._plugin = _find_decoder(syntax)
            self._options = _decoding_options(self.header)
            self.announced = count_frames(self.header)
            source: BinaryIO = file
            if syntax == DeflatedExplicitVRLittleEndian:
                self._inflated = dcmread(self.path).PixelData
                source, self._offset, size = io.BytesIO(self._inflated), 0, len(self._inflated)
            else:
                source.seek(start)
                self._offset, size = _find_value(source, syntax)
            if syntax.is_encapsulated:
                source.seek(self._offset)
                self._places = _group(_list_fragments(source), self.header, self.announced, source, self._offset)
                self.held = len(self._places)
            else:
                colour = str(self._options.get("photometric_interpretation"))
                if colour.startswith("YBR") and colour not in _NATIVE_YBR:
                    raise FrameError(f"has pixels in {colour}, which is not decoded; export it in RGB or grey.")
                self._length = _frame_length(self._options)
                self.held = min(self.announced, size // self._length)
                self.unannounced = size // self._length - self.held
        if not self.held:
            raise FrameError("holds no whole frame: its pixels are cut off or missing; send it again from the archive.")
        self._is_encapsulated, self._is_jpeg_ls = syntax.is_encapsulated, syntax in _JPEG_LS

    def frames(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Decode frames: uint8 (H, W) or (H, W, 3) RGB.

        Raises:
            FrameError: at one that cannot be decoded.
        """
        with self.path.open("rb") if self._inflated is None else io.BytesIO(self._inflated) as file:
            for place in range(start, stop):
                try:
                    yield self._decode(self._read(file, place))
                except FrameError:
                    raise
                except Exception as e:  # decoders raise what they like on damaged bytes
                    raise FrameError(f"frame {place + 1}: its pixels cannot be decoded ({one_line(e, 120)}).") from e

    def _read(self, file: BinaryIO, place: int) -> bytes:
        if not self._is_encapsulated:
            file.seek(self._offset + place * self._length)
            return file.read(self._length)
        parts = []
        for offset, length in self._places[place]:
            file.seek(offset)
            parts.append(file.read(length))
            if len(parts[-1]) < length:
                raise FrameError(f"frame {place + 1}: its pixels are cut off; send it again from the archive.")
        data = b"".join(parts)
        if self._is_jpeg_ls and not data.rstrip(b"\0").endswith(_END_OF_IMAGE):  # CharLS would not come back from it
            raise FrameError(f"frame {place + 1}: its pixels are cut off; send it again from the archive.")
        return encapsulate([data], has_bot=False)

    def _decode(self, data: bytes) -> np.ndarray:
        array, facts = self._decoder.as_array(
            data, index=0, validate=True, raw=False, decoding_plugin=self._plugin, **self._options
        )
        return _to_uint8(array, self.header, facts)


def _read_header(file: BinaryIO) -> tuple[Dataset, int]:
    """The header and where the pixel data's element begins."""
    try:
        header = dcmread(file, stop_before_pixels=True)
    except InvalidDicomError as e:
        size = file.seek(0, 2)
        raise FrameError("is empty (0 bytes); send it again." if size == 0 else "is no DICOM file.") from e
    except Exception as e:
        raise FrameError(f"is a damaged DICOM file ({one_line(e, 120)}); send it again from the archive.") from e
    return header, file.tell()


def _find_decoder(syntax: UID) -> tuple[Decoder, str]:
    """pydicom's decoder and the plugin to use.

    gdcm is never taken: of damaged bytes it ends the whole process now and then.
    """
    name = syntax.name if syntax.name != str(syntax) else "unknown"
    if syntax in _VIDEO:
        raise FrameError(
            f"is a video ({name}), which is not decoded; export the clip with JPEG or uncompressed frames."
        )
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as e:
        kind = "private or unknown" if not syntax or syntax.is_private or name == "unknown" else name
        raise FrameError(f"has a {kind} transfer syntax, which is not decoded; export it with another.") from e
    if not syntax.is_encapsulated:
        return decoder, ""
    wanted = [name for name in decoder.available_plugins if name != "gdcm"]
    if syntax in (JPEGLossless, JPEGLosslessSV1):
        wanted = [name for name in wanted if name == LABEL]
    if not wanted:
        raise FrameError(f"needs a decoder for {name}: pip install 'pe_monai[dicom]'.")
    return decoder, wanted[0]


def _decoding_options(header: Dataset) -> dict[str, Any]:
    """What pydicom's decoders want to know, of one frame."""
    try:
        rows, columns = int(header.Rows), int(header.Columns)
        header.setdefault("PixelRepresentation", 0)
        options = as_pixel_options(header, number_of_frames=1, pixel_keyword="PixelData")
    except (AttributeError, TypeError, ValueError) as e:
        raise FrameError("does not say how its pixels are stored; send it again from the archive.") from e
    options.pop("extended_offsets", None)
    if rows * columns > MAX_PIXELS:
        raise FrameError(
            f"has frames of {columns} x {rows} pixels, more than {MAX_PIXELS / 1e6:g} megapixels; export smaller ones."
        )
    if min(rows, columns) < MIN_SIDE:
        raise FrameError(
            f"has frames of {columns} x {rows} pixels; at least {MIN_SIDE} on each side are needed; export larger ones."
        )
    if int(options.get("samples_per_pixel") or 0) not in (1, 3):
        raise FrameError(f"has {options.get('samples_per_pixel')} samples a pixel; export it in RGB or grey.")
    if options.get("bits_allocated") not in (8, 16):
        raise FrameError(f"has {options.get('bits_allocated')} bits a sample; export it with 8 or 16.")
    return options


def _find_value(file: BinaryIO, syntax: UID) -> tuple[int, int]:
    """Offset of the pixel data's value and how many bytes of it the file holds (PS3.5, 7.1)."""
    order = "<" if syntax.is_little_endian else ">"
    head = file.read(8)
    tag = struct.unpack(f"{order}HH", head[:4]) if len(head) == 8 else None
    if tag != _PIXEL_DATA:
        raise FrameError("holds no pixels; send it again from the archive.")
    length = struct.unpack(f"{order}L", head[4:] if syntax.is_implicit_VR else file.read(4).ljust(4, b"\0"))[0]
    offset = file.tell()
    left = file.seek(0, 2) - offset
    return offset, left if length == _UNDEFINED else min(length, left)


def _frame_length(options: dict[str, Any]) -> int:
    samples = int(options["rows"]) * int(options["columns"]) * int(options["samples_per_pixel"])
    if options.get("photometric_interpretation") == "YBR_FULL_422":
        samples = samples // 3 * 2
    return samples * int(options["bits_allocated"]) // 8


def _list_fragments(file: BinaryIO) -> list[tuple[int, int]]:
    """(offset, length) of all items of encapsulated pixels but the offset table, as far as the file goes."""
    found = []
    while len(head := file.read(8)) == 8:
        *tag, length = struct.unpack("<HHL", head)
        if tuple(tag) != _ITEM:
            break
        found.append((file.tell(), length))
        file.seek(length, 1)
    return found[1:]


def _group(
    fragments: list[tuple[int, int]], header: Dataset, count: int, file: BinaryIO, offset: int
) -> list[list[tuple[int, int]]]:
    """Fragments of each frame (PS3.5, A.4)."""
    if len(fragments) <= count:
        return [[fragment] for fragment in fragments]
    if count == 1:
        return [fragments]
    file.seek(offset)
    tables = (header.get("ExtendedOffsetTable"), header.get("ExtendedOffsetTableLengths"))
    rest, groups = iter(fragments), []
    try:
        for parts in generate_fragmented_frames(
            file, number_of_frames=count, extended_offsets=tables if all(tables) else None
        ):
            groups.append([next(rest) for _ in parts])
    except (ValueError, EOFError, StopIteration):
        pass  # cut off: the frames before are whole
    return groups[:count]


def _to_uint8(array: np.ndarray, header: Dataset, facts: dict[str, Any]) -> np.ndarray:
    """Values for display; grey ones by the bits stored, whatever window a viewer would choose."""
    kind = facts.get("photometric_interpretation")
    if kind == "PALETTE COLOR":
        colours = apply_color_lut(array, header)[..., :3]
        return colours if colours.dtype == np.uint8 else (colours >> 8).astype(np.uint8)
    bits = int(header.get("BitsStored") or 8)
    values = array
    if array.dtype != np.uint8 or bits != 8:
        shifted = array.astype(np.int64) + (1 << bits - 1 if header.get("PixelRepresentation") == 1 else 0)
        values = np.rint(shifted.clip(0, (1 << bits) - 1) * (255 / ((1 << bits) - 1))).astype(np.uint8)
    return 255 - values if kind == "MONOCHROME1" else values
