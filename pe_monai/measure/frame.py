# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The amount of effusion in one frame, region by region."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from skimage.measure import label as label_regions
from skimage.measure import regionprops

from pe_monai.measure.layer import Layer, Point
from pe_monai.measure.quality import judge_frame


class Position(NamedTuple):
    """Where something lies in the sector.

    Attributes:
        depth: 0 at the sector's uppermost row to 1 at its lowest.
        lateral: -1 at the sector's left edge in that row, as displayed, to 1 at its right edge.
    """

    depth: float
    lateral: float


@dataclass(frozen=True)
class RegionMeasurement:
    """One connected region of effusion. Places are (row, column) indices of pixels; a pixel's centre is whole.

    Attributes:
        thickness_px: diameter of the largest inscribed circle, in pixels; where rows and columns are known to be
            differently spaced, in square pixels of the same area.
        thickness_mm: the same in mm; None without a known pixel size.
        calliper: the ends of that diameter across the layer: the line to draw.
        centre: of the circle.
        mean_thickness_px, mean_thickness_mm: along the region's medial axis, units as above.
        area_px: number of pixels.
        area_cm2: area in cm²; None without a known pixel size.
        sector_share: area as a share of the sector's; None without a sector.
        position: of the circle's centre; None without a sector.
        cut_off: whether the calliper ends at the edge of the sector or the frame, so that the layer may be thicker.
    """

    thickness_px: float
    thickness_mm: float | None
    calliper: tuple[Point, Point]
    centre: Point
    mean_thickness_px: float
    mean_thickness_mm: float | None
    area_px: int
    area_cm2: float | None
    sector_share: float | None
    position: Position | None
    cut_off: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, fit for JSON."""
        return {
            **asdict(self),
            "calliper": [list(end) for end in self.calliper],
            "centre": list(self.centre),
            "position": None if self.position is None else self.position._asdict(),
        }


@dataclass(frozen=True)
class FrameMeasurement:
    """The effusion of one frame.

    Attributes:
        regions: thickest first; empty where there is none.
        spacing: (row, column) pixel spacing in mm, None if unknown.
        reliable: whether nothing speaks against the mask.
        reason: what speaks against it, "" if nothing.
    """

    regions: tuple[RegionMeasurement, ...] = ()
    spacing: tuple[float, float] | None = None
    reliable: bool = True
    reason: str = ""

    @property
    def largest(self) -> RegionMeasurement | None:
        """The thickest region."""
        return self.regions[0] if self.regions else None

    @property
    def thickness_px(self) -> float:
        """Of the thickest region; 0 without effusion."""
        return self.largest.thickness_px if self.largest else 0.0

    @property
    def thickness_mm(self) -> float | None:
        """Of the thickest region; 0 without effusion, None without a known pixel size."""
        if self.spacing is None:
            return None
        return self.largest.thickness_mm if self.largest else 0.0

    @property
    def area_px(self) -> int:
        """Of all regions."""
        return sum(region.area_px for region in self.regions)

    @property
    def area_cm2(self) -> float | None:
        """Of all regions; None without a known pixel size."""
        return None if self.spacing is None else self.area_px * self.spacing[0] * self.spacing[1] / 100

    @property
    def sector_share(self) -> float | None:
        """Of all regions; None where there are regions but no sector."""
        shares = [region.sector_share for region in self.regions]
        return None if None in shares else float(sum(share for share in shares if share is not None))

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, fit for JSON."""
        return {
            "thickness_px": self.thickness_px,
            "thickness_mm": self.thickness_mm,
            "area_px": self.area_px,
            "area_cm2": self.area_cm2,
            "sector_share": self.sector_share,
            "spacing_mm": None if self.spacing is None else list(self.spacing),
            "reliable": self.reliable,
            "reason": self.reason,
            "regions": [region.as_dict() for region in self.regions],
        }


def measure_frame(
    mask: np.ndarray,
    sector: np.ndarray | None,
    spacing: tuple[float, float] | None = None,
    probability: np.ndarray | None = None,
    frame: np.ndarray | None = None,
) -> FrameMeasurement:
    """Measure the effusion of a frame.

    Args:
        mask: effusion, (H, W), row first as displayed, non-zero inside.
        sector: non-zero inside the sector, (H, W); None if unknown.
        spacing: (row, column) distance of neighbouring pixels in mm; None if unknown, and then nothing is in mm and
            pixels are taken for square.
        probability: of effusion, (H, W), in [0, 1]; only to judge how reliable the mask is.
        frame: the picture, (H, W) or (H, W, C) uint8; only to judge likewise.

    Raises:
        ValueError: shapes differ, or the spacing is not positive.
    """
    mask = np.asarray(mask) > 0
    if mask.ndim != 2:
        raise ValueError(f"mask must be (H, W), got the shape {mask.shape}.")
    for name, plane in (("sector", sector), ("probability", probability), ("frame", frame)):
        if plane is not None and np.shape(plane)[:2] != mask.shape:
            raise ValueError(f"{name} must have the mask's size {mask.shape}, got the shape {np.shape(plane)}.")
    if spacing is not None:
        row, column = (float(distance) for distance in spacing)
        if not (0 < row < np.inf and 0 < column < np.inf):
            raise ValueError(f"spacing must be two positive distances in mm, got {tuple(spacing)}.")
        spacing = row, column
    inside = None if sector is None else np.asarray(sector) > 0
    labels = label_regions(mask, connectivity=2)
    regions = [_measure_region(part, inside, mask.shape, spacing) for part in regionprops(labels)]
    regions.sort(key=lambda region: (-region.thickness_px, -region.area_px, region.centre))
    reason = judge_frame(mask, inside, probability, frame)
    return FrameMeasurement(tuple(regions), spacing, not reason, reason)


def _measure_region(
    part: Any, sector: np.ndarray | None, shape: tuple[int, ...], spacing: tuple[float, float] | None
) -> RegionMeasurement:
    layer = Layer(part.image, spacing or (1.0, 1.0))
    circle, mean = layer.circle, layer.mean_thickness()
    top, left = (int(edge) for edge in part.bbox[:2])
    centre, first, second = ((row + top, column + left) for row, column in (circle.centre, *circle.calliper))
    area = int(part.area)
    return RegionMeasurement(
        thickness_px=circle.diameter / layer.pixel,
        thickness_mm=circle.diameter if spacing else None,
        calliper=(first, second),
        centre=centre,
        mean_thickness_px=mean / layer.pixel,
        mean_thickness_mm=mean if spacing else None,
        area_px=area,
        area_cm2=area * spacing[0] * spacing[1] / 100 if spacing else None,
        sector_share=None if sector is None else area / max(int(sector.sum()), 1),
        position=None if sector is None else _locate(centre, sector),
        cut_off=any(_is_beyond(end, other, sector, shape) for end, other in ((first, second), (second, first))),
    )


def _locate(place: Point, sector: np.ndarray) -> Position | None:
    """Where a place lies in a sector; None if the sector is empty."""
    rows = np.flatnonzero(sector.any(axis=1))
    if not len(rows):
        return None
    top, bottom = rows[[0, -1]]
    depth = (place[0] - top) / max(bottom - top, 1)
    columns = np.flatnonzero(sector[rows[np.abs(rows - place[0]).argmin()]])
    left, right = columns[[0, -1]]
    lateral = 2 * (place[1] - left) / max(right - left, 1) - 1
    return Position(float(np.clip(depth, 0, 1)), float(np.clip(lateral, -1, 1)))


def _is_beyond(end: Point, other: Point, sector: np.ndarray | None, shape: tuple[int, ...]) -> bool:
    """Whether the pixel after the end of a calliper lies outside the sector or the frame."""
    outwards = np.subtract(end, other)
    row, column = np.rint(end + outwards / max(float(np.hypot(*outwards)), 1e-9)).astype(int)
    if not (0 <= row < shape[0] and 0 <= column < shape[1]):
        return True
    return sector is not None and not sector[row, column]
