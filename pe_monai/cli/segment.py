# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Outline effusion in frames, clips and ultrasound DICOM, and measure it in clips and DICOM."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pe_monai.cli.arguments import (
    add_model_arguments,
    add_scale_argument,
    add_spacing_argument,
    exit_code,
    overrides_of,
    positive,
    silence_dicom_libraries,
)
from pe_monai.quick_start import import_monai_quickly

if TYPE_CHECKING:
    from pe_monai.data import FrameFile
    from pe_monai.errors import FrameError
    from pe_monai.predictor import Predictor
    from pe_monai.results import ResultFolder
    from pe_monai.studies.options import StudyResult

EXAMPLES = """examples:
  pe_monai segment frame.png -o results
  pe_monai segment study1/ study2/ extra.nii.gz -o results --probabilities
  pe_monai segment exam.zip clip.dcm -o results --capture
  pe_monai segment clip.mp4 -o results --spacing 0.42 0.42 --video mp4

A frame (PNG, JPEG, BMP, TIFF, NIfTI, NRRD, MetaImage) becomes OUT/masks/ and OUT/overlays/. A clip (MP4, AVI, GIF,
TIFF, NIfTI, NRRD with several frames) becomes a folder in OUT/clips/, ultrasound DICOM (files, folders, DICOMDIR,
zip) a folder in OUT/study-N/: DICOM Segmentation and report, measurements, pictures, and one report.html to read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="a file, or a folder that is searched through; zip and DICOMDIR too"
    )
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="folder of the results; made if absent")
    add_model_arguments(parser)
    parser.add_argument(
        "--workers", type=positive, default=1, metavar="N", help="processes that share the single frames (default: 1)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="skip the single frames that an earlier run into OUT has done"
    )
    frames = parser.add_argument_group("frames")
    frames.add_argument("--probabilities", action="store_true", help="also write OUT/probabilities/ (0 to 255)")
    frames.add_argument("--save-sector", action="store_true", help="also write OUT/sectors/ (0 or 255)")
    frames.add_argument("--no-overlays", action="store_true", help="do not write OUT/overlays/")
    clips = parser.add_argument_group("clips and DICOM")
    add_spacing_argument(clips)
    add_scale_argument(clips)
    clips.add_argument("--video", choices=("gif", "mp4"), help="also write the frames with their outlines as a video")
    clips.add_argument("--nifti", action="store_true", help="also write the masks as NIfTI")
    clips.add_argument(
        "--fractional", action="store_true", help="probabilities in the DICOM Segmentation instead of masks"
    )
    clips.add_argument("--capture", action="store_true", help="also write a DICOM capture with the outlines burned in")
    clips.add_argument(
        "--include-identifiers",
        action="store_true",
        help="show patient and file names in the pages and tables, too, not only in the DICOM results",
    )


def run(options: argparse.Namespace) -> int:
    if options.bundle is None:
        import_monai_quickly()
    from pe_monai.predictor import Predictor
    from pe_monai.results import ResultFolder, drop_leftovers, write_manifest
    from pe_monai.resume import find_done

    silence_dicom_libraries()
    frames, clips, objects, errors = _sort(options.inputs, options.output)
    model = (options.bundle, options.device, options.batch_size, overrides_of(options), options.runtime)
    predictor = Predictor(*model)
    started = time.time()
    drop_leftovers(Path(options.output))
    results = None
    if frames or not (clips or objects):
        kinds = {
            "overlays": not options.no_overlays,
            "probabilities": options.probabilities,
            "sectors": options.save_sector,
        }
        rows = find_done(options.output, frames, predictor, kinds) if options.resume else []
        results = ResultFolder(options.output, **kinds, rows=rows)
    # what a later run may go on from, and knows these results by
    write_manifest(Path(options.output), predictor, {}, 0)
    for error in errors:
        _complain(error)
        if results is not None:
            results.add_error(error)
    done, failed = 0, 0 if results else len(errors)
    if results is not None:
        _segment_frames(frames, predictor, results, model, options.workers)
        done, failed = results.done, results.failed
    counts = {"frames": {"done": done, "failed": failed}}
    if clips or objects:
        outcome = _segment_clips(clips, objects, predictor, options)
        counts["clips"] = {"done": len(outcome.clips), "failed": len(outcome.errors)}
        done, failed = done + len(outcome.clips), failed + len(outcome.errors)
    write_manifest(Path(options.output), predictor, counts, time.time() - started)
    print(f"{done} of {done + failed} inputs done, results in {options.output}")
    return exit_code(done, failed)


def _sort(inputs: list[str], output: str) -> tuple[list[FrameFile], list[FrameFile], list[Path], list[FrameError]]:
    """Single frames, clips, what may hold DICOM, and inputs that are missing or hold nothing."""
    from pe_monai.data import collect_frames
    from pe_monai.data.clip_files import VIDEO_SUFFIXES, is_clip
    from pe_monai.data.reader import FrameReader, is_dicom

    reader, earlier = FrameReader(), _earlier_results(inputs, output)

    def accept(path: Path) -> bool:
        if any(Path(os.path.realpath(path)).is_relative_to(folder) for folder in earlier):
            return False
        return path.suffix.lower() in (*VIDEO_SUFFIXES, ".zip") or reader.verify_suffix(path)

    files, errors = collect_frames(inputs, accept)
    frames: list[FrameFile] = []
    clips: list[FrameFile] = []
    objects: list[Path] = []
    for file in files:
        if is_dicom(file.path) or file.path.suffix.lower() == ".zip" or file.path.name.upper() == "DICOMDIR":
            objects.append(file.path)
        else:
            (clips if is_clip(file.path) else frames).append(file)
    return frames, clips, objects, errors


def _earlier_results(inputs: list[str], output: str) -> list[Path]:
    """Folders below the inputs that an earlier run filled: its masks and overlays are no frames."""
    from pe_monai.results import FOLDERS

    folder, *given = (Path(os.path.realpath(path)) for path in (output, *inputs))
    if not (folder / "manifest.json").is_file():
        return []
    folders = [folder]
    if folder in given:
        from pe_monai.studies.folder import MARK

        folders = [folder / kind for kind in FOLDERS] + [mark.parent for mark in folder.glob(f"*/*/{MARK}")]
    return [place for place in folders if not any(path.is_relative_to(place) for path in given)]


def _segment_frames(
    frames: list[FrameFile], predictor: Predictor, results: ResultFolder, model: tuple, workers: int
) -> None:
    from tqdm import tqdm

    from pe_monai.workers import segment_in_processes, unfinished_parts

    parts = unfinished_parts(frames, {row["file"] for row in results.rows}, predictor.part_size)
    results.rows = [row for row in results.rows if row["file"] not in {str(f.path) for part in parts for f in part}]
    total = sum(map(len, parts))
    errors: Iterator[FrameError | None]
    # disable=None: a bar on a terminal, none in a pipe
    with tqdm(total=total, unit="frame", disable=None) as bar:
        if workers == 1 or len(parts) < 2:
            rest = [frame for part in parts for frame in part]
            outcomes = predictor.predict_files(frame.path for frame in rest)
            errors = (results.add(frame, outcome) for frame, (_, outcome) in zip(rest, outcomes, strict=True))
        else:
            errors = segment_in_processes(parts, model, results, min(workers, len(parts)))
        for error in errors:
            bar.update()
            if error is not None:
                _complain(error)
    results.close(frames)


def _segment_clips(
    clips: list[FrameFile], objects: list[Path], predictor: Predictor, options: argparse.Namespace
) -> StudyResult:
    from pe_monai.errors import FileError, FrameError
    from pe_monai.studies import StudyOptions, StudyResult, process_clips, process_study, write_table_of_clips
    from pe_monai.studies.folder import find_other_studies
    from pe_monai.studies.process import TABLE

    if options.video == "mp4" and find_spec("av") is None:
        raise FrameError("--video mp4 needs PyAV: pip install 'pe_monai[video]', or take --video gif.")
    wanted = StudyOptions(
        fractional=options.fractional,
        capture=options.capture,
        nifti=options.nifti,
        video=options.video,
        spacing=tuple(options.spacing) if options.spacing else None,
        scale=options.scale,
        include_identifiers=options.include_identifiers,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what was unpacked goes
    output, result = Path(options.output), StudyResult()
    if objects and not all(map(find_spec, ("pydicom", "highdicom"))):
        result.errors += [FileError(path, "DICOM needs pip install 'pe_monai[dicom]'.") for path in objects]
    elif objects:
        result += process_study(objects, output, predictor, wanted)
        earlier = find_other_studies(output, [page.parent for page in result.pages])
        if earlier:
            some = ", ".join(path.name for path in earlier[:3]) + (", …" if len(earlier) > 3 else "")
            print(f"pe_monai segment: {output}: {some}: of an earlier run, not in {TABLE}", file=sys.stderr)
    if clips:
        names = [clip.stem for clip in clips]
        result += process_clips([clip.path for clip in clips], names, output / "clips", predictor, wanted)
    for error in result.errors:
        _complain(error)
    write_table_of_clips(output, result, wanted)
    return result


def _complain(error: FrameError) -> None:
    from tqdm import tqdm

    tqdm.write(f"pe_monai segment: {error}", file=sys.stderr)  # above the bar, where there is one
