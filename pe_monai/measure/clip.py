# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The amount of effusion over a clip: thickness against time, its maximum, and one that a bad frame cannot make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pe_monai.measure.frame import FrameMeasurement
from pe_monai.measure.scales import find_scale

NEIGHBOURS = 2
PERCENTILE = 95
PHASE_UNKNOWN = "largest in the clip, phase unknown"


@dataclass(frozen=True)
class ClipMeasurement:
    """The effusion of a clip. Numbers of frames count from 1; values in mm are None without a known pixel size.

    Attributes:
        frames: each frame's.
        times_ms: of each frame, None if unknown.
        thickness_px, thickness_mm: of each frame, reliable or not.
        largest_px, largest_mm: largest thickness of a reliable frame, 0 where none of them shows effusion; None where
            there is none.
        largest_frame: number of that frame; None where no reliable frame shows effusion.
        robust_px, robust_mm: 95th percentile over the reliable frames, after a median over each frame and up to two
            reliable neighbours on either side; None where no frame is reliable.
        grade: with the scale's name, such as "moderate (ESC 2015)"; of the thickness at ``phase_frame`` where that is
            known and reliable, else of the robust maximum. None without a pixel size or without effusion.
        scale: key of the scale.
        phase: what is known of the heart's phase at the measurement.
        phase_frame: number of the frame at the R peak, which is end-diastole; None if unknown.
        unreliable: numbers of the frames judged unreliable.
    """

    frames: tuple[FrameMeasurement, ...]
    times_ms: tuple[float, ...] | None
    thickness_px: tuple[float, ...]
    thickness_mm: tuple[float, ...] | None
    largest_px: float | None
    largest_mm: float | None
    largest_frame: int | None
    robust_px: float | None
    robust_mm: float | None
    grade: str | None
    scale: str
    phase: str
    phase_frame: int | None
    unreliable: tuple[int, ...]

    @property
    def is_graded_at_r_peak(self) -> bool:
        """Whether a grade is of the frame at the R peak, in place of the robust maximum."""
        if self.phase_frame is None or self.thickness_mm is None:
            return False
        return self.frames[self.phase_frame - 1].reliable

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, fit for JSON."""
        return {
            "largest": {"frame": self.largest_frame, "thickness_px": self.largest_px, "thickness_mm": self.largest_mm},
            "robust_maximum": {"thickness_px": self.robust_px, "thickness_mm": self.robust_mm},
            "grade": self.grade,
            "scale": self.scale,
            "phase": self.phase,
            "phase_frame": self.phase_frame,
            "unreliable_frames": list(self.unreliable),
            "times_ms": None if self.times_ms is None else list(self.times_ms),
            "frames": [frame.as_dict() for frame in self.frames],
        }


def measure_clip(
    frames: Sequence[FrameMeasurement],
    times_ms: Sequence[float] | None = None,
    scale: str = "esc2015",
    phase_frame: int | None = None,
) -> ClipMeasurement:
    """Sum the frames of a clip up.

    Args:
        frames: in order; a frame that could not be used is an unreliable ``FrameMeasurement`` with its reason.
        times_ms: of each frame.
        scale: a key of :data:`pe_monai.measure.SCALES`.
        phase_frame: number, from 1, of the frame at the R peak, if the object carries it.

    Raises:
        ValueError: there are no frames, times are not as many, the scale is unknown or there is no such frame.
    """
    if not frames:
        raise ValueError("frames is empty: a clip has at least one.")
    if times_ms is not None and len(times_ms) != len(frames):
        raise ValueError(f"times_ms must be one a frame, got {len(times_ms)} for {len(frames)} frames.")
    if phase_frame is not None and not 1 <= phase_frame <= len(frames):
        raise ValueError(f"phase_frame must be within 1 and {len(frames)}, got {phase_frame}.")
    chosen = find_scale(scale)
    reliable = np.array([frame.reliable for frame in frames])
    places = np.flatnonzero(reliable)
    in_px = np.array([frame.thickness_px for frame in frames])
    known = [frame.thickness_mm for frame in frames if frame.thickness_mm is not None]
    is_calibrated = all(frame.thickness_mm is not None for frame in frames if frame.reliable) and bool(known)
    in_mm = np.array([frame.thickness_mm or 0.0 for frame in frames]) if is_calibrated else None
    # the thickest in mm is the thickest in pixels unless the pixel size changes within the clip
    ruler = in_px if in_mm is None else in_mm
    largest = int(places[ruler[places].argmax()]) if len(places) else None
    robust_mm = None if in_mm is None else _robust_maximum(in_mm[places])

    graded, phase = robust_mm, PHASE_UNKNOWN if len(frames) > 1 else "single frame, phase unknown"
    if phase_frame is not None:
        phase = f"largest in the clip; the R peak (end-diastole) is in frame {phase_frame}"
        if in_mm is not None and reliable[phase_frame - 1]:
            graded = float(_median(in_mm[places])[np.searchsorted(places, phase_frame - 1)])
            phase += f", {graded:.1f} mm there, which is graded"
    return ClipMeasurement(
        frames=tuple(frames),
        times_ms=None if times_ms is None else tuple(float(time) for time in times_ms),
        thickness_px=tuple(in_px.tolist()),
        thickness_mm=None if in_mm is None else tuple(in_mm.tolist()),
        largest_px=None if largest is None else float(in_px[largest]),
        largest_mm=None if largest is None or in_mm is None else float(in_mm[largest]),
        largest_frame=largest + 1 if largest is not None and ruler[largest] > 0 else None,
        robust_px=_robust_maximum(in_px[places]),
        robust_mm=robust_mm,
        grade=f"{chosen.grade(graded)} ({chosen.name})" if graded else None,
        scale=scale,
        phase=phase,
        phase_frame=phase_frame,
        unreliable=tuple(int(place) + 1 for place in np.flatnonzero(~reliable)),
    )


def _median(values: np.ndarray) -> np.ndarray:
    """Running median over each value and its neighbours; fewer of them at the ends."""
    return np.array(
        [np.median(values[max(0, place - NEIGHBOURS) : place + NEIGHBOURS + 1]) for place in range(len(values))]
    )


def _robust_maximum(values: np.ndarray) -> float | None:
    return float(np.percentile(_median(values), PERCENTILE)) if len(values) else None
