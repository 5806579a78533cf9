# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Calibrated regions of an ultrasound image: what is shown where, and how large a pixel is (PS3.3, C.8.5.5)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from pydicom import Dataset

from pe_monai.data.spacing import same_spacing
from pe_monai.errors import FrameError

SPACING_RANGE_MM = (0.01, 5.0)
_CENTIMETRES = 3
_MIN_SIDE = 32
_OVERLAP = 0.5
_BORDER = 2  # pixels: pictures side by side may state the line between them twice
_FORMATS = {1: "2D", 2: "M-mode", 3: "spectral Doppler", 4: "waveform", 5: "graphics"}
_TISSUE, _COLOUR = 1, 2
_LAYOUT = ("2D", "M-mode", "spectral Doppler")


@dataclass(frozen=True)
class Region:
    """A calibrated region.

    Attributes:
        top, left, bottom, right: its rows and columns; the last two are behind its end.
        kind: "2D tissue", "2D colour flow", "2D", "M-mode", "spectral Doppler", "waveform", "graphics" or "unknown".
        spacing: (row, column) pixel spacing in mm; None if it states none, or one that cannot be.
    """

    top: int
    left: int
    bottom: int
    right: int
    kind: str
    spacing: tuple[float, float] | None

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def area(self) -> int:
        """In pixels."""
        return (self.bottom - self.top) * (self.right - self.left)

    def overlap(self, other: Region) -> float:
        """Pixels in common, as a share of the smaller region."""
        height, width = self._common(other)
        return height * width / min(self.area, other.area)

    def lies_under(self, other: Region) -> bool:
        """Whether they share more than a border."""
        return min(self._common(other)) > _BORDER

    def _common(self, other: Region) -> tuple[int, int]:
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        width = min(self.right, other.right) - max(self.left, other.left)
        return max(0, height), max(0, width)


@dataclass(frozen=True)
class View:
    """What of an image is to be outlined.

    Attributes:
        box: rows and columns to look at; None for the whole frame.
        spacing: (row, column) pixel spacing in mm; None if unknown.
        notes: what a reader of the results should know.
    """

    box: tuple[slice, slice] | None
    spacing: tuple[float, float] | None
    notes: tuple[str, ...] = ()


def read_regions(header: Dataset) -> list[Region]:
    """The regions that lie in the frame and are large enough to show something."""
    rows, columns = int(header.Rows), int(header.Columns)
    regions = []
    for item in header.get("SequenceOfUltrasoundRegions") or []:
        stated = [_integer(item, f"RegionLocation{name}") for name in ("MinY0", "MinX0", "MaxY1", "MaxX1")]
        corners = [corner for corner in stated if corner is not None]
        if len(corners) < 4:
            continue
        top, left = max(0, corners[0]), max(0, corners[1])
        bottom, right = min(rows, corners[2] + 1), min(columns, corners[3] + 1)
        if min(bottom - top, right - left) >= min(_MIN_SIDE, rows, columns):
            regions.append(Region(top, left, bottom, right, _kind(item), _spacing(item)))
    return regions


def find_views(header: Dataset) -> list[View]:
    """The B-mode pictures of an image: most have one, some two side by side.

    A region is left out where a colour flow region lies over it: fluid under colour is not what the network has seen.
    Only a region's own pixels are looked at: around it are text, menus and other pictures. An image without regions is
    taken as a whole, of unknown pixel size. Pixel Spacing is not used: it is no attribute of ultrasound images, and
    those that carry it nevertheless mean different things by it.

    Raises:
        FrameError: there is no B-mode picture; without the file's name.
    """
    if header.get("ContrastBolusAgent") or header.get("ContrastBolusAgentSequence"):
        raise FrameError("shows contrast-enhanced ultrasound, which is not outlined; give a B-mode clip.")
    regions = read_regions(header)
    layout = [region for region in regions if region.kind.startswith(_LAYOUT)]
    if not layout:
        notes = ["It has no calibrated region, so its pixel size is unknown."]
        if _integer(header, "UltrasoundColorDataPresent") == 1:
            notes.append("It may show colour Doppler, in which effusion is not outlined reliably.")
        return [View(None, None, tuple(notes))]
    colour = [region for region in layout if region.kind == "2D colour flow"]
    tissue = _distinct([region for region in layout if region.kind in ("2D tissue", "2D")])
    usable = [region for region in tissue if not any(region.lies_under(other) for other in colour)]
    if not usable:
        kinds = ", ".join(sorted({region.kind for region in layout if region not in tissue}))
        kinds = kinds.replace("2D colour flow", "colour Doppler")
        raise FrameError(f"shows {kinds} alone or over the picture; give a B-mode clip without colour.")
    alone = len(_distinct(layout)) == 1
    views = []
    for region in usable:
        notes = []
        if region.spacing is None:
            notes.append("Its region states no usable pixel size.")
        if not alone:
            notes.append("The image shows more than this picture; only its own region was looked at.")
        is_whole = region.box == (slice(0, int(header.Rows)), slice(0, int(header.Columns)))
        views.append(View(None if is_whole else region.box, region.spacing, tuple(notes)))
    return views


def _distinct(regions: list[Region]) -> list[Region]:
    """One of those that lie on one another, the largest; without a pixel size where they contradict each other."""
    kept: list[Region] = []
    for region in sorted(regions, key=lambda region: (-region.area, region.top, region.left)):
        place = next((n for n, other in enumerate(kept) if region.overlap(other) > _OVERLAP), None)
        if place is None:
            kept.append(region)
            continue
        whole = kept[place]
        is_inset = region.area < whole.area and region.overlap(whole) == 1
        if region.kind == whole.kind and not is_inset and not same_spacing(region.spacing, whole.spacing):
            kept[place] = replace(whole, spacing=None)
    return sorted(kept, key=lambda region: (region.left, region.top))


def _kind(item: Dataset) -> str:
    name = _FORMATS.get(_integer(item, "RegionSpatialFormat") or 0, "unknown")
    data = _integer(item, "RegionDataType")
    if name != "2D":
        return name
    return {_TISSUE: "2D tissue", _COLOUR: "2D colour flow", 0: "2D", None: "2D"}.get(data, "graphics")


def _spacing(item: Dataset) -> tuple[float, float] | None:
    if any(_integer(item, f"PhysicalUnits{axis}Direction") != _CENTIMETRES for axis in "XY"):
        return None
    lengths = [_number(item, f"PhysicalDelta{axis}") for axis in "YX"]
    low, high = SPACING_RANGE_MM
    spacing = [abs(length) * 10 for length in lengths if length is not None and math.isfinite(length)]
    if len(spacing) != 2 or not all(low <= length <= high for length in spacing):
        return None
    return spacing[0], spacing[1]


def _integer(item: Dataset, keyword: str) -> int | None:
    value = _number(item, keyword)
    return None if value is None or not math.isfinite(value) else int(value)


def _number(item: Dataset, keyword: str) -> float | None:
    try:
        value: Any = item.get(keyword)
        return None if value is None else float(value)
    except Exception:  # pydicom converts on access and raises what it likes on bad bytes
        return None
