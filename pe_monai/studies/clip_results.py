# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What is written of a clip once it is outlined and measured, and what is noted of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pe_monai import __version__
from pe_monai.errors import FileError
from pe_monai.measure.tables import clip_row
from pe_monai.results import provenance
from pe_monai.studies.options import ClipResult, StudyOptions, StudyResult
from pe_monai.studies.outputs import measured_clip, write_files, write_objects
from pe_monai.studies.section import describe_clip

if TYPE_CHECKING:
    from pe_monai.predictor import Predictor
    from pe_monai.report.page import ClipSection
    from pe_monai.studies.segmented import SegmentedClip


def write_results(
    folder: Path, seen: SegmentedClip, name: str, predictor: Predictor, options: StudyOptions, header: Any = None
) -> list[str]:
    """Write the files of a clip.

    Args:
        folder: where; it exists.
        seen: the clip, outlined and measured.
        name: what the clip is called.
        predictor: the bundle that outlined it.
        options: what to write.
        header: dataset of the DICOM object it comes from, for Segmentation and report; None writes neither.

    Returns:
        Names of the DICOM objects among them.
    """
    made_by = provenance(predictor)
    facts: dict[str, Any] = {"clip": name, "notes": list(seen.clip.notes)}
    if options.include_identifiers:
        facts["file"] = str(seen.clip.path)
    objects: list[str] = []
    if header is not None:
        objects = write_objects(folder, header, seen, options, _algorithm(made_by, seen, options))
    write_files(folder, seen, options, facts, made_by)
    return objects


def note_clip(
    seen: SegmentedClip, name: str, folder: Path, objects: Sequence[str], options: StudyOptions, result: StudyResult
) -> ClipSection:
    """Add a clip whose files are in ``folder`` to the result of its study; returns what the page says about it."""
    title = str(seen.clip.path) if options.include_identifiers else name
    result.clips.append(
        ClipResult(
            name=name,
            folder=folder,
            objects=tuple(folder / file for file in objects),
            measurement=seen.measurement,
            row=clip_row(measured_clip(seen, title)),
        )
    )
    result.errors += [FileError(seen.clip.path, fault) for fault in seen.clip.faults]
    result.errors += _first_and_count(seen)
    return describe_clip(seen, title)


def _first_and_count(seen: SegmentedClip) -> list[FileError]:
    """One error for all frames of a clip that could not be used."""
    if not seen.bad_frames:
        return []
    first = next(iter(seen.bad_frames.values()))
    count = f"{len(seen.bad_frames)} of {len(seen)} frames"
    return [FileError(seen.clip.path, f"{count} cannot be used, first: {first}")]


def _algorithm(made_by: Mapping[str, Any], seen: SegmentedClip, options: StudyOptions) -> dict[str, Any]:
    """What made the objects; another choice of these is another series."""
    clip, damage = seen.clip, [*seen.clip.faults, *seen.bad_frames]
    settings = {
        **{name: value for name, value in made_by["settings"].items() if name not in ("batch_size", "device")},
        "fractional": options.fractional,
        "scale": options.scale,
        "spacing": None if clip.spacing else options.spacing,
        "region": clip.name,
        **({"damage": damage} if damage else {}),  # a whole copy that comes later has results of its own
    }
    return {
        "name": "pe_monai",
        "version": __version__,
        "weights_sha256": made_by["weights_sha256"],
        "settings": settings,
    }
