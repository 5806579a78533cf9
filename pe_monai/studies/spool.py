# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The masks of a clip on disk, so that memory does not grow with its length."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np


class Spool:
    """Planes of a clip's frames in a file that vanishes with this object; compressed, read back one at a time.

    Args:
        folder: where the file lies.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)
        self._places: list[tuple[int, int, tuple[int, ...], bool]] = []

    def __len__(self) -> int:
        return len(self._places)

    def append(self, plane: np.ndarray) -> None:
        """Add a frame's plane, bool or uint8 of any shape."""
        is_mask = plane.dtype == bool
        packed = zlib.compress((np.packbits(plane) if is_mask else plane.astype(np.uint8)).tobytes(), level=1)
        start = self._file.seek(0, 2)
        self._file.write(packed)
        self._places.append((start, len(packed), plane.shape, is_mask))

    def __getitem__(self, place: int) -> np.ndarray:
        start, size, shape, is_mask = self._places[place]
        self._file.seek(start)
        values = np.frombuffer(zlib.decompress(self._file.read(size)), np.uint8)
        if is_mask:
            values = np.unpackbits(values, count=int(np.prod(shape))).astype(bool)
        return values.reshape(shape)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[place] for place in range(len(self)))
