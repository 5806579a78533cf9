# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Pixel values of any kind of file as 0 to 255, grey or RGB: the one rule for frames, labels and clips."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image

from pe_monai.errors import FrameError


def plain_picture(picture: Image.Image) -> Image.Image:
    """A decoded picture as grey or RGB, of any depth: palettes become RGB, transparency is laid on black."""
    picture.load()
    mode = picture.mode
    if mode in ("L", "RGB", "F") or mode.startswith("I"):
        return picture.copy()
    if mode == "1":
        return picture.convert("L")
    if "a" in mode.lower() and mode != "LAB" or "transparency" in picture.info:
        black = Image.new("RGBA", picture.size, "black")
        flat = Image.alpha_composite(black, picture.convert("RGBA"))
        return flat.convert("L" if mode in ("LA", "La") else "RGB")
    return picture.convert("RGB")


def to_uint8(array: np.ndarray, value_range: tuple[float, float] | None = None) -> np.ndarray:
    """Bring pixel values of any type to 0..255, so that 8-bit data and 0/1 labels stay exactly what they are.

    Numbers within 0..255 are rounded and kept; others are scaled linearly, the array's minimum to 0 and its maximum to
    255 (a constant to 0). Floats within [0, 1] that hold more than 0 and 1 are shares and multiplied by 255.

    Args:
        array: any shape; bool, integers or floats.
        value_range: what becomes 0 and 255; the array's own by default, see :func:`find_value_range`.

    Returns:
        uint8 of the same shape.

    Raises:
        FrameError: NaN or infinite values.
    """
    if array.dtype == np.uint8:
        return array
    low, high = value_range or find_value_range([array])
    values = array.astype(np.float64)
    if (low, high) != (0, 255):
        values = (values - low) / ((high - low) or 1) * 255
    return np.rint(values).astype(np.uint8)


def find_value_range(arrays: Iterable[np.ndarray]) -> tuple[float, float]:
    """The numbers that :func:`to_uint8` makes 0 and 255, one rule for all of the arrays, such as the frames of a clip.

    Args:
        arrays: one by one, so that they need not be in memory together; of one type.

    Raises:
        FrameError: NaN or infinite values.
    """
    low, high, is_share = np.inf, -np.inf, False
    for array in arrays:
        if not np.isfinite(array).all():
            raise FrameError("holds NaN or infinite values; export finite ones")
        low, high = min(low, float(array.min())), max(high, float(array.max()))
        is_share |= array.dtype.kind == "f" and not np.isin(array, (0, 1)).all()
    if is_share and low >= 0 and high <= 1:
        return 0, 1
    return (low, high) if low < 0 or high > 255 else (0, 255)


def blend_alpha(array: np.ndarray) -> np.ndarray:
    """Lay 8-bit RGBA ``(W, H, 4)`` on black; anything else passes."""
    if array.shape[-1] != 4:
        return array
    return np.rint(array[..., :3] * (array[..., 3:] / 255)).astype(np.uint8)
