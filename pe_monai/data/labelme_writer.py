# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks as LabelMe annotations, to be corrected by hand in LabelMe."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage
from skimage.measure import approximate_polygon, find_contours, label

from pe_monai.data.reader import read_frame
from pe_monai.data.writer import write_picture, write_whole
from pe_monai.errors import FrameError

VERSION = "5.5.0"  # the first with all that is written here is 5.3
NOTICE = "Outlined by pe_monai; for research use only, not a medical device."
_LEVEL = 0.99  # the contour runs through the centres of the outermost pixels: LabelMe draws a polygon's outline, too
# LabelMe shows pixel 7 from 7.0 to 8.0 and cuts 7.9 to 7 when it draws: this is near the centre, however it rounds
_CENTRE = 0.4
_TOLERANCES = (0.49, 0.25, 0.0)  # px
_FAITHFUL = 0.995


def mask_to_shapes(mask: np.ndarray, name: str) -> list[dict[str, Any]]:
    """Shapes that LabelMe shows, and draws into the same mask again.

    Each region becomes a polygon with few points, which differs from the region in less than 0.5 % of the pixels of
    both; a region with holes becomes a mask, as polygons have none.

    Args:
        mask: (H, W) bool.
        name: label of the shapes.
    """
    shapes = []
    for region, top, left in _regions(mask):
        if ndimage.binary_fill_holes(region).sum() > region.sum():
            bottom, right = top + region.shape[0] - 1, left + region.shape[1] - 1
            shapes.append(_shape(name, "mask", [[left, top], [right, bottom]], _pack(region)))
        else:
            points = _outline(region) + (left + _CENTRE, top + _CENTRE)
            shapes.append(_shape(name, "polygon", np.round(points, 1).tolist()))
    return shapes


def outline_regions(mask: np.ndarray) -> list[np.ndarray]:
    """Polygons of the regions of a mask, holes filled, without those that are one pixel high or wide.

    Args:
        mask: (H, W) bool.

    Returns:
        Each (N, 2) of x and y in whole pixels, N at least 3, through the outermost pixels of the region.
    """
    outlines = [
        _outline(ndimage.binary_fill_holes(region)) + (left, top)
        for region, top, left in _regions(mask)
        if min(region.shape) > 1
    ]
    return [outline for outline in outlines if len(outline) >= 3]


def write_annotation(stem: str | Path, picture: np.ndarray, mask: np.ndarray, name: str) -> tuple[Path, Path]:
    """Write a picture and, beside it, its LabelMe annotation; what is there already and says the same stays.

    Args:
        stem: path of both without their suffixes.
        picture: uint8 (H, W) or (H, W, 3).
        mask: (H, W) bool.
        name: label of the shapes.

    Returns:
        The annotation (JSON) and the picture (PNG).

    Raises:
        ValueError: mask and picture differ in size.
        FrameError: another picture or annotation is there, which may have been corrected by hand.
        OSError: they cannot be written.
    """
    if mask.shape != picture.shape[:2]:
        raise ValueError(f"mask and picture must be of one size, got {mask.shape} and {picture.shape[:2]}.")
    image, annotation = Path(f"{stem}.png"), Path(f"{stem}.json")
    document = {
        "version": VERSION,
        "flags": {},
        "shapes": mask_to_shapes(mask, name),
        "imagePath": image.name,
        "imageData": None,
        "imageHeight": mask.shape[0],
        "imageWidth": mask.shape[1],
        "notice": NOTICE,
    }
    text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    if annotation.exists() and annotation.read_bytes() != text.encode():
        raise FrameError(f"{annotation}: is there already, perhaps corrected by hand; move it, or name another folder.")
    if not image.exists():
        write_picture(picture, image)
    elif not np.array_equal(read_frame(image), picture):
        raise FrameError(f"{image}: is there already and another picture; name another folder.")
    write_whole(annotation, lambda partial: partial.write_text(text, encoding="utf-8", newline=""))
    return annotation, image


def _regions(mask: np.ndarray) -> Iterator[tuple[np.ndarray, int, int]]:
    """Each region of a mask by itself, (h, w) bool, and the row and column of its corner above left."""
    regions, _ = label(mask, return_num=True, connectivity=2)
    for number, box in enumerate(ndimage.find_objects(regions), start=1):
        yield regions[box] == number, box[0].start, box[1].start


def _outline(region: np.ndarray) -> np.ndarray:
    """Polygon (N, 2) of x and y, whole numbers, through the outermost pixels of a region without holes."""
    contour = np.rint(max(find_contours(np.pad(region, 1).astype(np.float64), _LEVEL, "high"), key=len) - 1)
    for tolerance in _TOLERANCES:
        points = approximate_polygon(contour, tolerance)[:-1, ::-1]
        if len(points) >= 3 and _agreement(points, region) >= _FAITHFUL:
            break
    return points


def _agreement(points: np.ndarray, region: np.ndarray) -> float:
    """Intersection over union of a polygon, drawn as LabelMe does, and a region, with a margin around both."""
    canvas = Image.new("1", (region.shape[1] + 4, region.shape[0] + 4))
    ImageDraw.Draw(canvas).polygon([(x + 2, y + 2) for x, y in points.tolist()], outline=1, fill=1)
    drawn, padded = np.asarray(canvas), np.pad(region, 2)
    return float((drawn & padded).sum() / (drawn | padded).sum())


def _shape(name: str, kind: str, points: list, mask: str | None = None) -> dict[str, Any]:
    return {
        "label": name,
        "points": points,
        "group_id": None,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": mask,
    }


def _pack(region: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(region.astype(np.uint8) * 255).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
