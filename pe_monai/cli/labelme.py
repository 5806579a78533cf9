# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Take annotations drawn in LabelMe as a data set to score or train on, or give masks to LabelMe for correction."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pe_monai.cli.arguments import exit_code

if TYPE_CHECKING:
    from pe_monai.data import FrameFile, Item
    from pe_monai.data.labelme import Annotation
    from pe_monai.errors import FrameError

DATALIST = "datalist.json"

EXAMPLES = """examples:
  pe_monai labelme annotated/ -o external --label 积液
  pe_monai evaluate --data external --split external/datalist.json --section testing -o scores

  pe_monai segment frames/ -o results
  pe_monai labelme frames/ --masks results/masks -o to_correct

The first takes LabelMe's JSON files: OUT/images/, OUT/labels/ and OUT/datalist.json. Polygons, rectangles, circles and
masks with the label count, lines and points do not; an annotation without shapes is a frame without effusion. The
frames of a subfolder count as one clip; where several folders are given, those of each. The second writes a JSON file
and a PNG a frame, which LabelMe opens."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="LabelMe's JSON files, or with --masks frames; or folders of them"
    )
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="folder to write; made if absent")
    parser.add_argument(
        "--label",
        nargs="+",
        default=[],
        metavar="NAME",
        help="names of the shapes that are effusion (default: effusion, pericardial effusion, 积液 and the like)",
    )
    parser.add_argument(
        "--section",
        choices=("training", "validation", "testing"),
        default="testing",
        help="of the datalist that the frames are for (default: testing)",
    )
    parser.add_argument("--masks", metavar="DIR", help="masks of the frames, such as OUT/masks/ of 'pe_monai segment'")


def run(options: argparse.Namespace) -> int:
    return exit_code(*(_give if options.masks else _take)(options))


def _take(options: argparse.Namespace) -> tuple[int, int]:
    """LabelMe's files to a data set; returns how many were done and how many failed."""
    from pe_monai.data import collect_frames, write_datalist
    from pe_monai.data.labelme import find_labels, read_annotation
    from pe_monai.errors import DatasetError, FrameError

    for folder in (Path(given).resolve() for given in options.inputs if Path(given).is_dir()):
        if Path(options.output).resolve().is_relative_to(folder):
            raise DatasetError(f"-o {options.output}: lies in {folder}, which is read; write to another folder.")
    files, errors = collect_frames(options.inputs, lambda path: path.suffix.lower() == ".json")
    annotations: dict[str, Annotation] = {}
    readable = []
    for file in files:
        try:
            annotations[file.stem] = replace(read_annotation(file.path), image_data=None)  # may be large
            readable.append(file)
        except FrameError as e:
            errors.append(e)
    labels = find_labels(annotations.values(), options.label)
    items: list[Item] = []
    shown = 0
    names = _tell_apart([Path(given) for given in options.inputs if Path(given).is_dir()])
    for file in readable:
        try:
            item, pixels = _convert(file, labels, Path(options.output), names)
            items.append(item)
            shown += pixels > 0
        except FrameError as e:
            errors.append(e)
    _complain(errors)
    if not items:
        raise DatasetError(f"none of {len(files)} annotations can be used; see the lines above.")
    split: dict[str, list[Item]] = {section: [] for section in ("training", "validation", "testing")}
    split[options.section] = items
    datalist = Path(options.output) / DATALIST
    digest = write_datalist(split, datalist, options.output, "labelme")
    _print_left_out(annotations.values(), labels, options.inputs)
    print(f"{datalist}: {len(items)} frames, {shown} with effusion, {len(items) - shown} without; sha256 {digest}")
    if options.section == "testing":
        places = ["--data", str(options.output), "--split", str(datalist)]
        print(f"score them: pe_monai evaluate {shlex.join(places)} --section testing -o scores")
    return len(items), len(errors)


def _tell_apart(folders: list[Path]) -> dict[Path, str]:
    """Names of several folders, of as much of their paths as tells them apart; nothing for one alone."""
    places = [folder.absolute() for folder in dict.fromkeys(folders)]
    for length in range(1, max((len(place.parts) for place in places), default=0) + 1):
        names = ["/".join(place.parts[-length:]) for place in places]
        if len(set(names)) == len(names):
            break
    return dict(zip(places, names, strict=True)) if len(places) > 1 else {}


def _convert(file: FrameFile, labels: set[str], output: Path, names: dict[Path, str]) -> tuple[Item, int]:
    import numpy as np

    from pe_monai.data import Item, write_picture
    from pe_monai.data.labelme import draw_mask, read_annotation, read_picture

    place = PurePosixPath(file.stem)
    root = file.path.parents[len(place.parts) - 1]  # the folder that was given, or the file's own
    annotation = read_annotation(file.path)
    picture = read_picture(annotation, root)
    mask = draw_mask(annotation, labels, picture.shape[:2])
    name = place.with_suffix(".png").as_posix() if place.suffix.lower() == ".json" else f"{place}.png"
    write_picture(picture, output / "images" / name)
    write_picture(mask.astype(np.uint8) * 255, output / "labels" / name)
    folder = PurePosixPath(names.get(root.absolute(), root.name), place.parent) if names else place.parent
    clip = str(folder) if folder.parts else None
    return Item(f"images/{name}", f"labels/{name}", 0, clip), int(mask.sum())


def _print_left_out(annotations, labels: set[str], inputs: list[str]) -> None:
    """Say what of the annotations does not count, so that a misspelt label or a forgotten frame is noticed."""
    from pe_monai.data.labelme import OPEN_SHAPES, find_picture_path
    from pe_monai.data.reader import PICTURE_SUFFIXES

    others: Counter[str] = Counter()
    open_shapes, pictures = 0, set()
    for annotation in annotations:
        others += Counter({name: count for name, count in annotation.labels.items() if name not in labels})
        open_shapes += sum(s["shape_type"] in OPEN_SHAPES and s["label"] in labels for s in annotation.shapes)
        pictures.add(find_picture_path(annotation))
    if others:
        print("left out, other labels: " + ", ".join(f"{name!r} ({count})" for name, count in others.most_common()))
    if open_shapes:
        print(f"left out, lines and points, which have no area: {open_shapes}")
    folders = [Path(given) for given in inputs if Path(given).is_dir()]
    there = {
        path.resolve() for folder in folders for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES
    }
    if there - pictures:
        print(
            f"left out, pictures without an annotation: {len(there - pictures)}; save an empty one in LabelMe where "
            "there is no effusion"
        )


def _give(options: argparse.Namespace) -> tuple[int, int]:
    """Frames and their masks to LabelMe's files; returns how many were done and how many failed."""
    from pe_monai.data import collect_frames
    from pe_monai.errors import FrameError

    frames, errors = collect_frames(options.inputs)
    name = options.label[0] if options.label else "effusion"
    done = 0
    for frame in frames:
        try:
            _give_frame(frame, Path(options.masks), Path(options.output), name)
            done += 1
        except FrameError as e:
            errors.append(e)
    _complain(errors)
    print(f"{done} of {done + len(errors)} frames with their outlines in {options.output}; open that folder in LabelMe")
    return done, len(errors)


def _give_frame(frame: FrameFile, masks: Path, output: Path, name: str) -> None:
    from pe_monai.data.labelme_writer import write_annotation
    from pe_monai.data.reader import read_frame
    from pe_monai.data.writer import result_suffix
    from pe_monai.errors import FrameError
    from pe_monai.measure.mask_files import read_mask

    source = masks / f"{frame.stem}{result_suffix(frame.path)}"
    if not source.is_file():
        raise FrameError(f"{frame.path}: no mask {source}; give the inputs that 'pe_monai segment' got")
    picture = read_frame(frame.path)
    mask = read_mask(source)
    if mask.shape != picture.shape[:2]:
        raise FrameError(f"{source}: has another size than its frame {frame.path}; give the masks of these frames")
    write_annotation(output / frame.stem, picture, mask, name)


def _complain(errors: list[FrameError]) -> None:
    for error in errors:
        print(f"pe_monai labelme: {error}", file=sys.stderr)
