# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The paper's Figure 2 for the best, a median and the worst case: frame, truth, and what each row predicts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pe_monai.data import load_datalist
from pe_monai.data.reader import read_frame
from pe_monai.data.writer import result_suffix
from pe_monai.evaluation import MIN_PIXELS
from pe_monai.evaluation.predictions import relative_stem
from pe_monai.experiment.result import Result
from pe_monai.experiment.rows import BASE
from pe_monai.measure.mask_files import read_mask
from pe_monai.report.drawing import draw_frame, sector_box
from pe_monai.report.sheet import contact_sheet
from pe_monai.transforms import find_sector

MOST_ROWS = 4
_PICTURE_WIDTH = 300


def draw_panel(results: Sequence[Result]) -> np.ndarray | None:
    """Best, median and worst frame of one protocol's results, by Dice of the improved network (or the last row).

    Args:
        results: of one protocol.

    Returns:
        uint8 (H, W, 3); None if no test frame has at least 249 px of effusion.
    """
    judge = next((result for result in results if result.name == BASE), results[-1])
    others = [result for result in results if result is not judge][: MOST_ROWS - 1]
    shown = [result for result in results if result is judge or result in others]
    ranked = sorted(
        (place for place, row in enumerate(judge.rows) if row["truth_px"] >= MIN_PIXELS),
        key=lambda place: judge.rows[place]["dice"],
    )
    if not ranked:
        return None
    run = judge.run
    items = load_datalist(run.datalist.path, "testing", run.dataset)
    pictures, captions = [], []
    for word, place in (("best", ranked[-1]), ("median", ranked[len(ranked) // 2]), ("worst", ranked[0])):
        frame = read_frame(items[place]["image"])
        sector = find_sector(frame)
        masks = [np.zeros(sector.shape, bool), read_mask(items[place]["label"])]
        masks += [_mask_of(result, items[place]["image"]) for result in shown]
        pictures += [draw_frame(frame, sector, mask, width=_PICTURE_WIDTH, box=sector_box([sector])) for mask in masks]
        captions += [f"{word}: frame", f"truth, {int(judge.rows[place]['truth_px']):,} px"]
        captions += [f"{result.name[:30]}, Dice {result.rows[place]['dice']:.3f}" for result in shown]
    height = max(len(picture) for picture in pictures)
    pictures = [np.pad(picture, ((0, height - len(picture)), (0, 0), (0, 0))) for picture in pictures]
    return contact_sheet(pictures, captions, columns=2 + len(shown))


def _mask_of(result: Result, image: str) -> np.ndarray:
    stem = relative_stem(image, result.run.dataset)
    return read_mask(f"{result.run.masks / stem}{result_suffix(image)}")
