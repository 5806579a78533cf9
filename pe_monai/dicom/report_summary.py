# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Measurement group of a structured report that sums a clip up: effusion or none, robust maximum, what to beware of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    FindingSite,
    MeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)

from pe_monai.dicom import codes
from pe_monai.dicom.report_regions import measure

if TYPE_CHECKING:
    from pe_monai.measure import ClipMeasurement

RESEARCH_ONLY = "For research use only, not a medical device: not for diagnosis or treatment."
NO_PIXEL_SIZE = "The pixel size is not known: sizes are in pixels, none is in millimetres, and there is no grade."


def summarize_clip(
    clip: ClipMeasurement,
    image: SourceImageForMeasurementGroup,
    tracking: TrackingIdentifier,
    algorithm: AlgorithmIdentification,
) -> MeasurementsAndQualitativeEvaluations:
    """TID 1501 for a whole clip; what has no code of its own is said in comments."""
    has_effusion = any(frame.regions for frame in clip.frames)
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking,
        finding_type=codes.EFFUSION,
        finding_sites=[FindingSite(codes.PERICARDIAL_CAVITY)],
        algorithm_id=algorithm,
        measurements=_robust_maximum(clip) if has_effusion and clip.robust_px is not None else None,
        qualitative_evaluations=[
            QualitativeEvaluation(codes.PRESENCE, codes.PRESENT if has_effusion else codes.ABSENT)
        ],
        source_images=[image],
    )
    for comment in _comments(clip, has_effusion):
        group[0].ContentSequence.append(
            TextContentItem(CodedConcept.from_code(codes.COMMENT), comment, RelationshipTypeValues.CONTAINS)
        )
    return group


def _robust_maximum(clip: ClipMeasurement) -> list:
    return [measure(codes.THICKNESS, clip.robust_mm, clip.robust_px, codes.MILLIMETRE, codes.PERCENTILE_95)]


def _comments(clip: ClipMeasurement, has_effusion: bool) -> list[str]:
    comments = [RESEARCH_ONLY]
    frames = len(clip.frames)
    unreliable = sum(not frame.reliable for frame in clip.frames)
    if not has_effusion:
        comments.append(f"No pericardial effusion was outlined in any of {frames} frames; this does not exclude one.")
    elif clip.largest_frame is None:
        comments.append("Effusion was outlined, but in no frame reliably: none is measured.")
    else:
        if clip.frames[clip.largest_frame - 1].thickness_mm is None:
            comments.append(NO_PIXEL_SIZE)
        comments.append(f"Measured in frame {clip.largest_frame} of {frames}: {clip.phase}.")
        if clip.grade is not None:
            comments.append(f"Grade: {clip.grade}.")
    if unreliable:
        comments.append(f"Frames judged unreliable: {unreliable} of {frames}.")
    return comments
