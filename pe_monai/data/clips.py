# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What every clip is, wherever it comes from: frames in time, decoded when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np


class Clip(ABC):
    """Frames in time.

    Attributes:
        name: of the clip; tells nothing of a patient.
        path: file it is read from.
        size: (rows, columns) of its frames.
        spacing: (row, column) pixel spacing in mm; None if unknown.
        times_ms: of each frame; None if unknown.
        phase_frame: number, from 1, of the frame at the R peak; None if unknown.
        notes: what a reader of the results should know about the source, a sentence each.
        faults: what is damaged in the file, likewise.
    """

    name: str
    path: Path
    size: tuple[int, int]
    spacing: tuple[float, float] | None = None
    times_ms: tuple[float, ...] | None = None
    phase_frame: int | None = None
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames."""

    @abstractmethod
    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Decode frames one by one.

        Args:
            start: place of the first frame, from 0.
            stop: place after the last frame; the clip's end by default.

        Yields:
            uint8 (H, W) or (H, W, 3) RGB, row first, as displayed.

        Raises:
            FrameError: at a frame that cannot be decoded; later ones can be asked for again.
        """
