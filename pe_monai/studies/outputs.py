# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The files of one clip: DICOM objects, masks, tables, pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pe_monai.data.writer import write_picture
from pe_monai.measure import find_scale
from pe_monai.measure.tables import FRAME_COLUMNS, MeasuredClip, describe_clip, frame_rows, write_table
from pe_monai.report.drawing import sector_box
from pe_monai.report.sheet import choose_frames, contact_sheet
from pe_monai.studies.folder import MARK
from pe_monai.studies.section import draw_curve
from pe_monai.studies.stacks import write_nifti, write_video
from pe_monai.studies.words import caption

if TYPE_CHECKING:
    from pydicom import Dataset

    from pe_monai.studies.options import StudyOptions
    from pe_monai.studies.segmented import SegmentedClip

_SHEET_FRAMES, _SHEET_WIDTH = 12, 400
OBJECTS = ("segmentation.dcm", "report.dcm", "capture.dcm")


def write_files(
    folder: Path, seen: SegmentedClip, options: StudyOptions, facts: Mapping[str, Any], made_by: Mapping[str, Any]
) -> None:
    """Write tables, pictures and, if asked for, NIfTI and video.

    Args:
        folder: where to.
        seen: the clip.
        options: what to write.
        facts: what else the JSON says of the clip.
        made_by: versions, weights and settings, for the JSON.
    """
    measured = measured_clip(seen, str(facts["clip"]))
    scale = find_scale(options.scale)
    content = {
        **made_by,
        **facts,
        "scale_limits": {"key": options.scale, "name": scale.name, "source": scale.source},
        **{name: value for name, value in describe_clip(measured).items() if name != "file"},
    }
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    (folder / MARK).write_text(text, encoding="utf-8")
    write_table(folder / "frames.csv", FRAME_COLUMNS, frame_rows(measured))
    if len(seen) > 1:
        (folder / "thickness.png").write_bytes(draw_curve(seen, kind="png"))
    write_picture(_draw_sheet(seen), folder / "contact_sheet.png")
    times = seen.measurement.times_ms
    frame_time = (times[-1] - times[0]) / (len(times) - 1) if times and len(times) > 1 else None
    if options.nifti:
        rows_columns = seen.masks[0].shape
        write_nifti(folder / "masks.nii.gz", seen.masks, (len(seen), *rows_columns), seen.spacing, frame_time)
    if options.video:
        write_video(folder / f"overlay.{options.video}", seen.draw_all(), len(seen), frame_time)


def write_objects(
    folder: Path, source: Dataset, seen: SegmentedClip, options: StudyOptions, algorithm: Mapping[str, Any]
) -> list[str]:
    """Write the DICOM objects of a clip and return their names: Segmentation, report and, if asked for, capture."""
    from pydicom import dcmread

    from pe_monai.dicom.capture import write_capture
    from pe_monai.dicom.report_sr import write_report
    from pe_monai.dicom.segmentation import write_segmentation

    planes = seen.masks if seen.probabilities is None else (plane / 255 for plane in seen.probabilities)
    path = write_segmentation(folder / OBJECTS[0], source, planes, options.fractional, algorithm=algorithm)
    segmentation = dcmread(path, stop_before_pixels=True)
    number = seen.measurement.largest_frame
    masks = {} if number is None else {number: seen.masks[number - 1]}
    write_report(folder / OBJECTS[1], source, seen.measurement, masks, segmentation, algorithm=algorithm)
    if not options.capture:
        return list(OBJECTS[:2])
    pictures = seen.draw_all(whole=True)  # like its source, it belongs to the patient and carries the name
    identity = bool(seen.unclear)
    write_capture(folder / OBJECTS[2], source, pictures, len(seen), algorithm=algorithm, shows_identity=identity)
    return list(OBJECTS)


def measured_clip(seen: SegmentedClip, name: str) -> MeasuredClip:
    """A clip as the tables take it, under a name that need not be its file's."""
    total = len(seen)
    return MeasuredClip(name, [name] * total, range(1, total + 1), seen.measurement, seen.spacing_from, seen.bad_frames)


def _draw_sheet(seen: SegmentedClip) -> Any:
    chosen = [place + 1 for place in choose_frames(len(seen), _SHEET_FRAMES, seen.key_frame - 1)]
    box = sector_box(seen.sectors[number - 1] for number in chosen)
    pictures = [seen.draw(number, width=_SHEET_WIDTH, box=box) for number in chosen]
    return contact_sheet(pictures, [caption(seen.measurement, number) for number in chosen])
