# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Finding the ultrasound sector in a frame: which pixels show tissue, and the outline around them.

The background never enters. A pixel counts by its lowest channel, so that a green key, coloured text and an ECG trace
are as black as the background of an ordinary machine frame, and a rim pixel blended with the key keeps its grey part.
A green-keyed frame and its blackened twin therefore lead to the same sector by construction.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy import ndimage

from pe_monai.errors import FrameError
from pe_monai.transforms.sector_geometry import fit_outline

# The frame size at which lengths in this module are stated, as (height, width).
_REFERENCE = (224, 320)
# How many times as long as wide a frame may be: what the network is given of a strip has its own aspect, and on the way
# there it would be as high as the strip is wide.
_MAX_ASPECT = 5
# Of a frame that the sector fills, and how much smaller than that it may be.
_MIN_SHARE = 0.03
_SCALES = (1.0, 0.7, 0.5)
# In blocks of two reference pixels.
_MIN_FRAGMENT = 15
# Grey level up to which a background, or tissue without noise, may be.
_DARK = 10
# Grey levels that an even area may span over a few blocks, compressed or shaded.
_EVEN = 3
# Of the frame, how large a panel is at least, and a line of text on it at most.
_MIN_PANEL, _MAX_TEXT = 0.01, 0.005
# Of a sector's pixels, at least how many have a grey value that is neither near the lowest nor near the highest, or
# else at most how many lie at an edge between these; a page of text has little else than strokes.
_MIN_BETWEEN, _MAX_EDGES = 0.13, 0.04
# Grey levels above the background's at which edges are looked for.
_LAYERS = (1, 5, 10)
_REMEDY = (
    "give a B-mode frame whose sector fills a fair part of the picture (a title or report page has none); for a very "
    "dark frame raise the gain first"
)


class SectorNotFoundError(FrameError):
    """The frame holds no ultrasound sector."""


def find_sector(image: np.ndarray) -> np.ndarray:
    """Find the ultrasound sector of a frame, whatever its background.

    Text, rulers, logos and traces outside the sector are left out, black pixels inside it are kept in.

    Args:
        image: uint8 of shape (H, W), (H, W, 1) or (H, W, 3), row first. Painted (green) or black background.

    Returns:
        bool (H, W), True in the sector.

    Raises:
        SectorNotFoundError: if no region of tissue is large enough, or the frame is a narrow strip.
        ValueError: if the type or shape is another.
    """
    lowest = _lowest_channel(image)
    if max(lowest.shape) > _MAX_ASPECT * min(lowest.shape):
        raise SectorNotFoundError(
            f"no ultrasound sector: the frame of {lowest.shape[0]} x {lowest.shape[1]} pixels is more than "
            f"{_MAX_ASPECT} times as long as wide; {_REMEDY}"
        )
    unit = max(lowest.shape[0] / _REFERENCE[0], lowest.shape[1] / _REFERENCE[1])
    value = _without_panels(lowest, max(1, round(unit)))
    region, floor, scale = _main_tissue(value, unit)
    unit *= scale
    padded = np.pad(value, 1)
    layers = [_without_specks(padded >= floor + step) for step in _LAYERS]
    outline = fit_outline(layers, region, unit)
    tissue = layers[-1] & region
    sector = outline.mask(value.shape) if outline is not None else np.zeros(value.shape, bool)
    if not _is_plausible(sector, tissue, region):
        sector = _hull(tissue)
    if _is_text(lowest, sector):
        height, width = value.shape
        raise SectorNotFoundError(
            f"no ultrasound sector: what stands out in the frame of {height} x {width} pixels is text, or has two "
            f"tones alone; {_REMEDY}"
        )
    return sector


def _lowest_channel(image: np.ndarray) -> np.ndarray:
    """Return the lowest channel of ``image`` as uint8 (H, W)."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[-1] not in (1, 3)):
        raise ValueError(
            f"image must be uint8 (H, W), (H, W, 1) or (H, W, 3), got {image.dtype} {image.shape}: convert it, and put "
            "channels last"
        )
    if image.ndim == 2:
        return image
    if image.shape[-1] == 1:
        return image[..., 0]
    return np.minimum(np.minimum(image[..., 0], image[..., 1]), image[..., 2])


def _without_panels(value: np.ndarray, factor: int) -> np.ndarray:
    """Return ``value`` with zero where a machine's panels or a grey background lie: evenly bright, as no tissue is.

    Args:
        value: uint8 (H, W).
        factor: side of the blocks to judge by, in pixels.
    """
    low, high = _extremes(value, factor)
    even = (low > _DARK) & (high - low <= _EVEN)
    if np.count_nonzero(even) < 0.5 * _MIN_PANEL * even.size:
        return value
    even = _opening(even, 3)
    labels, _ = ndimage.label(_dilated(even, 3))
    sizes = np.bincount(labels.ravel())
    for number in np.flatnonzero(sizes[1:] >= _MIN_PANEL * labels.size) + 1:
        part = labels == number
        near = _enlarged(_dilated(part, 5), factor, value.shape)
        darkest, brightest = int(low[even & part].min()) - 2, int(high[even & part].max()) + 2
        holes, _ = ndimage.label(~part)
        text = np.bincount(holes.ravel()) < _MAX_TEXT * part.size
        text[0] = False
        value = np.where(near & (value >= darkest) & (value <= brightest), 0, value)
        value[_enlarged(text[holes], factor, value.shape)] = 0
    return value


def _main_tissue(value: np.ndarray, unit: float) -> tuple[np.ndarray, int, float]:
    """Return where the main tissue lies with a margin, bool (H, W), the background's grey value, and the scale.

    The scale is how much smaller the sector is than one that fills the frame: less than 1 where its parts are too small
    to be found otherwise.
    """
    if value.min() == value.max():
        raise SectorNotFoundError(
            f"no ultrasound sector: the frame of {value.shape[0]} x {value.shape[1]} pixels is "
            f"constant, or has a machine's panels alone; {_REMEDY}"
        )
    for scale in _SCALES:
        factor = max(1, round(2.0 * unit * scale))
        coarse = _block_mean(value, factor)
        dark, bright = np.percentile(coarse, (15, 99))
        safe = min(max(0.1 * float(bright), 3.0), 10.0)
        solid = ~_dilated(~_dilated(np.pad(coarse >= safe, 2, mode="edge"), 3), 3)[2:-2, 2:-2]
        labels, count = ndimage.label(_opening(solid, 7))
        sizes = np.bincount(labels.ravel(), minlength=2)
        sizes[0] = 0
        share = sizes.max() / coarse.size
        if share >= _MIN_SHARE * scale**2:
            break
    else:
        raise SectorNotFoundError(
            f"no ultrasound sector: the largest of {count} bright regions covers {share:.1%} of the frame of "
            f"{value.shape[0]} x {value.shape[1]} pixels, at least {_MIN_SHARE * scale**2:.1%} are needed; {_REMEDY}"
        )
    # The background is the darkest part of a frame, and it fills at least a quarter of most.
    floor = int(min(np.ceil(dark), np.ceil(safe) - 1))
    # A shadow or a blood pool can split the tissue: its larger parts belong together. A ruler has many dark blocks.
    large = sizes >= 0.15 * sizes.max()
    for number in set(np.flatnonzero(large)) - {sizes.argmax()}:
        values = coarse[labels == number]
        large[number] = np.percentile(values, 10) > floor or _is_graded(values, floor)
    core = large[labels]
    dim = _neighbourhood(np.pad(_block_mean(value > floor, factor) > 0.5, 1, mode="edge")) > 0.6 * 9
    labels, count = ndimage.label(_opening(dim, 3) | core)
    with_core = np.zeros(count + 1, bool)
    with_core[labels[core]] = True
    main = with_core[labels]
    main |= _fragments(coarse, labels * ~main, main, floor)
    hull = _dilated(_hull(main), 7)
    return _enlarged(hull, factor, value.shape), floor, scale


def _fragments(coarse: np.ndarray, labels: np.ndarray, main: np.ndarray, floor: int) -> np.ndarray:
    """Return the parts of ``labels`` above or below the ``main`` tissue that are tissue as well, bool (H, W).

    An anechoic effusion cuts the near field off the heart, a shadow the far field. Marks are told from tissue by their
    grey values: a logo's are all alike, text has few between those of its strokes and the background.
    """
    rows, columns = (np.flatnonzero(main.any(axis=axis)) for axis in (1, 0))
    height, width, middle = np.ptp(rows) + 1, np.ptp(columns) + 1, 0.5 * (columns[0] + columns[-1])
    found = np.zeros_like(main)
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue
        part = labels[box] == number
        values = coarse[box][part]
        if values.size < _MIN_FRAGMENT:
            continue
        gap = max(rows[0] - box[0].stop, box[0].start - rows[-1], 0)
        aside = abs(0.5 * (box[1].start + box[1].stop) - middle)
        if gap <= 0.3 * height and aside <= 0.3 * width and _is_graded(values, floor):
            found[box] |= part
    return found


def _is_text(value: np.ndarray, sector: np.ndarray) -> bool:
    """Say whether text fills the ``sector`` (H, W) of ``value`` (H, W): few grey values between two, and many edges."""
    inside = value[sector]
    share = np.cumsum(np.bincount(inside, minlength=256)) / max(inside.size, 1)
    low, high = np.searchsorted(share, (0.01, 0.99)).tolist()
    near = int(0.15 * (high - low))
    if high - low <= _EVEN or share[high - near - 1] - share[low + near] >= _MIN_BETWEEN:
        return False
    darkest, brightest = _extremes(value, 1)
    return bool(np.mean((brightest - darkest > 0.5 * (high - low))[sector]) > _MAX_EDGES)


def _is_graded(values: np.ndarray, floor: int) -> bool:
    """Say whether a region's grey values are those of tissue, many of them between the background's and its own."""
    low, high = np.percentile(values, (10, 90))
    between = np.mean((values > floor + 0.15 * (high - floor)) & (values < floor + 0.85 * (high - floor)))
    return bool(high - low > 4.0 and between > 0.4)


def _block_mean(value: np.ndarray, factor: int) -> np.ndarray:
    """Return the means of ``factor`` x ``factor`` blocks of ``value``; an incomplete last row or column is dropped."""
    return _blocks(value, factor, np.add, np.uint32) / float(factor * factor)


def _blocks(value: np.ndarray, factor: int, pick: np.ufunc, dtype: type | None = None) -> np.ndarray:
    """Return what ``pick`` makes of each ``factor`` x ``factor`` block of ``value``; see `_block_mean`."""
    height, width = (size // factor * factor for size in value.shape)
    rows = pick.reduce(value[:height].reshape(-1, factor, value.shape[1]), axis=1, dtype=dtype)
    return functools.reduce(pick, [rows[:, column:width:factor] for column in range(factor)])


def _extremes(value: np.ndarray, factor: int) -> list[np.ndarray]:
    """Return the least and the greatest value of the 3 x 3 blocks around each one; see `_blocks`."""
    return [
        _neighbourhood(np.pad(_blocks(value, factor, pick), 1, mode="edge"), pick) for pick in (np.minimum, np.maximum)
    ]


def _enlarged(blocks: np.ndarray, factor: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return the pixels, (H, W) of ``shape``, of ``blocks``; the last ones go on to the frame's end."""
    for axis, size in enumerate(shape):
        repeats = np.full(blocks.shape[axis], factor)
        repeats[-1] += size - len(repeats) * factor
        blocks = blocks.repeat(repeats, axis)
    return blocks


def _opening(mask: np.ndarray, size: int) -> np.ndarray:
    """Open ``mask`` by a ``size`` square, reading what lies beyond the frame as more of the same."""
    padded = np.pad(mask, size, mode="edge")
    return _dilated(~_dilated(~padded, size), size)[size:-size, size:-size]


def _dilated(mask: np.ndarray, size: int) -> np.ndarray:
    """Dilate bool ``mask`` by a square of odd ``size``, in a small part of the time a filter of grey values takes."""
    for _ in range(2):
        source, mask = mask, mask.copy("K")
        for step in range(1, size // 2 + 1):
            mask[step:] |= source[:-step]
            mask[:-step] |= source[step:]
        mask = mask.T
    return mask


def _without_specks(padded: np.ndarray) -> np.ndarray:
    """Return bool (H, W) of (H + 2, W + 2) without the pixels that have fewer than three of their eight neighbours."""
    return padded[1:-1, 1:-1] & (_neighbourhood(padded) > 3)


def _neighbourhood(padded: np.ndarray, pick: np.ufunc = np.add) -> np.ndarray:
    """Return what ``pick`` makes of the 3 x 3 pixels around each one, uint8 (H, W), of bool or uint8 (H + 2, W + 2).

    By default that is how many of them are set.
    """
    values = padded.view(np.uint8)
    rows = pick(pick(values[:-2], values[1:-1]), values[2:])
    return pick(pick(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])


def _hull(mask: np.ndarray) -> np.ndarray:
    """Return the convex hull of bool ``mask`` (H, W); a mask within one line is returned as it is."""
    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows) < 2:
        return mask
    inner = mask[rows]
    left = inner.argmax(axis=1)
    right = np.ascontiguousarray(inner[:, ::-1]).argmax(axis=1) + 1 - mask.shape[1]  # negative, so that both are lowest
    first, last = (np.array(_lower_hull(rows.tolist(), side.tolist())).T for side in (left, right))
    if first.shape == last.shape == (2, 2) and not (first[1] + last[1]).any():
        return mask
    y, x = np.arange(rows[0], rows[-1] + 1), np.arange(mask.shape[1])
    full = np.zeros_like(mask)
    full[y] = (x >= np.interp(y, *first)[:, None] - 1e-6) & (x <= 1e-6 - np.interp(y, *last)[:, None])
    return full


def _lower_hull(rows: list[int], values: list[int]) -> list[tuple[int, int]]:
    """Return the corners of the largest convex function of the row that is nowhere above ``values``."""
    corners: list[tuple[int, int]] = []
    for y, x in zip(rows, values, strict=True):
        while len(corners) > 1:
            (y0, x0), (y1, x1) = corners[-2:]
            if (x1 - x0) * (y - y0) < (x - x0) * (y1 - y0):
                break
            corners.pop()
        corners.append((y, x))
    return corners


def _is_plausible(sector: np.ndarray, tissue: np.ndarray, region: np.ndarray) -> bool:
    """Say whether the fitted ``sector`` holds the ``tissue`` and little else than its surroundings ``region``."""
    area, held, shared = (np.count_nonzero(mask) for mask in (sector, tissue & sector, sector & region))
    return bool(area > 0 and held >= 0.9 * np.count_nonzero(tissue) and shared >= 0.4 * area)
