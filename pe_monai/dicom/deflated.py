# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Deflated DICOM files: they are unpacked whole, to as much as a thousand times their size, before a header is read."""

from __future__ import annotations

import zlib
from pathlib import Path

from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from pe_monai.errors import FrameError

MAX_INFLATED = 2 << 30
# DICOM PS3.10, section 7.1: a preamble, a prefix and the element with the length of those behind it
_BEFORE_META = 128 + 4 + 12
_CHUNK = 1 << 16


def is_deflated(path: Path) -> bool:
    """Whether a file is DICOM that is deflated as a whole; what cannot be read is not, whoever reads it says why."""
    try:
        return read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
    except Exception:  # pydicom raises whatever it likes on bad bytes
        return False


def check_inflated_size(path: Path) -> None:
    """Refuse deflated DICOM that unpacks to more than 2 GiB, before anything keeps what is unpacked.

    Raises:
        FrameError: it does, or what is deflated is damaged; without the file's name.
        OSError: what the operating system says.
    """
    if not is_deflated(path):
        return
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with path.open("rb") as file:
        file.seek(_BEFORE_META + int(read_file_meta_info(path).get("FileMetaInformationGroupLength") or 0))
        while size <= MAX_INFLATED and (chunk := file.read(_CHUNK)):
            try:
                size += len(inflater.decompress(chunk))
            except zlib.error as e:
                raise FrameError(f"is a damaged DICOM file ({e}); send it again from the archive.") from e
    if size > MAX_INFLATED:
        raise FrameError(f"is deflated as a whole and unpacks to more than {MAX_INFLATED >> 30} GiB; send it inflated.")
