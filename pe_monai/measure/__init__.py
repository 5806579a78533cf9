# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a probability map or a mask says about a frame or a clip: how sure, how thick, where, how large."""

from pe_monai.measure.clip import ClipMeasurement, measure_clip
from pe_monai.measure.frame import FrameMeasurement, Position, RegionMeasurement, measure_frame
from pe_monai.measure.overlap import dice
from pe_monai.measure.scales import SCALES, Scale, find_scale
from pe_monai.measure.score import frame_score
from pe_monai.measure.uncertainty import frame_uncertainty

__all__ = [
    "SCALES",
    "ClipMeasurement",
    "FrameMeasurement",
    "Position",
    "RegionMeasurement",
    "Scale",
    "dice",
    "find_scale",
    "frame_score",
    "frame_uncertainty",
    "measure_clip",
    "measure_frame",
]
