# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Pixel values of any kind of file as 0 to 255, grey or RGB: one rule for frames and clips, stricter for masks."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image

from pe_monai.errors import FrameError
from pe_monai.transforms.mask import MAX_INDICES, list_values


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


def plain_mask(picture: Image.Image) -> Image.Image:
    """The same of an annotation, which must not be drawn in black on nothing: on black none of it would be left.

    Raises:
        FrameError: it is drawn so.
    """
    flat = plain_picture(picture)
    if picture.has_transparency_data and flat.getbbox() is None:
        least, most = picture.convert("RGBA").getchannel("A").getextrema()
        if least != most:
            raise FrameError("is no mask, it is black where it is not transparent; give white on black")
    return flat


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


def mask_to_uint8(array: np.ndarray) -> np.ndarray:
    """Bring the values of an annotation to 0..255 as :func:`to_uint8` does, if they can be those of a mask.

    Those are 0 and 1, 0 and 255, soft ones of 0 to 1 or 0 to 255, and deeper ones from 0 up. Scaled like a frame's, 0
    and -1 would come out inverted, and 0 and 0.001 as an empty mask.

    Args:
        array: any shape; bool, integers or floats.

    Returns:
        uint8 of the same shape.

    Raises:
        FrameError: NaN or infinite values, or such as are no mask's.
    """
    planes = to_uint8(array)
    if array.dtype in (np.uint8, np.bool_):
        return planes
    values = np.unique(array) + 0  # without a -0
    low, high = values[0], values[-1]
    is_few = len(values) <= MAX_INDICES
    is_index = is_few and (0 < high < 0.5 or high > 255 and len(values) > 2)
    if low < 0 or (low > 0 and high > 255) or is_index:
        found = list_values(values)
        raise FrameError(f"is no mask, it is {found}; give masks that are 0 and 255, or 0 and 1, or 0 to 1 if soft")
    return planes


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
