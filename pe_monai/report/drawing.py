# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of frames for people: the grey sector, the effusion's outline, the calliper and a line of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage.measure import find_contours

OUTLINE = (255, 210, 0)
DOUBTFUL = (255, 120, 60)
CALLIPER = (80, 220, 255)
_TINT = 0.2
_TEXT = (230, 230, 230)
_WIDEST_TOP = 0.6  # of the largest width; a phased array has 0.05, a curved one less than half
_REFERENCE_SIDE = 600  # a line is one pixel wide up to this size of a picture

Calliper = tuple[tuple[float, float], tuple[float, float]]


class Box(NamedTuple):
    """Part of a frame."""

    rows: slice
    columns: slice


def sector_box(sectors: Iterable[np.ndarray], margin: int = 4) -> Box:
    """The smallest part of a frame that holds the sectors (H, W) and a margin; the whole frame if they are empty."""
    seen = np.logical_or.reduce([np.asarray(sector) > 0 for sector in sectors])
    if not seen.any():
        return Box(slice(0, seen.shape[0]), slice(0, seen.shape[1]))
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    return Box(*(slice(max(0, int(at[0]) - margin), int(at[-1]) + 1 + margin) for at in (rows, columns)))


def is_fan(sector: np.ndarray) -> bool:
    """Whether a sector (H, W) is narrow at its top, as that of every probe for the heart.

    What is as wide at its top as anywhere may be a whole screen, with what the machine wrote on it.
    """
    widths = np.count_nonzero(sector, axis=1)
    rows = np.flatnonzero(widths)
    if not rows.size:
        return True
    seen = widths[rows[0] : rows[-1] + 1]
    return bool(seen[: max(1, len(seen) // 20)].mean() <= _WIDEST_TOP * seen.max())


def draw_frame(
    frame: np.ndarray,
    sector: np.ndarray,
    mask: np.ndarray,
    callipers: Sequence[Calliper] = (),
    *,
    doubtful: bool = False,
    text: str = "",
    spacing: tuple[float, float] | None = None,
    width: int | None = None,
    box: Box | None = None,
) -> np.ndarray:
    """The grey sector with the effusion's outline, and callipers across it.

    Only the sector is drawn: what a machine writes around it may name the patient.

    Args:
        frame: (H, W) or (H, W, C) uint8.
        sector: non-zero inside the sector, (H, W).
        mask: effusion, non-zero inside, (H, W).
        callipers: ends of each line as (row, column), in pixels of the frame.
        doubtful: draw the outline in the colour of frames judged unreliable.
        text: written into the top left corner.
        spacing: (row, column) pixel spacing in mm, so that a calliper's ends stand upright on it; square if None.
        width: of the picture in pixels; it is then drawn with square pixels. The frame's own size if None.
        box: part of the frame to draw, all of it if None; see :func:`sector_box`.

    Returns:
        uint8 (H, W, 3), or of the width asked for.
    """
    box = box or Box(slice(None), slice(None))
    frame, inside, effusion = (np.asarray(plane)[box] for plane in (frame, sector, mask))
    inside, effusion = inside > 0, effusion > 0
    corner = np.array([box.rows.start or 0, box.columns.start or 0])
    grey = frame if frame.ndim == 2 else np.median(frame, axis=-1).astype(np.uint8)
    size = _display_size(inside.shape, spacing, width)
    zoom = np.array([size[1] / inside.shape[0], size[0] / inside.shape[1]])
    spacing_drawn = np.ones(2) if spacing is None else np.array(spacing) / zoom
    picture = Image.fromarray(grey * inside).resize(size, Image.Resampling.BILINEAR).convert("RGB")
    colour = DOUBTFUL if doubtful else OUTLINE
    line = max(1, round(max(size) / _REFERENCE_SIDE))
    if effusion.any():
        tint = Image.fromarray((effusion * (255 * _TINT)).astype(np.uint8)).resize(size)
        picture.paste(colour, mask=tint)
    pen = ImageDraw.Draw(picture)
    for outline in find_contours(np.pad(effusion, 1).astype(np.float32), 0.5):
        pen.line(_points((outline - 0.5) * zoom), fill=colour, width=line)
    for calliper in callipers:
        _draw_calliper(pen, (np.array(calliper) - corner + 0.5) * zoom, spacing_drawn, line)
    if text:
        height = max(10, round(max(size) / 45))
        pen.text((height // 2, height // 3), text, fill=_TEXT, font=ImageFont.load_default(height))
    return np.asarray(picture)


def _display_size(shape: tuple[int, int], spacing: tuple[float, float] | None, width: int | None) -> tuple[int, int]:
    """(width, height) of a picture."""
    if width is None:
        return shape[1], shape[0]
    aspect = 1.0 if spacing is None else spacing[0] / spacing[1]
    return width, max(1, round(width * shape[0] / shape[1] * aspect))


def _draw_calliper(pen: ImageDraw.ImageDraw, ends: np.ndarray, spacing: np.ndarray, line: int) -> None:
    """A line with a bar across each end, at right angles as displayed with square pixels."""
    along = (ends[1] - ends[0]) * spacing
    length = np.hypot(*along)
    pen.line(_points(ends), fill=CALLIPER, width=line)
    if length == 0:
        return
    across = np.array([-along[1], along[0]]) / length / spacing * spacing.mean() * 4 * line
    for end in ends:
        pen.line(_points(np.array([end - across, end + across])), fill=CALLIPER, width=line)


def _points(places: np.ndarray) -> list[tuple[float, float]]:
    """(row, column) as (x, y)."""
    return [(float(column), float(row)) for row, column in places]
