# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Annotations drawn in LabelMe (JSON), old versions and new: read, checked and turned into masks."""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from pe_monai.data.reader import FrameReader
from pe_monai.data.stacks import open_picture
from pe_monai.data.values import plain_picture, to_uint8
from pe_monai.errors import DatasetError, FrameError, one_line

EFFUSION_LABELS = ("effusion", "pericardial effusion", "pe", "pce", "fluid", "积液", "心包积液")
AREA_SHAPES = ("polygon", "rectangle", "oriented_rectangle", "circle", "mask")
OPEN_SHAPES = ("line", "linestrip", "point", "points")  # without an area
_MAX_COORDINATE = 1e6


@dataclass(frozen=True)
class Annotation:
    """What a LabelMe file says.

    Attributes:
        path: the file.
        shapes: as LabelMe stores them: label, points (x, y), shape_type, and a PNG in base64 for a mask.
        size: (height, width) that the file states, None where old versions state none.
        image_path: of the picture, as stored, with the separators of the system it was written on.
        image_data: the picture itself in base64, None where it lies beside.
    """

    path: Path
    shapes: tuple[dict[str, Any], ...]
    size: tuple[int, int] | None
    image_path: str
    image_data: str | None

    @property
    def labels(self) -> Counter[str]:
        """Names in the file and how many shapes have them."""
        return Counter(shape["label"] for shape in self.shapes)


def read_annotation(path: str | Path) -> Annotation:
    """Read and check a LabelMe file.

    Raises:
        FrameError: one line that names the file, what is wrong and what to do.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("gb18030")  # old versions on a Chinese Windows
        document = json.loads(text)
    except OSError as e:
        raise FrameError(f"{path}: {e.strerror}; check the path") from e
    except (ValueError, RecursionError) as e:
        raise FrameError(f"{path}: is no JSON ({one_line(e)}); save the annotation again in LabelMe") from e
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        raise FrameError(
            f"{path}: is no LabelMe annotation, it has no 'shapes'; give the JSON files that LabelMe saves"
        )
    height, width = document.get("imageHeight"), document.get("imageWidth")
    try:
        return Annotation(
            path,
            tuple(_checked_shape(shape) for shape in document["shapes"]),
            (int(height), int(width)) if height and width else None,
            str(document.get("imagePath") or ""),
            document.get("imageData") or None,
        )
    except (FrameError, TypeError, ValueError) as e:
        raise FrameError(f"{path}: {one_line(e)}; correct it in LabelMe") from e


def find_labels(annotations: Iterable[Annotation], wanted: Collection[str] = ()) -> set[str]:
    """Names of the shapes that are effusion.

    Args:
        annotations: all of a data set.
        wanted: names to take; those in ``EFFUSION_LABELS`` by default. Case, spaces, ``_`` and ``-`` do not matter.

    Raises:
        DatasetError: there are shapes and none has such a name; the message lists those there are.
    """
    found: Counter[str] = Counter()
    for annotation in annotations:
        found += annotation.labels
    plain = {_plain(name) for name in wanted or EFFUSION_LABELS}
    chosen = {name for name in found if _plain(name) in plain}
    if found and not chosen:
        names = ", ".join(f"{name!r} ({count})" for name, count in found.most_common(20))
        asked = ", ".join(repr(name) for name in wanted) or "that of an effusion"
        raise DatasetError(f"no shape is named {asked}; the names are {names}: say with --label which to take.")
    return chosen


def draw_mask(annotation: Annotation, labels: Collection[str], size: tuple[int, int]) -> np.ndarray:
    """The union of an annotation's shapes, with the very pixels that LabelMe's own export has.

    Groups and overlaps make no difference, and no shape cuts a hole into another; LabelMe's masks can have holes.
    Lines and points have no area and are left out.

    Args:
        annotation: what to draw.
        labels: names of the shapes to draw.
        size: (height, width) of the picture.

    Returns:
        (H, W) bool.

    Raises:
        FrameError: a shape cannot be drawn.
    """
    mask = np.zeros(size, dtype=bool)
    for number, shape in enumerate(annotation.shapes, start=1):
        if shape["label"] in labels and shape["shape_type"] in AREA_SHAPES:
            try:
                mask |= _draw_shape(shape, size)
            except Exception as e:  # of a mask's picture, whatever its decoder raises
                raise FrameError(f"{annotation.path}: shape {number} {one_line(e)}; correct it in LabelMe") from e
    return mask


def read_picture(annotation: Annotation, root: str | Path | None = None) -> np.ndarray:
    """The picture that was annotated, turned as LabelMe shows it.

    A picture inside the file goes first. One beside it is turned as its EXIF says, as LabelMe does, unless only the
    unturned one has the size that the file states.

    Args:
        annotation: whose picture.
        root: folder that the picture must not lie outside of; the annotation's own by default.

    Returns:
        uint8 (H, W) or (H, W, 3) RGB.

    Raises:
        FrameError: there is none, it lies outside ``root``, cannot be read or has another size than the file states.
    """
    path = annotation.path
    try:
        if annotation.image_data is not None:
            candidates = [_decode(io.BytesIO(_unpack(annotation.image_data)))]
        else:
            source = _find_picture(annotation, Path(root) if root else path.parent)
            candidates = [_decode(source, turned=True), _decode(source)]
    except FrameError as e:
        raise FrameError(f"{path}: its picture {e}") from e
    except Exception as e:  # decoders raise whatever they like on bad bytes
        raise FrameError(f"{path}: its picture cannot be read ({one_line(e)}); save the annotation again") from e
    for picture in candidates:
        if annotation.size in (None, picture.shape[:2]):
            return picture
    assert annotation.size is not None
    stated, own = (f"{width} x {height}" for height, width in (annotation.size, candidates[-1].shape[:2]))
    raise FrameError(f"{path}: was drawn on {stated} pixels, its picture has {own}; give the picture it was drawn on")


def find_picture_path(annotation: Annotation) -> Path:
    """Where an annotation says that its picture lies; that may be anywhere."""
    # a Windows path takes / and \\ alike
    return (annotation.path.parent / PureWindowsPath(annotation.image_path).as_posix()).resolve()


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").replace("-", " ").split()).casefold()


def _checked_shape(shape: Any) -> dict[str, Any]:
    if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
        raise FrameError("has a shape without a label")
    kind = shape.get("shape_type") or "polygon"  # the only one of the first versions
    if kind not in AREA_SHAPES + OPEN_SHAPES:
        raise FrameError(f"has a shape of the unknown type {kind!r}")
    points = np.asarray(shape.get("points"), dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not (np.abs(points) < _MAX_COORDINATE).all():
        raise FrameError(f"has a {kind} whose points are no (x, y)")
    least = {"polygon": 3, "oriented_rectangle": 4, "rectangle": 2, "circle": 2, "mask": 2}.get(kind, 1)
    if len(points) < least:
        raise FrameError(f"has a {kind} of {len(points)} points, which takes {least}")
    return {"label": shape["label"], "shape_type": kind, "points": points, "mask": shape.get("mask")}


def _draw_shape(shape: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """As labelme.utils.shape_to_mask does, outlines included."""
    kind, points = shape["shape_type"], shape["points"]
    if kind == "mask":
        return _paste_mask(shape, size)
    canvas = Image.new("1", size[::-1])
    draw = ImageDraw.Draw(canvas)
    low, high = points.min(axis=0), points.max(axis=0)
    if kind == "circle":  # its centre and a point on it
        centre, radius = points[0], math.dist(points[0], points[1])
        draw.ellipse((*(centre - radius), *(centre + radius)), outline=1, fill=1)
    elif kind == "rectangle":
        draw.rectangle((*low, *high), outline=1, fill=1)
    else:
        draw.polygon([(float(x), float(y)) for x, y in points], outline=1, fill=1)
    return np.asarray(canvas)


def _paste_mask(shape: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """A mask's points are the first and the last column and row of its box."""
    (left, top), (right, bottom) = shape["points"][:2].astype(int)
    box = (int(right - left + 1), int(bottom - top + 1))
    with Image.open(io.BytesIO(_unpack(shape["mask"]))) as picture:
        if picture.size != box or min(left, top) < 0 or right >= size[1] or bottom >= size[0]:
            raise FrameError(f"is a mask of {picture.size} pixels in a box of {box}, or outside the picture")
        values = np.asarray(picture.convert("L")) > 0
    mask = np.zeros(size, dtype=bool)
    mask[top : bottom + 1, left : right + 1] = values
    return mask


def _unpack(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=False)
    except (binascii.Error, TypeError, ValueError) as e:
        raise FrameError("is no base64; save it again in LabelMe") from e


def _find_picture(annotation: Annotation, root: Path) -> Path:
    stored = annotation.image_path
    if not stored:
        raise FrameError("is neither in the file nor named; save the annotation again in LabelMe")
    path, windows = find_picture_path(annotation), PureWindowsPath(stored)
    if windows.drive or windows.root or not path.is_relative_to(root.resolve()):
        raise FrameError(
            f"is named {stored!r}, outside of {root}; give the folder that holds both, with relative names"
        )
    if not path.is_file():
        raise FrameError(f"{stored!r} is missing; put it back to where the annotation names it")
    return path


def _decode(source: Path | io.BytesIO, turned: bool = False) -> np.ndarray:
    with open_picture(source) as picture:
        FrameReader().check_size(*picture.size, frames=getattr(picture, "n_frames", 1))
        shown = ImageOps.exif_transpose(picture) if turned else picture
        return to_uint8(np.asarray(plain_picture(shown)))
