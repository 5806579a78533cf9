# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Secondary captures: valid, without loss, at the source's speed, and honest about what is burned in."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from result_source import ALGORITHM, SINGLE_FRAME, assert_same_study, complaints, references, saved, ultrasound

from pe_monai.dicom.capture import write_capture
from pe_monai.errors import FrameError

PICTURES = np.random.default_rng(1).integers(0, 256, (4, 33, 47, 3), dtype=np.uint8)


def test_pictures_come_back_without_loss(tmp_path):
    source = ultrasound(PICTURES)
    path = write_capture(tmp_path / "capture.dcm", source, iter(PICTURES), 4, algorithm=ALGORITHM)
    capture = pydicom.dcmread(path)
    np.testing.assert_array_equal(capture.pixel_array, PICTURES)
    assert capture.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7.4"
    assert list(capture.ImageType) == ["DERIVED", "SECONDARY"]
    assert (capture.PhotometricInterpretation, capture.ConversionType) == ("RGB", "WSD")
    assert references(capture) == {(source.SOPClassUID, source.SOPInstanceUID)}
    assert_same_study(capture, source)
    assert complaints(path) == []


@pytest.mark.parametrize(
    ("timing", "expected", "pointer"),
    [
        ({"FrameTime": 33.0}, ("FrameTime", 33.0), 0x00181063),
        ({"FrameTimeVector": [0, 30, 35, 31]}, ("FrameTimeVector", [0, 30, 35, 31]), 0x00181065),
        ({"FrameTimeVector": [0, 30], "CineRate": 40}, ("FrameTime", 25.0), 0x00181063),
        ({"FrameTime": 0, "RecommendedDisplayFrameRate": 50}, ("FrameTime", 20.0), 0x00181063),
        ({}, ("PageNumberVector", [1, 2, 3, 4]), 0x00182001),
    ],
)
def test_it_plays_as_the_source_does(tmp_path, timing, expected, pointer):
    source = ultrasound(PICTURES)
    del source.FrameTime
    for keyword, value in timing.items():
        setattr(source, keyword, value)
    path = write_capture(tmp_path / "capture.dcm", source, PICTURES, 4)
    capture = pydicom.dcmread(path)
    assert capture.FrameIncrementPointer == pointer
    assert capture[expected[0]].value == expected[1]
    assert complaints(path) == []


def test_a_single_picture_needs_no_timing(tmp_path):
    path = write_capture(tmp_path / "c.dcm", ultrasound(PICTURES[:1], sop_class=SINGLE_FRAME), PICTURES[:1], 1)
    capture = pydicom.dcmread(path)
    assert capture.NumberOfFrames == 1 and "FrameIncrementPointer" not in capture
    np.testing.assert_array_equal(capture.pixel_array, PICTURES[0])
    assert complaints(path) == []


def test_it_says_whether_the_patient_can_be_read_in_it(tmp_path):
    source = ultrasound(PICTURES)
    drawn = pydicom.dcmread(write_capture(tmp_path / "c.dcm", source, PICTURES, 4))
    assert drawn.BurnedInAnnotation == "NO"
    whole = pydicom.dcmread(write_capture(tmp_path / "c.dcm", source, PICTURES, 4, shows_identity=True))
    assert whole.BurnedInAnnotation == "YES"


def test_what_was_lost_before_stays_said(tmp_path):
    source = ultrasound(PICTURES)
    source.LossyImageCompression = "01"
    source.LossyImageCompressionRatio = 12.5
    source.LossyImageCompressionMethod = "ISO_10918_1"
    path = write_capture(tmp_path / "c.dcm", source, PICTURES, 4)
    capture = pydicom.dcmread(path)
    assert (capture.LossyImageCompression, capture.LossyImageCompressionRatio) == ("01", 12.5)
    assert complaints(path) == []


def test_uids_follow_from_the_source_the_algorithm_and_the_pictures(tmp_path):
    source = pydicom.dcmread(saved(ultrasound(PICTURES), tmp_path / "source.dcm"))

    def uids(pictures, **changed):
        capture = write_capture(tmp_path / "c.dcm", source, pictures, 4, algorithm={**ALGORITHM, **changed})
        dataset = pydicom.dcmread(capture)
        return dataset.SOPInstanceUID, dataset.SeriesInstanceUID

    first = uids(PICTURES)
    assert uids(PICTURES) == first
    assert uids(PICTURES[::-1])[0] != first[0] and uids(PICTURES[::-1])[1] == first[1]
    assert not set(uids(PICTURES, version="0.2")) & set(first)


def test_what_is_no_row_of_pictures_is_refused(tmp_path):
    source = ultrasound(PICTURES)
    for pictures, count, message in (
        (PICTURES, 0, "frame_count must be 1 or more"),
        (PICTURES, 3, "frame_count says, 3; there are more"),
        (PICTURES, 5, "frame_count says, 5; there are 4"),
        ([], 1, "there are 0"),
        (PICTURES[..., 0], 4, r"picture 1 is uint8 of shape \(33, 47\)"),
        (PICTURES / 255, 4, "picture 1 is float64"),
        ([PICTURES[0], PICTURES[1, :30]], 2, "33 rows x 47 columns, picture 2 30 x 47"),
    ):
        with pytest.raises(ValueError, match=message):
            write_capture(tmp_path / "c.dcm", source, pictures, count)
    del source.SeriesInstanceUID
    with pytest.raises(FrameError, match="SeriesInstanceUID"):
        write_capture(tmp_path / "c.dcm", source, PICTURES, 4)
    assert list(tmp_path.iterdir()) == []


def test_timing_that_is_no_number(tmp_path):
    source = ultrasound(PICTURES)
    source.pop("FrameTime", None)
    tag = pydicom.datadict.tag_for_keyword("FrameTimeVector")
    source[tag] = pydicom.dataelem.RawDataElement(tag, "DS", 8, b"0\\x\\4\\5 ", 0, False, True)
    path = write_capture(tmp_path / "capture.dcm", source, iter(PICTURES), 4, algorithm=ALGORITHM)
    assert "FrameTimeVector" not in pydicom.dcmread(path)
