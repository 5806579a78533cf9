# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Index of a data set in the layout of the public pericardial effusion set (organisation ncnuaiialab).

``ROOT/data/foldK/foldK_process_img/NNNN.png`` and ``ROOT/data/foldK/foldK_mask/NNNN.png`` are the frames and their
annotations, ``ROOT/pce_dicom_length.xlsx`` says which clip each frame was taken from. Any subset of the folds will do.
"""

from __future__ import annotations

import logging
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from pe_monai.errors import DatasetError

logger = logging.getLogger(__name__)

CLIP_TABLE = "pce_dicom_length.xlsx"
EXAM_PREFIX = 5


@dataclass(frozen=True)
class Item:
    """One annotated frame.

    Attributes:
        image: path of the frame below the data set's root, with forward slashes.
        label: path of its annotation, likewise.
        fold: number of the published fold.
        clip: name of the clip the frame was taken from, or None where the clip table is absent.
        exam: first five characters of the clip's name, the best stand-in for an exam, or None.
    """

    image: str
    label: str
    fold: int
    clip: str | None = None
    exam: str | None = None

    def as_dict(self) -> dict[str, str | int]:
        """The item as a MONAI datalist holds it; what is unknown is left out, since MONAI cannot collate None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def index_dataset(root: str | Path) -> list[Item]:
    """List the annotated frames of a data set, in the order of folds and file names.

    Frames and annotations are paired by name, one by one. Nothing is decoded here.

    Args:
        root: folder that holds ``data/fold1`` and so on, and, if it is to name clips, ``pce_dicom_length.xlsx``.

    Raises:
        DatasetError: there is no fold; a frame lacks its annotation or an annotation its frame; the clip table does not
            add up to the frames of a fold. Without a clip table the items have no clip and no exam, which is logged.
    """
    root = Path(root)
    folds = {}
    for folder in (root / "data").glob("fold*"):
        match = re.fullmatch(r"fold(\d+)", folder.name)
        if match and folder.is_dir():
            folds[int(match.group(1))] = folder
    if not folds:
        raise DatasetError(
            f"{root}: no folder data/fold1 (or another number) in it; name the folder that holds the data set's data/."
        )
    items = []
    clips = _clips_by_fold(root / CLIP_TABLE)
    for fold, folder in sorted(folds.items()):
        names = _paired_names(folder)
        of_frames = _clips_of_frames(clips, fold, len(names), root / CLIP_TABLE)
        for name, clip in zip(names, of_frames, strict=True):
            image = f"data/{folder.name}/{folder.name}_process_img/{name}"
            label = f"data/{folder.name}/{folder.name}_mask/{name}"
            items.append(Item(image, label, fold, clip, clip[:EXAM_PREFIX] if clip else None))
    return items


def _paired_names(folder: Path) -> list[str]:
    names = []
    for kind in ("process_img", "mask"):
        place = folder / f"{folder.name}_{kind}"
        if not place.is_dir():
            raise DatasetError(f"{place}: this folder is missing; a fold needs its frames and its annotations.")
        shown = (path for path in place.iterdir() if not path.name.startswith("."))  # macOS hides a double
        names.append({path.name for path in shown if path.suffix.lower() == ".png"})
    images, masks = names
    if images != masks:
        lonely = sorted(images ^ masks)
        what = "has no annotation" if lonely[0] in images else "is an annotation without a frame"
        raise DatasetError(
            f"{folder}: {lonely[0]} {what} ({len(lonely)} such files); complete the pairs or remove them."
        )
    return sorted(images)


def _clips_by_fold(table: Path) -> dict[int, list[tuple[str, int]]] | None:
    if not table.is_file():
        logger.warning("%s is absent: frames get no clip and no exam, so that no split can keep them together.", table)
        return None
    import openpyxl  # slow to import, and outlining frames has no use for it

    try:
        book = openpyxl.load_workbook(table, read_only=True, data_only=True)
        clips = {}
        for sheet in book.worksheets:
            fold = int(re.sub(r"\D", "", sheet.title) or 0)
            rows = sheet.iter_rows(min_row=2, max_col=4, values_only=True)
            clips[fold] = [(str(row[0]), int(row[3])) for row in rows if row[0] is not None]
        book.close()
    except Exception as e:
        raise DatasetError(
            f"{table}: not the expected table (a sheet a fold; dicom file, frames, duration, frames used): {e}"
        ) from e
    return clips


def _clips_of_frames(
    clips: dict[int, list[tuple[str, int]]] | None, fold: int, count: int, table: Path
) -> list[str] | list[None]:
    if clips is None:
        return [None] * count
    names = [name for name, used in clips.get(fold, []) for _ in range(used)]
    if len(names) != count:
        raise DatasetError(
            f"{table}: its sheet for fold {fold} counts {len(names)} frames, the folder holds {count}; "
            "restore the missing files, or move the table away to go on without clips."
        )
    return names
