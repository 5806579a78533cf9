# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Studies of ultrasound objects, and clips of any other kind, to folders of results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pe_monai import __version__
from pe_monai.errors import FileError, FrameError
from pe_monai.measure import find_scale
from pe_monai.measure.tables import CLIP_COLUMNS, write_table
from pe_monai.report.page import ClipSection, write_page
from pe_monai.results import provenance
from pe_monai.studies.clip_results import note_clip, write_results
from pe_monai.studies.folder import PAGE, drop_other_study, drop_others, whole_folder
from pe_monai.studies.options import StudyOptions, StudyResult
from pe_monai.studies.segmented import segment_clip

if TYPE_CHECKING:
    from pe_monai.data.clips import Clip
    from pe_monai.dicom.discover import Study
    from pe_monai.dicom.reader import UltrasoundClip
    from pe_monai.predictor import Predictor

TABLE = "clips.csv"


def process_study(
    inputs: Sequence[str | Path], output: str | Path, predictor: Predictor, options: StudyOptions
) -> StudyResult:
    """Outline and measure the ultrasound of one or several studies, and write what viewers and people read.

    Each study gets a folder with an HTML page and a folder for each clip; their names are numbers, in the order of the
    identifiers, so that they tell nothing and a rerun gives the same. A clip's folder is there whole or not at all.

    Args:
        inputs: DICOM files, folders, DICOMDIR or zip archives.
        output: where the studies' folders go; made if absent.
        predictor: a bundle.
        options: what to write.

    Returns:
        What came of it; an object that cannot be used is an error in it, and the rest is done.

    Raises:
        OSError: the results cannot be written.
    """
    from pe_monai.dicom.discover import find_studies

    result = StudyResult()
    with find_studies([Path(given) for given in inputs]) as (studies, errors):
        result.errors += errors
        for number, study in enumerate(studies, start=1):
            _process_one(study, number, Path(output) / f"study-{number}", predictor, options, result)
    return result


def process_clips(
    paths: Sequence[str | Path], names: Sequence[str], output: str | Path, predictor: Predictor, options: StudyOptions
) -> StudyResult:
    """Outline and measure clips that are no DICOM; each gets a folder of its name, all of them one page.

    Args:
        paths: the files.
        names: of the results of each, with forward slashes.
        output: where the folders and the page go; made if absent.
        predictor: a bundle.
        options: what to write.

    Returns:
        What came of it; a file that cannot be used is an error in it, and the rest is done.

    Raises:
        OSError: the results cannot be written.
    """
    from pe_monai.data.clip_files import open_clip

    result, output, sections = StudyResult(), Path(output), []
    for path, name in zip(map(Path, paths), names, strict=True):
        try:
            clip = open_clip(path)
            sections.append(_write_clip(clip, name, output / name, predictor, options, result))
        except FrameError as e:
            result.errors.append(name_file(e, path))
    result.pages.append(write_summary(output, "Pericardial effusion in clips", sections, result, predictor, options))
    return result


def write_table_of_clips(output: Path, result: StudyResult, options: StudyOptions) -> None:
    """Write ``clips.csv``: a row for each clip of all studies, then the errors."""
    rows: list[dict[str, Any]] = [
        {**clip.row, "folder": _below(clip.folder, output), "status": "ok"} for clip in result.clips
    ]
    rows += [{"status": "error", "error": _shown(error, options)} for error in result.errors]
    write_table(output / TABLE, ("folder", "status", *CLIP_COLUMNS, "error"), rows)


def _process_one(
    study: Study, number: int, folder: Path, predictor: Predictor, options: StudyOptions, result: StudyResult
) -> None:
    sections, place = [], 0
    before = len(result.errors)
    drop_other_study(folder, study.uid, study.patient)
    for clip in open_objects(study, result):
        place += 1
        name = f"clip-{place}"
        try:
            sections.append(_write_clip(clip, name, folder / name, predictor, options, result, clip.header))
        except FrameError as e:
            result.errors.append(name_file(e, clip.path))
    if place == 0 and len(result.errors) == before:
        return
    drop_others(folder, [clip.folder for clip in result.clips])
    facts = _identifiers(study) if options.include_identifiers else {}
    title = f"Pericardial effusion: study {number}"
    result.pages.append(write_summary(folder, title, sections, result, predictor, options, before, facts))


def open_objects(study: Study, result: StudyResult) -> Iterator[UltrasoundClip]:
    """The clips of a study, no pixel decoded yet; an object that cannot be opened is an error of the result."""
    from pe_monai.dicom.reader import open_ultrasound

    for path in study.objects:
        name = study.origins.get(path, path)
        try:
            for clip in open_ultrasound(path):
                clip.path = name
                yield clip
        except FrameError as e:
            result.errors.append(FileError(name, str(e).removeprefix(f"{path}: ")))


def _write_clip(
    clip: Clip,
    name: str,
    folder: Path,
    predictor: Predictor,
    options: StudyOptions,
    result: StudyResult,
    header: Any = None,
) -> ClipSection:
    """Results of one clip, whole or not at all; returns what the page says about it."""
    with whole_folder(folder) as partial:
        seen = segment_clip(clip, predictor, options, partial)
        objects = write_results(partial, seen, name, predictor, options, header)
    return note_clip(seen, name, folder, objects, options, result)


def write_summary(
    folder: Path,
    title: str,
    sections: Sequence[ClipSection],
    result: StudyResult,
    predictor: Predictor,
    options: StudyOptions,
    first_error: int = 0,
    facts: Mapping[str, str] | None = None,
) -> Path:
    """Write the page of a study; returns its file."""
    made_by = provenance(predictor)
    scale = find_scale(options.scale)
    settings = {
        "pe_monai": __version__,
        "Bundle": made_by["bundle"],
        "Weights, SHA-256": made_by["weights_sha256"],
        **{name.replace("_", " ").capitalize(): value for name, value in made_by["settings"].items()},
        "Scale of grades": f"{scale.name}: {scale.source}",
    }
    errors = [_shown(error, options) for error in result.errors[first_error:]]
    return write_page(folder / PAGE, title, sections, errors, settings, facts)


def name_file(error: FrameError, path: Path) -> FileError:
    """An error that names the file."""
    return FileError(path, str(error).removeprefix(f"{path}: "))


def _shown(error: FrameError, options: StudyOptions) -> str:
    """An error as it may be written; without the file's folder and name, which may name the patient."""
    if isinstance(error, FileError) and not options.include_identifiers:
        return f"An object: {error.reason}"
    return str(error)


def _identifiers(study: Study) -> dict[str, str]:
    header = study.header
    names = {
        "Patient": "PatientName",
        "Patient ID": "PatientID",
        "Study date": "StudyDate",
        "Study UID": "StudyInstanceUID",
    }
    return {name: str(header.get(keyword) or "–") for name, keyword in names.items()}


def _below(folder: Path, output: Path) -> str:
    return folder.relative_to(output).as_posix() if folder.is_relative_to(output) else str(folder)
