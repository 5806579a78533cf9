# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Measurement groups of a structured report for one region: its outline with area, its calliper with thickness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import highdicom as hd
import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CoordinatesForMeasurement,
    FindingSite,
    ImageRegion,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TrackingIdentifier,
)
from scipy.spatial.distance import cdist
from skimage.measure import approximate_polygon, find_contours
from skimage.measure import label as label_regions

from pe_monai.dicom import codes

if TYPE_CHECKING:
    from pe_monai.measure import RegionMeasurement

_MOST_POINTS = 8000  # an element of FL in Explicit VR holds 65,534 bytes, 8,191 points
_TOLERANCE = 0.05


def describe_region(
    region: RegionMeasurement,
    mask: np.ndarray,
    image: SourceImageForRegion,
    source: SourceImageForMeasurementGroup,
    tracking: TrackingIdentifier,
    algorithm: AlgorithmIdentification,
) -> list[MeasurementsAndQualitativeEvaluations | PlanarROIMeasurementsAndQualitativeEvaluations]:
    """The groups of a region: TID 1410 with outline, area and thickness, TID 1501 with the calliper.

    Two groups with one tracking identifier, since a measurement of TID 1410 must not have coordinates of its own.
    """
    common = {
        "tracking_identifier": tracking,
        "finding_type": codes.EFFUSION,
        "finding_sites": [FindingSite(codes.PERICARDIAL_CAVITY)],
        "algorithm_id": algorithm,
    }
    outline = ImageRegion(hd.sr.GraphicTypeValues.POLYLINE, trace_outline(mask, region.centre), image)
    calliper = CoordinatesForMeasurement(
        hd.sr.GraphicTypeValues.POLYLINE, to_points(np.array(region.calliper), mask.shape), image
    )
    return [
        PlanarROIMeasurementsAndQualitativeEvaluations(
            referenced_region=outline, measurements=[thickness(region), *_sizes(region)], **common
        ),
        MeasurementsAndQualitativeEvaluations(
            measurements=[thickness(region, [calliper])], source_images=[source], **common
        ),
    ]


def thickness(region: RegionMeasurement, coordinates: list[CoordinatesForMeasurement] | None = None) -> Measurement:
    """Maximum thickness of a region, in mm or, without a known pixel size, in pixels."""
    return measure(
        codes.THICKNESS, region.thickness_mm, region.thickness_px, codes.MILLIMETRE, codes.MAXIMUM, coordinates
    )


def measure(
    name: codes.Code,
    known: float | None,
    pixels: float,
    unit: codes.Code,
    derivation: codes.Code | None = None,
    coordinates: list[CoordinatesForMeasurement] | None = None,
) -> Measurement:
    """A number with its unit; in pixels where the value in a physical unit is not known."""
    return Measurement(
        name=name,
        value=round(float(pixels if known is None else known), 3),
        unit=codes.PIXELS if known is None else unit,
        derivation=derivation,
        referenced_coordinates=coordinates,
    )


def _sizes(region: RegionMeasurement) -> list[Measurement]:
    return [
        measure(codes.AREA, region.area_cm2, region.area_px, codes.SQUARE_CENTIMETRE),
        measure(codes.THICKNESS, region.mean_thickness_mm, region.mean_thickness_px, codes.MILLIMETRE, codes.MEAN),
    ]


def trace_outline(mask: np.ndarray, inside: tuple[float, float]) -> np.ndarray:
    """Outline of one region of a mask as a closed polygon.

    A hole, such as the heart inside fluid all around it, is cut out by a line of no width from the outer outline to it
    and back, so that the polygon encloses the region and nothing else.

    Args:
        mask: (H, W) bool.
        inside: (row, column) of a pixel of the region.

    Returns:
        (N, 2) points as (column, row), at most 8,000, first and last the same; see :func:`to_points`.

    Raises:
        ValueError: there is no effusion at ``inside``.
    """
    labels = label_regions(mask, connectivity=2)
    row, column = (int(round(float(value))) for value in inside)
    if not (0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]) or labels[row, column] == 0:
        raise ValueError(f"masks_by_frame has no effusion at row {row}, column {column}, where a region was measured.")
    padded = np.pad(labels == labels[row, column], 1).astype(np.float32)
    outlines = [outline - 1 for outline in find_contours(padded, 0.5, fully_connected="high")]
    tolerance, count = _TOLERANCE, _MOST_POINTS + 1
    while count > _MOST_POINTS and tolerance < 100:
        simple = [approximate_polygon(outline, tolerance) for outline in outlines]
        count = sum(len(outline) + 1 for outline in simple)
        tolerance *= 2
    outer, *holes = sorted(simple, key=lambda outline: -np.ptp(outline, axis=0).prod())
    for hole in holes if count <= _MOST_POINTS else []:  # more holes than points can tell: noise
        near = np.unravel_index(np.argmin(cdist(outer, hole)), (len(outer), len(hole)))
        outer = np.concatenate([outer[: near[0] + 1], hole[near[1] : -1], hole[: near[1] + 1], outer[near[0] :]])
    return to_points(outer, mask.shape)


def to_points(places: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(row, column) pixel indices as (column, row) of a SCOORD, where 0, 0 is the corner of the first pixel.

    PS3.3, C.18.6.1.1: the centre of the first pixel is 0.5, 0.5; no point may lie outside the image.
    """
    return np.clip(places[:, ::-1] + 0.5, 0, [shape[1], shape[0]])
