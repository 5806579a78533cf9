# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A contact sheet: frames of a clip side by side, each with its caption."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_BACKGROUND = (16, 16, 16)
_TEXT = (225, 225, 225)
_GAP = 8
_FONT = 13


def choose_frames(count: int, most: int, chosen: int | None = None) -> list[int]:
    """Places spread evenly over a clip, from 0; one of them gives way to the frame that must not be missed.

    Args:
        count: frames of the clip.
        most: how many to choose at most.
        chosen: place of a frame that must be among them.
    """
    places = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
    if chosen is not None and chosen not in places:
        places[np.argmin(np.abs(places - chosen))] = chosen
    return [int(place) for place in places]


def contact_sheet(pictures: Sequence[np.ndarray], captions: Sequence[str], columns: int = 4) -> np.ndarray:
    """Lay pictures of one size out in rows.

    Args:
        pictures: each (H, W, 3) uint8.
        captions: a line for each.
        columns: pictures in a row.

    Returns:
        uint8 (H, W, 3).
    """
    height, width = pictures[0].shape[:2]
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    step = (width + _GAP, height + _GAP + 2 * _FONT)
    sheet = Image.new("RGB", (columns * step[0] + _GAP, rows * step[1] + _GAP), _BACKGROUND)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT)
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x, y = _GAP + number % columns * step[0], _GAP + number // columns * step[1]
        sheet.paste(Image.fromarray(picture), (x, y))
        pen.text((x + 2, y + height + 3), caption, fill=_TEXT, font=font)
    return np.asarray(sheet)
