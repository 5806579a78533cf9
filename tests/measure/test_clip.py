# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Thickness over a clip, worked by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pe_monai.measure import FrameMeasurement, RegionMeasurement, measure_clip

REGION = RegionMeasurement(
    thickness_px=0.0,
    thickness_mm=0.0,
    calliper=((0.0, 0.0), (1.0, 1.0)),
    centre=(0.5, 0.5),
    mean_thickness_px=0.0,
    mean_thickness_mm=0.0,
    area_px=1,
    area_cm2=0.01,
    sector_share=0.1,
    position=None,
)


def frame(mm: float, spacing=(0.5, 0.5), reliable: bool = True) -> FrameMeasurement:
    """A frame with an effusion of that thickness in pixels of half a millimetre."""
    region = replace(REGION, thickness_px=2 * mm, thickness_mm=mm if spacing else None)
    return FrameMeasurement((region,) if mm else (), spacing, reliable, "" if reliable else "uncertain")


def clip(*thickness: float, bad=(), **arguments):
    return measure_clip([frame(mm, reliable=n not in bad) for n, mm in enumerate(thickness, 1)], **arguments)


def test_one_bad_frame_does_not_make_a_diagnosis():
    measured = clip(8, 8, 8, 30, 8, 8, 8)
    assert (measured.largest_frame, measured.largest_mm, measured.largest_px) == (4, 30, 60)
    assert (measured.robust_mm, measured.robust_px) == (8, 16)
    assert measured.grade == "small (ESC 2015)" and measured.phase == "largest in the clip, phase unknown"
    assert measured.thickness_mm == (8, 8, 8, 30, 8, 8, 8)


def test_robust_maximum_by_hand():
    # medians over up to 5: 2, 2.5, 3, 4, 5, 5.5, 6; the 95th percentile lies 0.7 of the way from the 6th to the 7th
    measured = clip(1, 2, 3, 4, 5, 6, 7)
    np.testing.assert_allclose(measured.robust_mm, 5.5 + 0.7 * (6 - 5.5))
    assert clip(12).robust_mm == 12 and clip(12).phase == "single frame, phase unknown"


def test_unreliable_frames_are_passed_over():
    measured = clip(8, 25, 8, 9, 26, 8, bad=(2, 5))
    assert measured.unreliable == (2, 5)
    assert (measured.largest_frame, measured.largest_mm) == (4, 9)
    assert measured.robust_mm < 9 and measured.thickness_mm[1] == 25


def test_nothing_reliable():
    measured = clip(8, 9, bad=(1, 2))
    assert measured.largest_frame is None and measured.largest_mm is None and measured.largest_px is None
    assert measured.robust_mm is None and measured.robust_px is None and measured.grade is None


def test_no_effusion():
    measured = clip(0, 0, 0)
    assert measured.largest_frame is None and measured.grade is None
    assert (measured.largest_mm, measured.robust_mm, measured.robust_px) == (0, 0, 0)


def test_no_grade_without_millimetres():
    measured = measure_clip([frame(12, spacing=None), frame(0, spacing=None), frame(14, spacing=None)])
    assert measured.largest_frame == 3 and measured.largest_px == 28
    assert (measured.thickness_mm, measured.largest_mm, measured.robust_mm, measured.grade) == (None,) * 4


def test_a_frame_that_could_not_be_used():
    measured = measure_clip([frame(12), FrameMeasurement(reliable=False, reason="cannot be decoded"), frame(12)])
    assert measured.thickness_mm == (12, 0, 12) and measured.robust_mm == 12 and measured.unreliable == (2,)


def test_the_scale_is_named_with_the_grade():
    assert clip(12, scale="acep").grade == "large (ACEP)"
    assert clip(12).grade == "moderate (ESC 2015)"


def test_a_known_phase_is_graded():
    measured = clip(8, 8, 8, 12, 12, 12, 12, phase_frame=1)
    assert measured.is_graded_at_r_peak
    assert measured.largest_mm == 12 and measured.grade == "small (ESC 2015)"
    assert (
        measured.phase == "largest in the clip; the R peak (end-diastole) is in frame 1, 8.0 mm there, which is graded"
    )
    doubtful = clip(8, 8, 8, 12, 12, 12, 12, phase_frame=1, bad=(1,))
    assert not doubtful.is_graded_at_r_peak
    assert doubtful.grade == "moderate (ESC 2015)" and "graded" not in doubtful.phase


def test_json():
    measured = clip(8, 9, 10, times_ms=np.array([0, 20.5, 41]))
    read = json.loads(json.dumps(measured.as_dict(), allow_nan=False))
    assert read["times_ms"] == [0, 20.5, 41] and len(read["frames"]) == 3
    assert read["largest"] == {"frame": 3, "thickness_px": 20, "thickness_mm": 10}
    assert read["grade"] == measured.grade and read["scale"] == "esc2015"


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"times_ms": [1, 2]}, "times_ms must be one a frame"),
        ({"phase_frame": 4}, "phase_frame must be within 1 and 3"),
        ({"phase_frame": 0}, "phase_frame must be within 1 and 3"),
        ({"scale": "x"}, "scale must be one of"),
    ],
)
def test_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        clip(1, 2, 3, **arguments)
    with pytest.raises(ValueError, match="frames is empty"):
        measure_clip([])
