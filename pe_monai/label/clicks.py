# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The clicks of a request, in every shape that 3D Slicer, OHIF and CVAT send them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from pe_monai.errors import FrameError
from pe_monai.interactive import Click

LABEL = "effusion"
MOST = 100  # each is a run of the network, which others wait for


def read_clicks(params: Mapping[str, Any]) -> list[Click]:
    """Collect the clicks of a request.

    Points are ``[x, y]`` (CVAT) or ``[x, y, slice]`` (3D Slicer, OHIF), under ``foreground`` and ``background`` or, as
    for models of type deepedit, under the name of the label; or, as for VISTA and in their order, ``points`` with
    ``point_labels`` of 0 and 1. Lists may come as JSON in a string.

    Raises:
        FrameError: something there is no point.
    """
    clicks = [
        Click(y, x, positive)
        for names, positive in (((LABEL, "foreground"), True), (("background",), False))
        for name in names
        for x, y in _points(params.get(name), name)
    ]
    marks = _list(params.get("point_labels"), "point_labels")
    points = _points(params.get("points"), "points")
    if len(marks) != len(points):
        raise FrameError(f"points: {len(points)} of them, but {len(marks)} point_labels; give 1 or 0 for each.")
    if any(mark not in (0, 1) for mark in marks):
        raise FrameError("point_labels: give 1 for a point inside and 0 for one outside, and nothing else.")
    clicks += [Click(y, x, bool(mark)) for (x, y), mark in zip(points, marks, strict=True)]
    if len(clicks) > MOST:
        raise FrameError(f"{len(clicks)} clicks are too many; give at most {MOST}, on top of the mask so far.")
    return clicks


def _list(value: Any, name: str) -> list:
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as e:
            raise FrameError(f"{name}: {value[:40]!r} is no list of points; give [[x, y], ...].") from e
    if value in (None, "", {}):
        return []
    if not isinstance(value, (list, tuple)):
        raise FrameError(f"{name}: is no list of points; give [[x, y], ...].")
    return list(value)


def _points(value: Any, name: str) -> list[tuple[float, float]]:
    points = _list(value, name)
    if points and all(isinstance(number, (int, float)) for number in points):
        points = [points]  # a single point
    for point in points:
        numbers = point if isinstance(point, (list, tuple)) else ()
        if len(numbers) not in (2, 3) or not all(_is_number(number) for number in numbers):
            raise FrameError(f"{name}: {str(point)[:40]} is no point; give [x, y], column first, in pixels.")
    return [(float(point[0]), float(point[1])) for point in points]


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False
