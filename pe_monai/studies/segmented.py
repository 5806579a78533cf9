# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A clip through the predictor and the measurement, in memory that does not grow with its length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pe_monai.data.spacing import same_spacing
from pe_monai.errors import FrameError
from pe_monai.measure import ClipMeasurement, FrameMeasurement, measure_clip, measure_frame
from pe_monai.report.drawing import draw_frame, is_fan
from pe_monai.report.moving import MovingArea
from pe_monai.studies.spool import Spool
from pe_monai.studies.words import caption

if TYPE_CHECKING:
    from pe_monai.data.clips import Clip
    from pe_monai.predictor import Predictor
    from pe_monai.studies.options import StudyOptions


@dataclass(frozen=True)
class SegmentedClip:
    """What was seen and measured in a clip. Frames are numbered from 1; planes are (H, W), row first, as displayed.

    Attributes:
        clip: where the frames come from.
        spacing: (row, column) pixel spacing in mm; None if unknown.
        spacing_from: "file" or "given"; None if unknown.
        spacing_ignored: a spacing that was given though the file has another of its own.
        measurement: of all frames.
        masks, sectors: of each frame, bool; empty where a frame could not be used.
        probabilities: of each frame, 0 to 255; None unless asked for.
        bad_frames: why frames could not be used, by their number.
        unclear: numbers of frames in which no sector stands out from what the machine may have written around it.
        show_unclear: show people the whole picture of such a frame, too.
        moving: the part of the frame (H, W) that moves, which they are shown of it otherwise; None if none does.
    """

    clip: Clip
    spacing: tuple[float, float] | None
    spacing_from: str | None
    spacing_ignored: tuple[float, float] | None
    measurement: ClipMeasurement
    masks: Spool
    sectors: Spool
    probabilities: Spool | None
    bad_frames: Mapping[int, FrameError]
    unclear: frozenset[int] = frozenset()
    show_unclear: bool = False
    moving: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def key_frame(self) -> int:
        """Number of the frame to show: the thickest reliable one, else the thickest, else one in the middle."""
        if self.measurement.largest_frame is not None:
            return self.measurement.largest_frame
        thickness = self.measurement.thickness_px
        if max(thickness) > 0:
            return int(np.argmax(thickness)) + 1
        usable = [number for number in range(1, len(self) + 1) if number not in self.bad_frames]
        return usable[len(usable) // 2]

    def draw(
        self, number: int, frame: np.ndarray | FrameError | None = None, whole: bool = False, **how: Any
    ) -> np.ndarray:
        """A picture of a frame with its outlines and callipers; ``how`` as for :func:`draw_frame`.

        Of an unclear frame only what moves is drawn, unless ``whole`` or ``show_unclear`` is set.
        """
        place = number - 1
        seen = next(read_frames(self.clip, place, number)) if frame is None else frame
        sector, mask = self.sectors[place], self.masks[place]
        picture = np.zeros(sector.shape, np.uint8) if isinstance(seen, FrameError) else seen
        if number in self.unclear and not (whole or self.show_unclear):
            sector = np.zeros_like(sector) if self.moving is None else sector & self.moving
            if self.moving is None:
                how["text"] = " ".join(filter(None, [how.get("text"), "(picture withheld)"]))
        measured = self.measurement.frames[place]
        return draw_frame(
            picture,
            sector,
            mask,
            [measured.largest.calliper] if measured.largest else [],
            doubtful=not measured.reliable,
            spacing=self.spacing,
            **how,
        )

    def draw_all(self, whole: bool = False) -> Iterator[np.ndarray]:
        """Pictures of all frames in their own size, each with its number and thickness; ``whole`` as above."""
        for number, frame in enumerate(read_frames(self.clip), start=1):
            yield self.draw(number, frame, whole, text=f"{caption(self.measurement, number)}. Research use only")


def segment_clip(clip: Clip, predictor: Predictor, options: StudyOptions, folder: Path) -> SegmentedClip:
    """Outline and measure all frames of a clip.

    Args:
        clip: the clip.
        predictor: a bundle.
        options: its spacing, scale and whether probabilities are wanted.
        folder: where the planes lie until they are written; nothing of them stays.

    Raises:
        FrameError: no frame of the clip can be used.
    """
    spacing = clip.spacing or options.spacing
    size = clip.size
    masks, sectors = Spool(folder), Spool(folder)
    probabilities = Spool(folder) if options.fractional else None
    frames: list[FrameMeasurement] = []
    bad: dict[int, FrameError] = {}
    unclear: set[int] = set()
    moving = MovingArea()
    for seen in predictor.predict_clip(read_frames(clip)):
        if isinstance(seen, FrameError):
            bad[len(frames) + 1] = seen
            nothing = np.zeros(size, bool)
            masks.append(nothing)
            sectors.append(nothing)
            frames.append(FrameMeasurement((), spacing, False, f"cannot be used ({seen})"))
        else:
            masks.append(seen.mask)
            sectors.append(seen.sector)
            moving.add(seen.frame)
            if not is_fan(seen.sector):
                unclear.add(len(frames) + 1)
            frames.append(measure_frame(seen.mask, seen.sector, spacing, seen.probability, seen.frame))
        if probabilities is not None:
            shares = np.zeros(size) if isinstance(seen, FrameError) else seen.probability
            probabilities.append(np.rint(shares * 255).astype(np.uint8))
    if len(bad) == len(frames):
        raise FrameError(f"none of its {len(frames)} frames can be used: {bad[1]}" if bad else "it has no frames.")
    return SegmentedClip(
        clip=clip,
        spacing=spacing,
        spacing_from="file" if clip.spacing else "given" if spacing else None,
        spacing_ignored=options.spacing if clip.spacing and not same_spacing(clip.spacing, options.spacing) else None,
        measurement=measure_clip(frames, clip.times_ms, options.scale, clip.phase_frame),
        masks=masks,
        sectors=sectors,
        probabilities=probabilities,
        bad_frames=bad,
        unclear=frozenset(unclear),
        show_unclear=options.include_identifiers,
        moving=moving.find() if unclear else None,
    )


def read_frames(clip: Clip, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray | FrameError]:
    """Frames of a clip, in order; one that cannot be decoded is its error, and the rest is tried."""
    stop = len(clip) if stop is None else stop
    while start < stop:
        frames = clip.frames(start, stop)
        while True:
            frame: np.ndarray | FrameError | None
            try:
                frame = next(frames, None)
            except FrameError as e:
                frame = e
            if frame is None:
                return
            start += 1
            yield frame
            if isinstance(frame, FrameError):
                break
