# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Scores of masks that exist already, whoever made them: matched with the frames of a datalist by their names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from pe_monai.data import collect_frames
from pe_monai.data.reader import read_frame
from pe_monai.data.splits import load_datalist
from pe_monai.errors import DatasetError, FrameError, list_some
from pe_monai.evaluation.scores import score_frame
from pe_monai.measure.mask_files import read_mask
from pe_monai.transforms import SectorNotFoundError, find_sector

MISSING = ("refuse", "empty")
_NNUNET_CHANNEL = "_0000"


def relative_stem(path: str | Path, root: str | Path | None) -> str:
    """Path of a file below a folder without its suffix; folder and name where it does not lie below."""
    path = Path(path)
    parts = path.parts[-2:]
    # a link stands for itself: several may lead to files of one name, or out of the data set
    place, above = (Path(os.path.abspath(given)) for given in (path, root or path))
    if root is not None and place.is_relative_to(above):
        parts = place.relative_to(above).parts
    return str(PurePosixPath(*parts).with_name(collect_frames([path])[0][0].stem))


def match_masks(folder: str | Path, stems: Sequence[str]) -> dict[str, Path]:
    """Find the mask of each frame in a folder, by name.

    A mask has the frame's path below the data set's folder, or any end of it, whatever the kind of file; for the frame
    ``data/fold8/fold8_process_img/0001.png`` that is ``data/fold8/fold8_process_img/0001.nii.gz``, or
    ``fold8_process_img/0001.png``, or ``0001.png`` where no other frame is called so. The folders may be written into
    the name as nnU-Net's flat folders need it: ``fold8_0001``, ``fold8_process_img_0001``, also with nnU-Net's ending
    ``_0000``. The longest match counts.

    Args:
        folder: folder of the masks.
        stems: path of each frame below its data set, without a suffix.

    Returns:
        The mask of each stem that has one.

    Raises:
        DatasetError: a name of a mask fits several frames, or several masks have the name of one.
        FrameError: there is no such folder, or no file in it that could be a mask.
    """
    found, errors = collect_frames([folder])
    if errors:
        raise errors[0]
    masks: dict[str, Path] = {}
    twins: dict[str, Path] = {}
    for file in found:
        if not file.path.name.startswith(PurePosixPath(file.stem).name):  # numbered, as its name was taken
            twins[file.stem.rpartition("-")[0]] = file.path
        masks.setdefault(file.stem.removesuffix(_NNUNET_CHANNEL), file.path)
        masks[file.stem] = file.path
    owners: dict[str, set[str]] = {}
    for stem in stems:
        for name in _names_of(stem):
            owners.setdefault(name, set()).add(stem)
    matched = {}
    for stem in stems:
        for name in filter(masks.__contains__, _names_of(stem)):
            if len(owners[name]) > 1:
                other = min(owners[name] - {stem})
                raise DatasetError(
                    f"{masks[name]}: could be the mask of {stem} or of {other}; keep the masks in folders like the "
                    "frames', or write the folder into the name."
                )
            if name in twins:
                raise DatasetError(f"{twins[name]}: {masks[name]} is of the same name; keep one mask a frame.")
            matched[stem] = masks[name]
            break
    return matched


def _names_of(stem: str) -> Iterable[str]:
    """Names that the mask of a frame may have, the longest first."""
    parts = PurePosixPath(stem).parts
    tails = [parts[start:] for start in range(len(parts))]
    yield from ("/".join(tail) for tail in tails)
    yield from ("_".join(tail) for tail in tails[:-1])
    yield from ("_".join((folder, parts[-1])) for folder in reversed(parts[:-1]))


def score_masks(
    folder: str | Path,
    datalist: str | Path,
    section: str,
    dataset_dir: str | Path,
    missing: str = "refuse",
) -> list[dict[str, Any]]:
    """Score the masks of a folder against a section of a datalist.

    A mask is no probability: the ``score`` that ranks frames is the marked share of its 1 % of the sector, and there is
    no uncertainty and no calibration.

    Args:
        folder: folder of the masks, see :func:`match_masks`; each of the size of its frame.
        datalist: as :func:`pe_monai.data.load_datalist` takes it.
        section: "training", "validation" or "testing".
        dataset_dir: folder of the data set.
        missing: "refuse" if a frame without a mask is an error, "empty" if nothing was found in it.

    Returns:
        One row a frame, as :func:`pe_monai.evaluation.summarise` takes them.

    Raises:
        DatasetError: masks are missing, unreadable or of another size than their frame; all are counted, some named.
        ValueError: ``missing`` is another word.
    """
    if missing not in MISSING:
        raise ValueError(f"missing must be one of {', '.join(MISSING)}, got {missing!r}.")
    items = load_datalist(datalist, section, dataset_dir)
    stems = [relative_stem(item["image"], dataset_dir) for item in items]
    masks = match_masks(folder, stems)
    lacking = [stem for stem in stems if stem not in masks]
    if lacking and (missing == "refuse" or not masks):
        raise DatasetError(
            f"{folder}: no mask for {len(lacking)} of {len(stems)} frames ({list_some(lacking)}); add them under the "
            "frames' names" + (", or count them as empty with --missing empty." if masks else ".")
        )
    rows, problems = [], []
    for item, stem in zip(items, stems, strict=True):
        try:
            rows.append(_score(item, masks.get(stem)))
        except FrameError as e:
            problems.append(str(e))
    if problems:
        raise DatasetError(f"{len(problems)} frames cannot be scored: {list_some(problems, '; ')}.")
    return rows


def _score(item: Mapping[str, Any], path: Path | None) -> dict[str, Any]:
    frame = read_frame(item["image"])
    size = frame.shape[:2]
    truth = _read_mask(item["label"], size, "give the annotation of this frame")
    pred = np.zeros(size, bool) if path is None else _read_mask(path, size, "resize it")
    try:
        sector = find_sector(frame)
    except SectorNotFoundError as e:
        raise FrameError(f"{item['image']}: {e}") from e
    marked, true, inside = (torch.from_numpy(plane.astype(np.float32))[None] for plane in (pred, truth, sector))
    scores = score_frame(marked, true, marked, inside)
    del scores["uncertainty"]
    source = {key: item.get(key, "") for key in ("fold", "clip", "exam")}
    return {"image": PurePosixPath(*Path(item["image"]).parts[-2:]).as_posix(), **source, **scores}


def _read_mask(path: str | Path, size: tuple[int, ...], remedy: str) -> np.ndarray:
    mask = read_mask(path)
    height, width = mask.shape
    if (height, width) != size:
        raise FrameError(f"{path}: is {width} wide x {height} high, its frame is {size[1]} x {size[0]}; {remedy}.")
    return mask
