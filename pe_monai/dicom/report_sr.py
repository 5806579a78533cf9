# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A clip's measurements as a DICOM structured report (TID 1500 in a Comprehensive SR)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom import Dataset
from pydicom.uid import SegmentationStorage, UltrasoundMultiFrameImageStorage

from pe_monai.dicom import codes
from pe_monai.dicom.identity import (
    MANUFACTURER,
    algorithm_key,
    check_source,
    complete,
    count_frames,
    derive_uid,
    frame_reference,
    result_header,
    save_object,
    stand_in,
)

if TYPE_CHECKING:
    from pe_monai.measure import ClipMeasurement


def write_report(
    path: str | Path,
    source: Dataset,
    clip: ClipMeasurement,
    masks_by_frame: Mapping[int, np.ndarray],
    segmentation: Dataset | None = None,
    *,
    algorithm: Mapping[str, Any],
) -> Path:
    """Write what was measured in an ultrasound object as a structured report.

    The first group sums the clip up: whether there is effusion, the robust maximum, and in words the grade, the phase
    and frames judged unreliable. Then, for each region of the frame with the largest thickness, a planar region (TID
    1410) with its outline, area and thickness and a group (TID 1501) with the thickness and its calliper. The observer
    is a device; the report is preliminary and unverified.

    Args:
        path: the file to write.
        source: the ultrasound object; its pixels are not needed.
        clip: its measurements.
        masks_by_frame: by frame number, from 1, the masks (H, W) bool; the frame with the largest thickness must be
            there, the others are ignored.
        segmentation: the Segmentation of the same object, noted as evidence.
        algorithm: what made the masks, as for :func:`pe_monai.dicom.segmentation.write_segmentation`.

    Raises:
        FrameError: the source lacks what a reference to it needs.
        ValueError: the measurements or masks do not fit the source, or ``segmentation`` is none of its study.
        OSError: the file cannot be written.
    """
    import highdicom as hd

    check_source(source)
    evidence = [_like_source(source)]
    if segmentation is not None:
        if segmentation.SOPClassUID != SegmentationStorage or segmentation.StudyInstanceUID != source.StudyInstanceUID:
            raise ValueError("segmentation must be a DICOM Segmentation of the source's study.")
        evidence.append(segmentation)
    if len(clip.frames) != count_frames(source):
        raise ValueError(
            f"clip has {len(clip.frames)} frames, the source {count_frames(source)}; they must be as many."
        )
    key = algorithm_key(algorithm)
    header = result_header(source, "report", algorithm)
    groups = _measurement_groups(source, clip, masks_by_frame, key, header["sop_instance_uid"])
    content = hd.sr.MeasurementReport(
        observation_context=_observation_context(key),
        procedure_reported=codes.ECHOCARDIOGRAPHY,
        imaging_measurements=groups,
    )
    report = hd.sr.ComprehensiveSR(
        evidence=evidence, content=content[0], is_complete=True, is_final=False, is_verified=False, **header
    )
    complete(report, source)
    return save_object(report, path)


def _like_source(source: Dataset) -> Dataset:
    """The source's stand-in, as a clip if it is one: highdicom allows frame numbers for clips only."""
    result = stand_in(source)
    if frame_reference(source, 1):
        result.SOPClassUID = UltrasoundMultiFrameImageStorage
        result.NumberOfFrames = count_frames(source)
    return result


def _observation_context(key: Mapping[str, Any]) -> Any:
    from highdicom.sr import DeviceObserverIdentifyingAttributes, ObservationContext, ObserverContext
    from pydicom.sr.codedict import codes as dictionary

    device = DeviceObserverIdentifyingAttributes(
        uid=derive_uid("device", key),
        name=f"{key['name']} {key['version']}",
        manufacturer_name=MANUFACTURER,
        model_name=str(key["name"]),
        serial_number=str(key["weights_sha256"]),
    )
    return ObservationContext(ObserverContext(dictionary.DCM.Device, device))


def _measurement_groups(
    source: Dataset, clip: ClipMeasurement, masks_by_frame: Mapping[int, np.ndarray], key: Mapping[str, Any], uid: str
) -> list:
    from highdicom.sr import (
        AlgorithmIdentification,
        SourceImageForMeasurementGroup,
        SourceImageForRegion,
        TrackingIdentifier,
    )

    from pe_monai.dicom.report_regions import describe_region
    from pe_monai.dicom.report_summary import summarize_clip

    like = _like_source(source)
    algorithm = AlgorithmIdentification(
        name=str(key["name"]), version=str(key["version"]), parameters=[f"weights_sha256={key['weights_sha256']}"]
    )

    def track(name: str) -> TrackingIdentifier:
        return TrackingIdentifier(derive_uid(uid, name), name)

    image = SourceImageForMeasurementGroup(like.SOPClassUID, like.SOPInstanceUID)
    groups: list = [summarize_clip(clip, image, track("Clip"), algorithm)]
    if clip.largest_frame is None:
        return groups
    number = clip.largest_frame
    if number not in masks_by_frame:
        raise ValueError(f"masks_by_frame must hold the mask of frame {number}, where the thickness is largest.")
    mask = np.asarray(masks_by_frame[number], dtype=bool)
    if mask.shape != (source.Rows, source.Columns):
        raise ValueError(
            f"masks_by_frame must have the source's size, {source.Rows} rows x {source.Columns} columns; "
            f"frame {number} has the shape {mask.shape}."
        )
    frames = frame_reference(source, number)
    region_image = SourceImageForRegion(like.SOPClassUID, like.SOPInstanceUID, frames)
    image = SourceImageForMeasurementGroup(like.SOPClassUID, like.SOPInstanceUID, frames)
    for place, region in enumerate(clip.frames[number - 1].regions, start=1):
        groups += describe_region(region, mask, region_image, image, track(f"Region {place}"), algorithm)
    return groups
