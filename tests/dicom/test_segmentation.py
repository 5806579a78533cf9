# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM Segmentations of phantom clips: valid, read back exactly, pointing at the right frames."""

from __future__ import annotations

import copy
import datetime

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, RLELossless
from result_source import (
    ALGORITHM,
    MULTI_FRAME,
    RETIRED_MULTI_FRAME,
    RETIRED_SINGLE_FRAME,
    SINGLE_FRAME,
    assert_same_study,
    complaints,
    references,
    saved,
    ultrasound,
)

from pe_monai.data import phantom_clip
from pe_monai.dicom import segmentation
from pe_monai.dicom.segmentation import read_segmentation, write_segmentation
from pe_monai.errors import FrameError

SIZE = (61, 83)  # 5063 pixels: no frame but the first begins at a byte


@pytest.fixture(scope="module")
def clip():
    """Images (5, H, W, 3), masks (5, H, W) with none in the second, spacing."""
    frames = phantom_clip(3, 5, SIZE, "black", 12.0, 15.0)
    masks = np.stack([frame.mask for frame in frames])
    masks[1] = False
    assert masks[0].any() and masks[-1].any()
    return np.stack([frame.image for frame in frames]), masks, frames[0].spacing


@pytest.mark.parametrize("sop_class", [MULTI_FRAME, RETIRED_MULTI_FRAME])
def test_a_clip_reads_back_pixel_for_pixel(tmp_path, clip, sop_class):
    images, masks, spacing = clip
    source = ultrasound(images, spacing, sop_class)
    source_path = saved(source, tmp_path / "clip.dcm")
    path = write_segmentation(tmp_path / "seg.dcm", source, masks, algorithm=ALGORITHM)

    read, read_spacing, numbers = read_segmentation(path, [source_path])
    np.testing.assert_array_equal(read, masks)
    assert read_spacing == pytest.approx(spacing)
    assert numbers == (1, 2, 3, 4, 5)

    plain = pydicom.dcmread(path)
    np.testing.assert_array_equal(plain.pixel_array, masks[[0, 2, 3, 4]])

    foreign = hd.seg.segread(path)
    pixels = foreign.get_pixels_by_source_frame(
        source.SOPInstanceUID, [1, 2, 3, 4, 5], assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(pixels[..., 0], masks)
    assert references(plain) == {(sop_class, source.SOPInstanceUID)}
    assert complaints(path) == []


def test_each_frame_names_the_frame_it_belongs_to(tmp_path, clip):
    images, masks, _ = clip
    source = ultrasound(images)
    plain = pydicom.dcmread(write_segmentation(tmp_path / "seg.dcm", source, masks, algorithm=ALGORITHM))
    frames = plain.PerFrameFunctionalGroupsSequence
    of_source = [f.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber for f in frames]
    assert of_source == [1, 3, 4, 5]
    assert [f.FrameContentSequence[0].TemporalPositionIndex for f in frames] == [1, 3, 4, 5]
    assert [list(f.FrameContentSequence[0].DimensionIndexValues) for f in frames] == [[1, 1], [1, 3], [1, 4], [1, 5]]
    series = plain.ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID


def test_what_was_segmented_and_by_what_is_coded(tmp_path, clip):
    images, masks, _ = clip
    source = ultrasound(images)
    path = write_segmentation(tmp_path / "seg.dcm", source, masks, algorithm=ALGORITHM)
    segment = hd.seg.segread(path).get_segment_description(1)
    assert (segment.segmented_property_type.value, segment.segmented_property_type.scheme_designator) == (
        "373945007",
        "SCT",
    )
    assert segment.algorithm_type is hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC
    identification = segment.algorithm_identification
    assert (identification.name, identification.version) == ("pe_monai", "0.1.0")
    assert ALGORITHM["weights_sha256"] in str(identification.parameters)
    plain = pydicom.dcmread(path)
    assert plain.SegmentationType == "BINARY" and plain.BitsAllocated == 1
    assert plain.DeviceSerialNumber == ALGORITHM["weights_sha256"]
    assert_same_study(plain, source)


def test_a_rerun_repeats_the_uids_and_another_algorithm_does_not(tmp_path, clip):
    images, masks, _ = clip
    source = ultrasound(images)

    def uids(name, of=source, fractional=False, **changed):
        path = write_segmentation(tmp_path / name, of, masks, fractional, algorithm={**ALGORITHM, **changed})
        dataset = pydicom.dcmread(path)
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        return dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.SegmentSequence[0].TrackingUID

    first = uids("1.dcm")
    assert uids("2.dcm") == first
    assert len(set(first)) == 3
    for other in (
        uids("3.dcm", weights_sha256="cd" * 32),
        uids("4.dcm", settings={"threshold": 0.4}),
        uids("5.dcm", of=ultrasound(images)),
    ):
        assert not set(other) & set(first)
    assert uids("6.dcm", fractional=True)[0] != first[0]


@pytest.mark.parametrize("sop_class", [SINGLE_FRAME, RETIRED_SINGLE_FRAME])
def test_a_single_frame_has_no_frame_number(tmp_path, clip, sop_class):
    images, masks, _ = clip
    source = ultrasound(images[:1], sop_class=sop_class)
    source_path = saved(source, tmp_path / "frame.dcm")
    path = write_segmentation(tmp_path / "seg.dcm", source, masks[:1], algorithm=ALGORITHM)
    plain = pydicom.dcmread(path)
    reference = plain.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert "ReferencedFrameNumber" not in reference
    assert references(plain) == {(sop_class, source.SOPInstanceUID)}
    np.testing.assert_array_equal(read_segmentation(path, [source_path])[0], masks[:1])
    pixels = hd.seg.segread(path).get_pixels_by_source_instance([source.SOPInstanceUID])
    np.testing.assert_array_equal(pixels[..., 0], masks[:1])
    assert complaints(path) == []


def test_no_effusion_is_one_empty_frame(tmp_path, clip):
    images, masks, _ = clip
    source = ultrasound(images)
    path = write_segmentation(tmp_path / "seg.dcm", source, np.zeros_like(masks), algorithm=ALGORITHM)
    plain = pydicom.dcmread(path)
    assert plain.NumberOfFrames == 1
    assert plain.pixel_array.shape == SIZE and not plain.pixel_array.any()
    read, _, numbers = read_segmentation(path, [saved(source, tmp_path / "clip.dcm")])
    assert read.shape == masks.shape and not read.any() and numbers == (1, 2, 3, 4, 5)
    assert complaints(path) == []


def test_probabilities_keep_steps_of_a_255th(tmp_path, clip):
    images, masks, _ = clip
    source = ultrasound(images)
    chance = np.random.default_rng(0).random(masks.shape, dtype=np.float32)
    probabilities = np.where(masks, chance, np.float32(0))
    path = write_segmentation(tmp_path / "seg.dcm", source, iter(probabilities), True, algorithm=ALGORITHM)
    plain = pydicom.dcmread(path)
    assert (plain.SegmentationType, plain.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    assert plain.MaximumFractionalValue == 255 and plain.BitsAllocated == 8
    np.testing.assert_array_equal(plain.pixel_array, np.rint(probabilities[[0, 2, 3, 4]] * 255))
    pixels = hd.seg.segread(path).get_pixels_by_source_frame(
        source.SOPInstanceUID, [1, 2, 3, 4, 5], assert_missing_frames_are_empty=True
    )
    np.testing.assert_allclose(pixels[..., 0], probabilities, atol=0.5 / 255 + 1e-6)
    read, _, _ = read_segmentation(path, [saved(source, tmp_path / "clip.dcm")])
    np.testing.assert_array_equal(read, np.rint(probabilities * 255) >= 128)
    assert complaints(path) == []


def test_an_object_of_highdicom_reads_too(tmp_path, clip):
    """Several single frames, two segments, compressed: nothing that this package writes."""
    images, masks, spacing = clip
    series, study = pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
    sources, paths = [], []
    for number, image in enumerate(images[:1], start=1):
        source = ultrasound(image[None], spacing, SINGLE_FRAME)
        source.SeriesInstanceUID, source.StudyInstanceUID, source.InstanceNumber = series, study, number
        sources.append(source)
        paths.append(saved(source, tmp_path / f"{number}.dcm"))
    segments = [
        hd.seg.SegmentDescription(number, label, hd.sr.CodedConcept("49755003", "SCT", "Abnormal"), code, "MANUAL")
        for number, label, code in (
            (1, "Heart", hd.sr.CodedConcept("80891009", "SCT", "Heart")),
            (2, "Fluid", hd.sr.CodedConcept("373945007", "SCT", "Pericardial effusion")),
        )
    ]
    both = np.stack([~masks[:1], masks[:1]], axis=-1)
    for name, kind, syntax in (("b", "BINARY", ExplicitVRLittleEndian), ("f", "FRACTIONAL", RLELossless)):
        made = hd.seg.Segmentation(
            sources,
            both.astype(np.float32) if kind == "FRACTIONAL" else both,
            kind,
            segments,
            pydicom.uid.generate_uid(),
            1,
            pydicom.uid.generate_uid(),
            1,
            "a",
            "b",
            "c",
            "d",
            transfer_syntax_uid=syntax,
        )
        made.save_as(tmp_path / f"{name}.dcm")
        read, read_spacing, numbers = read_segmentation(tmp_path / f"{name}.dcm", paths)
        np.testing.assert_array_equal(read, masks[:1])
        assert read_spacing == pytest.approx(spacing) and numbers == (1,)


def test_a_name_keeps_its_letters_and_a_bad_attribute_is_left_out(tmp_path, clip):
    images, masks, _ = clip
    source = ultrasound(images)
    source.SpecificCharacterSet = ["ISO 2022 IR 6", "ISO 2022 IR 87"]
    source.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    source = pydicom.dcmread(saved(source, tmp_path / "clip.dcm"))
    with pytest.warns(UserWarning):
        source.StudyDate, source.PatientAge, source.PatientSex = "yesterday", "old", "female"
    for keyword in ("PatientBirthDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID"):
        delattr(source, keyword)
    path = write_segmentation(tmp_path / "seg.dcm", source, masks, algorithm=ALGORITHM)
    plain = pydicom.dcmread(path)
    assert str(plain.PatientName) == "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert "PatientAge" not in plain
    for keyword in ("StudyDate", "PatientSex", "PatientBirthDate", "StudyTime", "AccessionNumber", "StudyID"):
        assert plain[keyword].is_empty
    assert datetime.datetime.strptime(plain.ContentDate, "%Y%m%d")
    assert complaints(path) == []


def test_an_unusual_name_is_kept_and_told_to_nobody(tmp_path, clip, caplog, recwarn):
    images, masks, _ = clip
    source = ultrasound(images)
    source.PatientName = "Xylophon"
    path = write_segmentation(tmp_path / "seg.dcm", source, masks, algorithm=ALGORITHM)
    assert pydicom.dcmread(path).PatientName == "Xylophon"
    assert "Xylophon" not in caplog.text + "".join(str(warning.message) for warning in recwarn)


def test_what_does_not_fit_the_source_is_refused_and_nothing_is_left(tmp_path, clip):
    images, masks, _ = clip
    source = ultrasound(images)
    for given, fractional, message in (
        (masks[:4], False, "as many as the source's frames, 5; there are 4"),
        (np.concatenate([masks, masks]), False, "as many as the source's frames, 5; there are more"),
        (masks.transpose(0, 2, 1), False, r"61 rows x 83 columns; frame 1 has the shape \(83, 61\)"),
        (masks.astype(np.float32), False, "bool or integer unless fractional"),
        (masks.astype(np.uint8), True, "must be probabilities, frame 1 is uint8"),
        (masks * 1.5, True, r"\[0, 1\]; those of frame 1"),
        (np.where(masks, np.nan, 0.0), True, r"\[0, 1\]"),
    ):
        with pytest.raises(ValueError, match=message):
            write_segmentation(tmp_path / "seg.dcm", source, given, fractional, algorithm=ALGORITHM)
    with pytest.raises(ValueError, match="weights_sha256 is missing"):
        write_segmentation(tmp_path / "seg.dcm", source, masks, algorithm={"name": "a", "version": "1"})
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Rows"):
        broken = ultrasound(images)
        delattr(broken, keyword)
        with pytest.raises(FrameError, match=keyword):
            write_segmentation(tmp_path / "seg.dcm", broken, masks, algorithm=ALGORITHM)
    assert list(tmp_path.iterdir()) == []


def test_more_pixels_than_an_object_can_hold_are_refused(tmp_path, clip, monkeypatch):
    images, masks, _ = clip
    monkeypatch.setattr(segmentation, "_MOST_BYTES", 20_000)
    source = ultrasound(images)
    write_segmentation(tmp_path / "seg.dcm", source, masks, algorithm=ALGORITHM)
    with pytest.raises(ValueError, match="write masks, not fractions"):
        write_segmentation(tmp_path / "fractions.dcm", source, masks, True, algorithm=ALGORITHM)
    assert [path.name for path in tmp_path.iterdir()] == ["seg.dcm"]


def test_a_file_that_cannot_be_read_is_named(tmp_path, clip):
    images, masks, _ = clip
    source = ultrasound(images)
    source_path = saved(source, tmp_path / "clip.dcm")
    path = write_segmentation(tmp_path / "seg.dcm", source, masks, algorithm=ALGORITHM)
    other = saved(ultrasound(images), tmp_path / "other.dcm")
    text = tmp_path / "text.dcm"
    text.write_text("no DICOM")
    with pytest.raises(FrameError, match="none of the 1 source objects"):
        read_segmentation(path, [other])
    with pytest.raises(FrameError, match="text.dcm: this is no DICOM file"):
        read_segmentation(text, [source_path])
    with pytest.raises(FrameError, match="clip.dcm: this is no DICOM Segmentation"):
        read_segmentation(source_path, [source_path])
    with pytest.raises(FrameError, match="absent.dcm: this DICOM file cannot be read"):
        read_segmentation(path, [tmp_path / "absent.dcm"])

    cut = pydicom.dcmread(path)
    cut.PixelData = cut.PixelData[:1000]
    cut.save_as(tmp_path / "cut.dcm")
    with pytest.raises(FrameError, match="cut.dcm: its pixels cannot be read"):
        read_segmentation(tmp_path / "cut.dcm", [source_path])

    small = pydicom.dcmread(source_path)
    small.NumberOfFrames = 4
    small.save_as(tmp_path / "small.dcm")
    with pytest.raises(FrameError, match="frame 4 belongs to frame 5"):
        read_segmentation(path, [tmp_path / "small.dcm"])
    small.NumberOfFrames, small.Rows = 5, 60
    small.save_as(tmp_path / "small.dcm")
    with pytest.raises(FrameError, match="61 rows x 83 columns, those of its source"):
        read_segmentation(path, [tmp_path / "small.dcm"])


def test_no_pixel_size_but_that_of_all_the_effusion(tmp_path, clip):
    images, masks, _ = clip
    pair = np.concatenate([images, images], axis=2)
    source = ultrasound(pair, sop_class=MULTI_FRAME)
    left, width = source.SequenceOfUltrasoundRegions[0], SIZE[1]
    right = copy.deepcopy(left)
    left.RegionLocationMaxX1, right.RegionLocationMinX0 = width - 1, width
    right.PhysicalDeltaX = right.PhysicalDeltaY = 0.1
    source.SequenceOfUltrasoundRegions.append(right)
    nothing = np.zeros_like(masks)
    for beside, expected in ((nothing, (0.5, 0.5)), (masks, None)):
        both = np.concatenate([masks, beside], axis=2)
        path = write_segmentation(tmp_path / "seg.dcm", source, both, algorithm=ALGORITHM)
        assert read_segmentation(path, [saved(source, tmp_path / "clip.dcm")])[1] == expected
    both = np.concatenate([nothing, masks], axis=2)
    path = write_segmentation(tmp_path / "seg.dcm", source, both, algorithm=ALGORITHM)
    for change in ({"PhysicalDeltaX": 1000.0}, {"RegionLocationMinX0": 900, "RegionLocationMaxX1": 999}):
        for name, value in change.items():
            setattr(right, name, value)
        assert read_segmentation(path, [saved(source, tmp_path / "clip.dcm")])[1] is None


def test_identifier_of_a_wrong_vr(tmp_path):
    source = ultrasound(np.zeros((2, 32, 40, 3), np.uint8))
    source.add(pydicom.DataElement(0x00100020, "US", 42))
    path = write_segmentation(tmp_path / "seg.dcm", source, np.zeros((2, 32, 40), bool), algorithm=ALGORITHM)
    assert pydicom.dcmread(path).PatientID == "42"


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize("uid", [["1.2", "3.4"], "1.2.é"])
@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_no_single_uid(tmp_path, keyword, uid):
    source = ultrasound(np.zeros((2, 32, 40, 3), np.uint8))
    source[keyword].value = uid
    with pytest.raises(FrameError, match=f"{keyword} holds no single UID"):
        write_segmentation(tmp_path / "seg.dcm", source, np.zeros((2, 32, 40), bool), algorithm=ALGORITHM)
