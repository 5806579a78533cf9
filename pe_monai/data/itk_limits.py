# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""NRRD and MetaImage headers at which ITK would end the process, with all that it does for others."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

from pe_monai.errors import FrameError

_SUFFIXES = (".nrrd", ".mha", ".mhd")
_END = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}|ElementDataFile[^\r\n]*[\r\n]")
_MOST_DIMENSIONS = 8
# a number of any length is read into a buffer of fixed size
_AS_TEXT = re.compile(rb"^[ \t]*encoding[ \t]*:[ \t]*(?:ascii|te?xt)", re.IGNORECASE | re.MULTILINE)
_DIMENSIONS = re.compile(rb"^[ \t]*dimension[ \t]*:[ \t]*(\d+)", re.IGNORECASE | re.MULTILINE)
# a pattern of names is given to printf as it is
_PATTERN = re.compile(rb"^[ \t]*(?:data ?file[ \t]*:|ElementDataFile[ \t]*=)[^\r\n]*%", re.IGNORECASE | re.MULTILINE)


def check_limits(path: Path) -> None:
    """Refuse a header that ITK cannot take; nothing is asked of other kinds of file.

    Raises:
        FrameError: numbers written as text, more dimensions than ITK has room for, or a pattern of file names.
    """
    if not path.name.lower().endswith(_SUFFIXES):
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        end = _END.search(content)
        header = content[: end.end() if end else None].replace(b"\r", b"\n")
    if _AS_TEXT.search(header):
        raise FrameError("holds its pixels as text, which is not read safely; save it as raw or gzip")
    if any(int(number[:9]) > _MOST_DIMENSIONS for number in _DIMENSIONS.findall(header)):
        raise FrameError(f"has more than {_MOST_DIMENSIONS} dimensions; give a frame or a clip")
    if _PATTERN.search(header):
        raise FrameError("names its pixels' files by a pattern; save it as one file")
