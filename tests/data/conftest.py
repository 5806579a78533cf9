# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Tiny data sets in the published layout, made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from openpyxl import Workbook
from PIL import Image

SIDE = 16


def save_frame(path: Path, value: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((SIDE, SIDE, 3), value, np.uint8)).save(path)


def save_mask(path: Path, pixels: int = 0) -> None:
    """An annotation with so many pixels of effusion, of 256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((SIDE, SIDE, 3), np.uint8)
    mask.reshape(-1, 3)[:pixels, 1] = 254
    Image.fromarray(mask).save(path)


def save_table(root: Path, folds: dict[int, list[tuple[str, int]]]) -> None:
    book = Workbook()
    book.remove(book.active)
    for fold, clips in folds.items():
        sheet = book.create_sheet(f"Fold {fold}")
        sheet.append(("dicom file", "frames", "duration(s)", "frames used"))
        for name, used in clips:
            sheet.append((name, 60, 1.2, used))
    book.save(root / "pce_dicom_length.xlsx")


@pytest.fixture
def make_dataset(tmp_path):
    """Write folds, given as {fold: [(clip, frames used), ...]}; frame i of all has `pixels(i)` of effusion."""

    def make(folds, table=True, pixels=lambda number: 0, root=tmp_path / "set") -> Path:
        number = 0
        for fold, clips in folds.items():
            place = root / f"data/fold{fold}"
            for frame in range(sum(used for _, used in clips)):
                save_frame(place / f"fold{fold}_process_img/{frame:04d}.png", 60 + number)
                save_mask(place / f"fold{fold}_mask/{frame:04d}.png", pixels(number))
                number += 1
        if table:
            save_table(root, folds)
        return root

    return make
