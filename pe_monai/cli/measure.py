# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure effusion in masks that exist already: PNG, NIfTI, NRRD, DICOM Segmentations, or folders of them."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pe_monai.cli.arguments import add_scale_argument, add_spacing_argument, exit_code, silence_dicom_libraries

if TYPE_CHECKING:
    import numpy as np

    from pe_monai.data import FrameFile
    from pe_monai.errors import FrameError
    from pe_monai.measure import FrameMeasurement
    from pe_monai.measure.tables import MeasuredClip

EXAMPLES = """examples:
  pe_monai measure masks/ -o measured --spacing 0.42 0.42
  pe_monai measure results/masks -o measured --sectors results/sectors --probabilities results/probabilities
  pe_monai measure clip1/ clip2/ -o measured --clip --spacing 0.42 0.42
  pe_monai measure seg.dcm -o measured --source clip.dcm"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="a file of masks, or a folder that is searched through"
    )
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="folder of the results; made if absent")
    add_spacing_argument(parser)
    parser.add_argument("--clip", action="store_true", help="the files of a folder are the frames of one clip, by name")
    parser.add_argument("--sectors", metavar="DIR", help="sectors (0 and 255) under the names of the masks")
    parser.add_argument(
        "--probabilities",
        metavar="DIR",
        help="probability maps (0 to 255) under the names of the masks: frames are judged by them",
    )
    parser.add_argument(
        "--source", nargs="+", metavar="FILE", default=[], help="ultrasound objects of DICOM Segmentations"
    )
    add_scale_argument(parser)


def run(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from pe_monai.measure.tables import write_measurements

    silence_dicom_libraries()
    companions = {
        name: _by_stem(folder)
        for name, folder in (("sector", options.sectors), ("probability", options.probabilities))
        if folder is not None
    }
    groups, missing = _group(options.inputs, options.clip)
    if companions:
        _check_names(groups)
    Path(options.output).mkdir(parents=True, exist_ok=True)
    clips: list[MeasuredClip] = []
    errors: list[FrameError] = [*missing]
    for group in tqdm(groups, unit="clip" if options.clip else "mask", disable=None):
        clip, failed = _measure(group, companions, options)
        clips += [clip] if clip else []
        errors += failed
    for error in errors:
        print(f"pe_monai measure: {error}", file=sys.stderr)
    write_measurements(options.output, clips, errors, options.scale)
    print(f"{len(clips)} of {len(groups) + len(missing)} inputs measured, results in {options.output}")
    return exit_code(len(clips), len(errors))


def _group(inputs: list[str], as_clips: bool) -> tuple[list[tuple[str, list[FrameFile]]], list[FrameError]]:
    """Files that belong together, each group with its name, and errors for inputs that are missing or hold nothing."""
    from pe_monai.data import collect_frames

    groups, errors = [], []
    for given in dict.fromkeys(inputs):
        files, missing = collect_frames([given])
        errors += missing
        if as_clips and Path(given).is_dir() and files:
            groups.append((given, sorted(files, key=lambda file: _natural(file.stem))))
        else:
            groups += [(str(file.path), [file]) for file in files]
    return groups, errors


def _measure(
    group: tuple[str, list[FrameFile]], companions: dict[str, dict[str, Path]], options: argparse.Namespace
) -> tuple[MeasuredClip | None, list[FrameError]]:
    """What was measured in files that belong together, and why some of them could not be used.

    A file that cannot be used leaves an unreliable frame in a clip of others.
    """
    from pe_monai.errors import FrameError
    from pe_monai.measure import FrameMeasurement, measure_clip
    from pe_monai.measure.tables import MeasuredClip

    name, files = group
    frames: list[FrameMeasurement] = []
    places: list[tuple[str, int]] = []
    times, origins, errors = None, set(), []
    bad: dict[int, FrameError] = {}
    for file in files:
        try:
            measured, numbers, times, origin = _measure_file(file, companions, options)
        except FrameError as e:
            errors.append(e)
            frames.append(FrameMeasurement(reliable=False, reason="the file cannot be used"))
            places.append((str(file.path), 1))
            bad[len(frames)] = e
            continue
        frames += measured
        places += [(str(file.path), number) for number in numbers]
        origins.add(origin)
    if len(origins) > 1:
        errors.append(FrameError(f"{name}: only some of its files have a pixel size of their own; measure them apart."))
    if len(origins) != 1:
        return None, errors
    clip = measure_clip(frames, times if len(files) == 1 else None, options.scale)
    return MeasuredClip(name, *map(list, zip(*places, strict=True)), clip, origins.pop(), bad), errors


def _measure_file(
    file: FrameFile, companions: dict[str, dict[str, Path]], options: argparse.Namespace
) -> tuple[list[FrameMeasurement], tuple[int, ...], tuple[float, ...] | None, str | None]:
    """Measurements, numbers and times of a file's frames, and where its pixel size is from."""
    from pe_monai.data.spacing import same_spacing
    from pe_monai.errors import FrameError
    from pe_monai.measure import measure_frame
    from pe_monai.measure.mask_files import read_masks

    stack = read_masks(file.path, options.source)
    given = tuple(options.spacing) if options.spacing else None
    spacing = stack.spacing or given
    if given and stack.spacing and not same_spacing(given, stack.spacing):
        own = " x ".join(f"{length:g}" for length in stack.spacing)
        print(
            f"pe_monai measure: {file.path}: has its own pixel size, {own} mm; --spacing is not used for it.",
            file=sys.stderr,
        )
    planes = {kind: _companion(file, by_stem, kind) for kind, by_stem in companions.items()}
    sector, probability = planes.get("sector"), planes.get("probability")
    sector = None if sector is None else sector > 127
    probability = None if probability is None else probability / 255
    try:
        frames = [measure_frame(mask, sector, spacing, probability) for mask in stack.masks]
    except FrameError:
        raise
    except ValueError as e:
        raise FrameError(f"{file.path}: {e}") from e
    return frames, stack.numbers, stack.times_ms, "file" if stack.spacing else "given" if given else None


def _by_stem(folder: str) -> dict[str, Path]:
    from pe_monai.data import collect_frames

    files, errors = collect_frames([folder])
    if errors:
        raise errors[0]
    return {file.stem: file.path for file in files}


def _check_names(groups: list[tuple[str, list[FrameFile]]]) -> None:
    """Refuse masks of one name from several inputs: they would all get the sector that belongs to one of them."""
    from pe_monai.errors import FrameError

    seen: dict[str, Path] = {}
    for file in (file for _, files in groups for file in files):
        if (other := seen.setdefault(file.stem, file.path)) != file.path:
            raise FrameError(
                f"{file.path}: has the name of {other}, and --sectors and --probabilities have one file for both; "
                "measure their folders apart."
            )


def _companion(file: FrameFile, by_stem: dict[str, Path], kind: str) -> np.ndarray:
    from pe_monai.errors import FrameError
    from pe_monai.measure.mask_files import read_plane

    if file.stem not in by_stem:
        raise FrameError(f"{file.path}: there is no {kind} of the name {file.stem}; check the folder of them.")
    return read_plane(by_stem[file.stem])


def _natural(name: str) -> list[tuple[int, str]]:
    """Key that sorts frame2 before frame10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
