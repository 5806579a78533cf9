# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Structured reports: valid, and a foreign reader finds values, codes, lines and the frame that they were drawn on."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom.sr import GraphicTypeValues
from pydicom.sr.coding import Code
from result_source import (
    ALGORITHM,
    MULTI_FRAME,
    RETIRED_MULTI_FRAME,
    SINGLE_FRAME,
    assert_same_study,
    complaints,
    references,
    ultrasound,
)

from pe_monai.dicom import report_regions
from pe_monai.dicom.report_regions import trace_outline
from pe_monai.dicom.report_sr import write_report
from pe_monai.dicom.segmentation import write_segmentation
from pe_monai.errors import FrameError
from pe_monai.measure import measure_clip, measure_frame

THICKNESS, AREA = Code("59089-3", "LN", "ROI Thickness by US"), Code("42798000", "SCT", "Area")
MAXIMUM, MEAN = Code("56851009", "SCT", "Maximum"), Code("373098007", "SCT", "Mean")
MASK = np.zeros((40, 60), bool)
MASK[10:16, 20:50] = True  # 6 rows x 30 columns: thickness 6 px, area 180 px
MASK[30:33, 5:15] = True  # 3 rows x 10 columns
IMAGES = np.full((4, 40, 60, 3), 90, np.uint8)


def region(row: float, column: float, thickness: float, area: int, is_calibrated: bool):
    """A region in pixels of 0.5 mm x 0.5 mm, calliper upright through its centre."""
    return SimpleNamespace(
        thickness_px=thickness,
        thickness_mm=thickness / 2 if is_calibrated else None,
        mean_thickness_px=thickness - 1,
        mean_thickness_mm=(thickness - 1) / 2 if is_calibrated else None,
        area_px=area,
        area_cm2=area * 0.0025 if is_calibrated else None,
        calliper=((row - thickness / 2, column), (row + thickness / 2, column)),
        centre=(row, column),
    )


def measured(is_calibrated: bool = True, frame: int | None = 3, frames: int = 4):
    """A clip of which one frame has the two regions of MASK; or none."""
    regions = (region(12.5, 34, 6, 180, is_calibrated), region(31, 9, 3, 30, is_calibrated))
    empty = SimpleNamespace(regions=(), thickness_mm=0.0 if is_calibrated else None, reliable=True, reason=None)
    full = SimpleNamespace(regions=regions, thickness_mm=3.0 if is_calibrated else None, reliable=True, reason=None)
    return SimpleNamespace(
        frames=tuple(full if number == frame else empty for number in range(1, frames + 1)),
        largest_frame=frame,
        robust_px=5.5,
        robust_mm=2.75 if is_calibrated else None,
        grade="small (ESC 2015)" if is_calibrated and frame else None,
        phase="largest in the clip, phase unknown",
    )


def read(path):
    """The report as highdicom reads it, with its planar groups, groups and dataset."""
    report = hd.sr.srread(path)
    content = report.content
    return content.get_planar_roi_measurement_groups(), content.get_image_measurement_groups(), report


def values(group, name):
    return [(m.value, m.unit.value, m.derivation.value if m.derivation else None) for m in group.get_measurements(name)]


def comments(group):
    return [item.TextValue for item in group[0].ContentSequence if item.name == Code("121106", "DCM", "Comment")]


@pytest.mark.parametrize("sop_class", [MULTI_FRAME, RETIRED_MULTI_FRAME])
def test_a_foreign_reader_finds_every_value_and_line(tmp_path, sop_class):
    source = ultrasound(IMAGES, sop_class=sop_class)
    masks = np.stack([np.zeros_like(MASK)] * 2 + [MASK, np.zeros_like(MASK)])
    segmentation = pydicom.dcmread(write_segmentation(tmp_path / "seg.dcm", source, masks, algorithm=ALGORITHM))
    path = write_report(tmp_path / "sr.dcm", source, measured(), {3: MASK}, segmentation, algorithm=ALGORITHM)

    outlines, groups, report = read(path)
    assert len(outlines) == 2 and len(groups) == 3
    assert values(outlines[0], THICKNESS) == [(3.0, "mm", MAXIMUM.value), (2.5, "mm", MEAN.value)]
    assert values(outlines[0], AREA) == [(0.45, "cm2", None)]
    assert values(outlines[1], THICKNESS)[0] == (1.5, "mm", MAXIMUM.value)
    for outline in outlines:
        assert outline.finding_type == Code("373945007", "SCT", "Pericardial effusion")
        assert outline.finding_sites[0].value == Code("25489000", "SCT", "Pericardial cavity")
        assert outline.roi.graphic_type is GraphicTypeValues.POLYLINE
        image = outline.roi.ContentSequence[0].ReferencedSOPSequence[0]
        assert image.ReferencedSOPClassUID == sop_class
        assert image.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert image.ReferencedFrameNumber == 3
    np.testing.assert_allclose(outlines[0].roi.value.min(axis=0), [20, 10])
    np.testing.assert_allclose(outlines[0].roi.value.max(axis=0), [50, 16])

    summary, first, second = groups
    assert values(summary, THICKNESS) == [(2.75, "mm", "371889001")]
    presence = summary.get_qualitative_evaluations()[0]
    assert (presence.name.value, presence.value.meaning) == ("121052", "Present")
    assert values(first, THICKNESS) == [(3.0, "mm", MAXIMUM.value)]
    calliper = first.get_measurements(THICKNESS)[0].referenced_coordinates[0]
    assert calliper.graphic_type is GraphicTypeValues.POLYLINE
    np.testing.assert_allclose(calliper.value, [[34.5, 10], [34.5, 16]])  # (column, row), 0, 0 at the corner
    assert calliper.ContentSequence[0].ReferencedSOPSequence[0].ReferencedFrameNumber == 3
    assert [group.tracking_uid for group in (first, second)] == [group.tracking_uid for group in outlines]

    evidence = {(str(sop_class), str(uid)) for _, _, uid, sop_class in report.get_evidence()}
    assert evidence == {
        (sop_class, source.SOPInstanceUID),
        (segmentation.SOPClassUID, segmentation.SOPInstanceUID),
    }
    assert references(report) == evidence
    assert complaints(path) == []


def test_it_says_what_it_is(tmp_path):
    source = ultrasound(IMAGES)
    path = write_report(tmp_path / "sr.dcm", source, measured(), {3: MASK}, None, algorithm=ALGORITHM)
    _, groups, report = read(path)
    said = comments(groups[0])
    assert said[0].startswith("For research use only")
    assert "Measured in frame 3 of 4: largest in the clip, phase unknown." in said
    assert "Grade: small (ESC 2015)." in said
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    (observer,) = report.content.get_observer_contexts()
    assert observer.observer_type == Code("121007", "DCM", "Device")
    assert observer.observer_identifying_attributes.serial_number == ALGORITHM["weights_sha256"]
    texts = [item.TextValue for item in groups[0][0].ContentSequence if item.ValueType == "TEXT"]
    assert {"pe_monai", "0.1.0", f"weights_sha256={ALGORITHM['weights_sha256']}"} <= set(texts)
    assert_same_study(report, source)


def test_without_a_pixel_size_there_is_no_millimetre(tmp_path):
    source = ultrasound(IMAGES, spacing=None)
    path = write_report(tmp_path / "sr.dcm", source, measured(False), {3: MASK}, algorithm=ALGORITHM)
    outlines, groups, report = read(path)
    assert values(outlines[0], THICKNESS) == [(6.0, "{pixels}", MAXIMUM.value), (5.0, "{pixels}", MEAN.value)]
    assert values(outlines[0], AREA) == [(180.0, "{pixels}", None)]
    assert values(groups[0], THICKNESS) == [(5.5, "{pixels}", "371889001")]
    said = comments(groups[0])
    assert any("pixel size is not known" in comment for comment in said)
    assert not any("Grade" in comment for comment in said)
    units = {group.unit.value for part in (*outlines, *groups) for group in part.get_measurements()}
    assert units == {"{pixels}"}
    assert complaints(path) == []


def test_an_all_clear_clip_says_so(tmp_path):
    source = ultrasound(IMAGES)
    path = write_report(tmp_path / "sr.dcm", source, measured(frame=None), {}, algorithm=ALGORITHM)
    outlines, groups, _ = read(path)
    assert outlines == [] and len(groups) == 1
    assert groups[0].get_measurements() == []
    assert groups[0].get_qualitative_evaluations()[0].value.meaning == "Absent"
    assert "No pericardial effusion was outlined in any of 4 frames; this does not exclude one." in comments(groups[0])
    assert references(pydicom.dcmread(path)) == {(source.SOPClassUID, source.SOPInstanceUID)}
    assert complaints(path) == []


def test_a_clip_without_a_reliable_frame_has_no_robust_maximum(tmp_path):
    source = ultrasound(IMAGES)
    clip = measure_clip([replace(measure_frame(MASK, None), reliable=False, reason="doubtful") for _ in IMAGES])
    assert clip.robust_px is None
    path = write_report(tmp_path / "sr.dcm", source, clip, {1: MASK}, algorithm=ALGORITHM)
    _, groups, _ = read(path)
    assert groups
    assert complaints(path) == []


def test_a_single_frame_has_no_frame_number(tmp_path):
    source = ultrasound(IMAGES[:1], sop_class=SINGLE_FRAME)
    path = write_report(tmp_path / "sr.dcm", source, measured(frame=1, frames=1), {1: MASK}, algorithm=ALGORITHM)
    outlines, _, _ = read(path)
    image = outlines[0].roi.ContentSequence[0].ReferencedSOPSequence[0]
    assert image.ReferencedSOPClassUID == SINGLE_FRAME and "ReferencedFrameNumber" not in image
    assert complaints(path) == []


def test_a_rerun_repeats_the_uids(tmp_path):
    source = ultrasound(IMAGES)

    def uids(**changed):
        path = write_report(tmp_path / "sr.dcm", source, measured(), {3: MASK}, algorithm={**ALGORITHM, **changed})
        outlines, _, report = read(path)
        return report.SOPInstanceUID, report.SeriesInstanceUID, outlines[0].tracking_uid

    assert uids() == uids()
    assert not set(uids()) & set(uids(weights_sha256="cd" * 32))


def test_what_does_not_fit_the_source_is_refused(tmp_path):
    source = ultrasound(IMAGES)
    other = ultrasound(IMAGES)
    for clip, masks, segmentation, message in (
        (measured(), {2: MASK}, None, "must hold the mask of frame 3"),
        (measured(), {3: MASK.T}, None, r"40 rows x 60 columns; frame 3 has the shape \(60, 40\)"),
        (measured(), {3: ~MASK & False}, None, "no effusion at row 12, column 34"),
        (measured(frames=5), {3: MASK}, None, "clip has 5 frames, the source 4"),
        (measured(), {3: MASK}, other, "must be a DICOM Segmentation of the source's study"),
    ):
        with pytest.raises(ValueError, match=message):
            write_report(tmp_path / "sr.dcm", source, clip, masks, segmentation, algorithm=ALGORITHM)
    del source.StudyInstanceUID
    with pytest.raises(FrameError, match="StudyInstanceUID"):
        write_report(tmp_path / "sr.dcm", source, measured(), {3: MASK}, algorithm=ALGORITHM)
    assert list(tmp_path.iterdir()) == []


def area(points):
    x, y = points.T
    return abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2


def test_an_outline_encloses_its_region_and_not_the_heart_inside():
    rows, columns = np.mgrid[:300, :400]
    ring = ((rows - 150) ** 2 + (columns - 200) ** 2 < 140**2) & ((rows - 150) ** 2 + (columns - 195) ** 2 >= 120**2)
    points = trace_outline(ring, (150, 330))
    assert area(points) == pytest.approx(ring.sum(), rel=0.005)
    np.testing.assert_array_equal(points[0], points[-1])
    for mask, row, column in ((MASK, 12, 30), (MASK, 31, 9)):
        points = trace_outline(mask, (row, column))
        assert area(points) == {12: 180, 31: 30}[row] - 0.5  # the four corners are cut off
        assert (points[:, 0].min() >= 0) and (points[:, 1].max() <= mask.shape[0])


def test_an_outline_at_the_rim_stays_in_the_picture():
    points = trace_outline(np.ones((10, 12), bool), (0, 0))
    assert points.min() == 0 and points[:, 0].max() == 12 and points[:, 1].max() == 10


def test_an_outline_has_no_more_points_than_an_element_holds(monkeypatch):
    assert 2 * report_regions._MOST_POINTS * 4 < 65_534
    monkeypatch.setattr(report_regions, "_MOST_POINTS", 100)
    comb = np.zeros((120, 200), bool)
    comb[:100] = comb[:105, ::2] = True
    points = trace_outline(comb, (0, 0))
    assert len(points) <= 100
    assert area(points) == pytest.approx(comb.sum(), rel=0.04)
