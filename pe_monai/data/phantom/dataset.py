# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A whole phantom data set on disk, in the very layout of the published one."""

from __future__ import annotations

import io
import json
import re
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pe_monai.data.index import CLIP_TABLE
from pe_monai.data.phantom.frames import EMPTY_SHARE, THICKNESS_RANGE_MM, PhantomFrame, phantom_clip
from pe_monai.data.phantom.screen import BACKGROUNDS

if TYPE_CHECKING:
    from openpyxl import Workbook

TRUTH_FILE = "phantom.json"
_HEADER = ("dicom file", "frames", "duration(s)", "frames used")
_LENGTHS, _LENGTH_SHARES = (1, 2, 3, 4, 5), (0.26, 0.06, 0.41, 0.24, 0.03)
_CLIPS_PER_EXAM = 6
_LETTERS = np.array(list("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
_ZIP_TIME = (2000, 1, 1, 0, 0, 0)


def write_phantom_dataset(
    root: str | Path,
    folds: Sequence[int] = (1, 2, 3),
    clips_per_fold: int = 12,
    seed: int = 0,
    background: str = "green",
    size: tuple[int, int] = (224, 320),
    thickness_range_mm: tuple[float, float] = THICKNESS_RANGE_MM,
) -> Path:
    """Write phantom clips as `data/foldK/foldK_process_img`, `data/foldK/foldK_mask` and the table of clips.

    Clips have 1 to 5 stored frames; about 38 % of a fold's frames are without effusion. The first five characters of a
    clip's name are its exam: one thickness of effusion and one depth, in several clips that may lie in several folds.
    `phantom.json` lists the truth of every frame. Equal arguments give byte-identical files, and nothing is left under
    `root` unless all of it was written.

    Args:
        root: folder to create; may exist if empty.
        folds: numbers of the folds, positive and different.
        clips_per_fold: number of clips in each.
        seed: source of all chance, not negative.
        background: "green" or "black", see `phantom_clip`.
        size: (rows, columns) of every frame.
        thickness_range_mm: thinnest and thickest effusion, within 2 to 40. Thin ones, frequent in the default, take
            long to learn.

    Returns:
        The folder written.

    Raises:
        FileExistsError: if `root` is a file or a folder that is not empty.
        ValueError: for an argument out of its range.
    """
    folds = tuple(int(fold) for fold in folds)
    if not folds or len(set(folds)) != len(folds) or min(folds) < 1:
        raise ValueError(f"folds must be different positive numbers, got {folds}.")
    if clips_per_fold < 1:
        raise ValueError(f"clips_per_fold must be at least 1, got {clips_per_fold}.")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}.")
    if background not in BACKGROUNDS:
        raise ValueError(f"background must be one of {BACKGROUNDS}, got {background!r}.")
    low, high = thickness_range_mm
    if not THICKNESS_RANGE_MM[0] <= low <= high <= THICKNESS_RANGE_MM[1]:
        raise ValueError(f"thickness_range_mm must lie within {THICKNESS_RANGE_MM}, got {tuple(thickness_range_mm)}.")
    root = Path(root).resolve()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(f"{root} exists and is not an empty folder; give another one or remove it.")
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as scratch:
        part = Path(scratch) / root.name
        part.mkdir()
        _write_all(part, folds, clips_per_fold, seed, background, size, (low, high))
        if root.exists():
            root.rmdir()
        part.rename(root)
    return root


def _write_all(
    root: Path,
    folds: tuple[int, ...],
    clips_per_fold: int,
    seed: int,
    background: str,
    size: tuple[int, int],
    thickness_range_mm: tuple[float, float],
) -> None:
    """Write images, masks, table and truth below `root`."""
    from openpyxl import Workbook  # slow to import, and outlining frames has no use for it

    rng = np.random.default_rng([seed, 2])
    exams = _draw_exams(rng, max(1, round(len(folds) * clips_per_fold / _CLIPS_PER_EXAM)), thickness_range_mm)
    suffixes = rng.choice(36**3, len(folds) * clips_per_fold, replace=False)
    book = Workbook()
    book.remove(book.active)
    truth = []
    for place, fold in enumerate(folds):
        images = root / "data" / f"fold{fold}" / f"fold{fold}_process_img"
        masks = root / "data" / f"fold{fold}" / f"fold{fold}_mask"
        images.mkdir(parents=True)
        masks.mkdir()
        sheet = book.create_sheet(f"Fold {fold}")
        sheet.append(_HEADER)
        lengths = rng.choice(_LENGTHS, clips_per_fold, p=_LENGTH_SHARES)
        empty = _draw_empty(rng, lengths)
        number = 0
        for row, length in enumerate(lengths):
            clip_number = place * clips_per_fold + row
            exam, thickness, depth = exams[rng.integers(len(exams))]
            name = exam + _word(int(suffixes[clip_number]), 3)
            recorded = int(rng.integers(30, 134))
            sheet.append((name, recorded, round(recorded / float(rng.uniform(38, 55)), 6), int(length)))
            jitter = float(np.clip(thickness * rng.uniform(0.8, 1.25), *thickness_range_mm))
            clip_seed = int(rng.integers(2**31))
            frames = phantom_clip(clip_seed, int(length), size, background, 0.0 if empty[row] else jitter, depth)
            for frame in frames:
                file = f"{number:04d}.png"
                _save(frame, images / file, masks / file)
                truth.append(_truth(frame, fold, file, name))
                number += 1
    _save_book(book, root / CLIP_TABLE)
    settings = {"seed": seed, "background": background, "size": list(size), "frames": truth}
    (root / TRUTH_FILE).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def _word(number: int, length: int) -> str:
    """`number` in base 36, padded to `length` characters."""
    return "".join(_LETTERS[number // 36**place % 36] for place in reversed(range(length)))


def _draw_exams(
    rng: np.random.Generator, count: int, thickness_range_mm: tuple[float, float]
) -> list[tuple[str, float, float]]:
    """Exams as (five characters, thickness in mm, depth in cm); the depth leaves room for the thickness."""
    numbers = rng.choice(36**5, count, replace=False)
    low, high = np.log(thickness_range_mm)
    thickness = np.exp(low + (high - low) * rng.random(count))
    least = np.maximum(11.5, 9 + thickness / 4)
    depth = least + (21 - least) * rng.random(count)
    return [(_word(int(n), 5), float(t), round(float(d), 1)) for n, t, d in zip(numbers, thickness, depth, strict=True)]


def _draw_empty(rng: np.random.Generator, lengths: np.ndarray) -> np.ndarray:
    """Choose clips without effusion so that their share of the fold's frames comes close to `EMPTY_SHARE`."""
    target, held = EMPTY_SHARE * lengths.sum(), 0
    empty = np.zeros(len(lengths), dtype=bool)
    for clip in rng.permutation(len(lengths)):
        if abs(held + lengths[clip] - target) < abs(held - target):
            empty[clip] = True
            held += lengths[clip]
    return empty


def _save(frame: PhantomFrame, image: Path, mask: Path) -> None:
    """Write a frame and its mask, the mask in the green channel as published."""
    Image.fromarray(frame.image).save(image, compress_level=4)
    channels = np.zeros((*frame.coverage.shape, 3), dtype=np.uint8)
    channels[..., 1] = frame.coverage
    Image.fromarray(channels).save(mask)


def _truth(frame: PhantomFrame, fold: int, file: str, name: str) -> dict:
    """What is known of a frame, with paths relative to the data set's root."""
    return {
        "fold": fold,
        "image": f"data/fold{fold}/fold{fold}_process_img/{file}",
        "mask": f"data/fold{fold}/fold{fold}_mask/{file}",
        "clip": name,
        "exam": name[:5],
        "index": frame.index,
        "view": frame.view,
        "thickness_mm": round(frame.thickness_mm, 4),
        "spacing_mm": [round(s, 6) for s in frame.spacing],
        "depth_cm": frame.depth_cm,
        "seed": frame.seed,
    }


def _save_book(book: Workbook, path: Path) -> None:
    """Save a workbook without the time of writing, which would make equal books differ."""
    buffer = io.BytesIO()
    book.save(buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "docProps/core.xml":
                content = re.sub(rb">\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ<", b">2000-01-01T00:00:00Z<", content)
            target.writestr(zipfile.ZipInfo(name, _ZIP_TIME), content, compress_type=zipfile.ZIP_DEFLATED)
