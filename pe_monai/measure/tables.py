# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Measurements of many clips as one JSON file and two tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pe_monai import INTENDED_USE, __version__
from pe_monai.errors import FrameError
from pe_monai.measure.clip import ClipMeasurement
from pe_monai.measure.scales import find_scale
from pe_monai.whole import write_text_whole, write_whole

FILES = ("measurements.json", "measured_frames.csv", "measured_clips.csv")


@dataclass(frozen=True)
class MeasuredClip:
    """What was measured in one input.

    Attributes:
        file: the input.
        files: of each frame.
        numbers: of each frame within its file, from 1.
        clip: its measurements.
        spacing_from: "file" or "given"; None without a pixel size.
        bad_frames: why frames could not be used, by their place from 1; nothing was measured in them.
    """

    file: str
    files: Sequence[str]
    numbers: Sequence[int]
    clip: ClipMeasurement
    spacing_from: str | None
    bad_frames: Mapping[int, FrameError] = field(default_factory=dict)


def write_measurements(
    folder: str | Path, clips: Sequence[MeasuredClip], errors: Sequence[FrameError], scale: str
) -> None:
    """Write ``measurements.json``, ``measured_frames.csv`` and ``measured_clips.csv``, each whole or not at all.

    Args:
        folder: made if absent; files of the same names are replaced.
        clips: what was measured.
        errors: why inputs could not be used.
        scale: key of the scale that grades.

    Raises:
        OSError: a file cannot be written.
    """
    chosen = find_scale(scale)
    content = {
        "pe_monai": __version__,
        "intended_use": INTENDED_USE,
        "scale": {"key": scale, "name": chosen.name, "source": chosen.source},
        "clips": [describe_clip(measured) for measured in clips],
        "errors": [str(error) for error in errors],
    }
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    folder = Path(folder)
    write_text_whole(folder / FILES[0], text)
    rows = [row for measured in clips for row in frame_rows(measured)]
    listed = [error for measured in clips for error in measured.bad_frames.values()]
    rows += [{"status": "error", "error": str(error)} for error in errors if error not in listed]
    write_table(folder / FILES[1], FRAME_COLUMNS, rows)
    write_table(folder / FILES[2], CLIP_COLUMNS, [clip_row(measured) for measured in clips])


def describe_clip(measured: MeasuredClip) -> dict[str, Any]:
    """A clip's measurements, fit for JSON."""
    described = measured.clip.as_dict()
    places = zip(measured.files, measured.numbers, described["frames"], strict=True)
    frames = [{"file": file, "frame": number, **frame} for file, number, frame in places]
    return {"file": measured.file, "spacing_from": measured.spacing_from, **described, "frames": frames}


FRAME_COLUMNS = (
    "file,frame,status,regions,thickness_mm,thickness_px,mean_thickness_mm,mean_thickness_px,area_cm2,area_px,"
    "sector_share,depth,lateral,row_1,column_1,row_2,column_2,cut_off,reliable,reason,error"
).split(",")
CLIP_COLUMNS = (
    "file,frames,largest_frame,largest_mm,largest_px,robust_mm,robust_px,grade,phase,unreliable_frames,spacing_from"
).split(",")


def frame_rows(measured: MeasuredClip) -> Iterator[dict[str, Any]]:
    """A row a frame; thickness and place are those of its thickest region, the area that of all."""
    frames = zip(measured.files, measured.numbers, measured.clip.frames, strict=True)
    for place, (file, number, frame) in enumerate(frames, start=1):
        row: dict[str, Any] = {"file": file, "frame": number}
        if place in measured.bad_frames:
            yield {**row, "status": "error", "error": str(measured.bad_frames[place])}
            continue
        row |= {
            "status": "ok",
            "regions": len(frame.regions),
            "thickness_mm": frame.thickness_mm,
            "thickness_px": frame.thickness_px,
            "area_cm2": frame.area_cm2,
            "area_px": frame.area_px,
            "sector_share": frame.sector_share,
            "reliable": int(frame.reliable),
            "reason": frame.reason,
        }
        if region := frame.largest:
            row |= {
                "mean_thickness_mm": region.mean_thickness_mm,
                "mean_thickness_px": region.mean_thickness_px,
                "cut_off": int(region.cut_off),
                **(region.position._asdict() if region.position else {}),
            }
            ends = zip(("row_1", "column_1", "row_2", "column_2"), sum(region.calliper, ()), strict=True)
            row |= {name: round(value, 3) for name, value in ends}
        yield row


def clip_row(measured: MeasuredClip) -> dict[str, Any]:
    """The row of a clip."""
    clip = measured.clip
    return {
        "file": measured.file,
        "frames": len(clip.frames),
        "largest_frame": clip.largest_frame,
        "largest_mm": clip.largest_mm,
        "largest_px": clip.largest_px,
        "robust_mm": clip.robust_mm,
        "robust_px": clip.robust_px,
        "grade": clip.grade,
        "phase": clip.phase,
        "unreliable_frames": " ".join(map(str, clip.unreliable)),
        "spacing_from": measured.spacing_from,
    }


NOT_UTF8 = "backslashreplace"  # for file names in another encoding, such as GBK of a Windows zip


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV whole or not at all; what a row does not name stays empty."""

    def write(partial: Path) -> None:
        with partial.open("w", newline="", encoding="utf-8", errors=NOT_UTF8) as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            for row in rows:
                writer.writerow({name: _shorten(value) for name, value in row.items()})

    write_whole(path, write)


def _shorten(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value
