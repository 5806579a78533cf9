# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A clean ultrasound object made from the phantom, for results to refer to, and what checks them."""

from __future__ import annotations

import datetime
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

MULTI_FRAME, SINGLE_FRAME = "1.2.840.10008.5.1.4.1.1.3.1", "1.2.840.10008.5.1.4.1.1.6.1"
RETIRED_MULTI_FRAME, RETIRED_SINGLE_FRAME = "1.2.840.10008.5.1.4.1.1.3", "1.2.840.10008.5.1.4.1.1.6"
ALGORITHM = {"name": "pe_monai", "version": "0.1.0", "weights_sha256": "ab" * 32, "settings": {"threshold": 0.5}}


def ultrasound(
    images: np.ndarray, spacing: tuple[float, float] | None = (0.5, 0.5), sop_class: str = MULTI_FRAME
) -> Dataset:
    """An ultrasound object as a scanner writes it.

    Args:
        images: (F, H, W, 3) uint8; one frame for a single-frame class.
        spacing: (row, column) in mm, or None for an object without calibrated regions.
        sop_class: one of the four above.
    """
    frames, rows, columns = images.shape[:3]
    source = Dataset()
    source.file_meta = FileMetaDataset()
    source.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    source.file_meta.MediaStorageSOPClassUID = sop_class
    source.SpecificCharacterSet = "ISO_IR 100"
    source.ImageType = ["ORIGINAL", "PRIMARY"]
    source.SOPClassUID = sop_class
    source.SOPInstanceUID = source.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    source.StudyDate = source.SeriesDate = source.ContentDate = "20240102"
    source.StudyTime = source.SeriesTime = source.ContentTime = "101500"
    source.AccessionNumber = "A17"
    source.Modality = "US"
    source.Manufacturer = "Phantom"
    source.ReferringPhysicianName = ""
    source.PatientName = "Müller^Änne"
    source.PatientID = "P-042"
    source.PatientBirthDate = "19500301"
    source.PatientSex = "F"
    source.PatientAge = "073Y"
    source.BodyPartExamined = "HEART"
    source.StudyInstanceUID = generate_uid()
    source.SeriesInstanceUID = generate_uid()
    source.StudyID = "S1"
    source.SeriesNumber = 3
    source.InstanceNumber = 7
    source.PatientOrientation = None
    source.SamplesPerPixel = 3
    source.PhotometricInterpretation = "RGB"
    source.PlanarConfiguration = 0
    source.Rows, source.Columns = rows, columns
    source.BitsAllocated = source.BitsStored = 8
    source.HighBit, source.PixelRepresentation = 7, 0
    source.UltrasoundColorDataPresent = 0
    source.LossyImageCompression = "00"
    if sop_class in (MULTI_FRAME, RETIRED_MULTI_FRAME):
        source.NumberOfFrames = frames
        source.FrameIncrementPointer = 0x00181063
        source.FrameTime = 33.0
    if spacing:
        region = Dataset()
        region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
        region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
        region.RegionLocationMaxX1, region.RegionLocationMaxY1 = columns - 1, rows - 1
        region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
        region.PhysicalDeltaY, region.PhysicalDeltaX = spacing[0] / 10, spacing[1] / 10
        source.SequenceOfUltrasoundRegions = [region]
    source.PixelData = images.tobytes() + b"\0" * (images.size % 2)
    source["PixelData"].VR = "OB"
    return source


def saved(source: Dataset, path: Path) -> Path:
    source.save_as(path, enforce_file_format=True)
    return path


def complaints(path: Path) -> list[str]:
    """Errors that dciodvfy finds in an object; skips the test where it is not installed."""
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")
    answer = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    lines = (answer.stdout + answer.stderr).splitlines()
    errors = [line for line in lines if "Error" in line]
    if RETIRED_MULTI_FRAME in {sop_class for sop_class, _ in references(pydicom.dcmread(path))}:
        # dciodvfy does not know this class as one of clips; without the frame's number the reference would be wrong
        errors = [line for line in errors if "not multi-frame - attribute <ReferencedFrameNumber>" not in line]
    return errors


def references(dataset: Dataset) -> set[tuple[str, str]]:
    """(SOP class, SOP instance) of every reference, however deep."""
    found = set()
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                if "ReferencedSOPInstanceUID" in item:
                    found.add((str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID)))
                found |= references(item)
    return found


def assert_same_study(dataset: pydicom.Dataset, source: Dataset) -> None:
    """Patient and study are the source's; the content is of today; the name is in no file name."""
    for keyword in ("PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime"):
        assert dataset[keyword].value == source[keyword].value
    assert str(dataset.PatientName) == str(source.PatientName)
    assert dataset.AccessionNumber == source.AccessionNumber
    assert dataset.PatientAge == source.PatientAge
    assert dataset.SeriesInstanceUID != source.SeriesInstanceUID
    assert dataset.SOPInstanceUID != source.SOPInstanceUID
    assert abs(datetime.date.today() - datetime.datetime.strptime(dataset.ContentDate, "%Y%m%d").date()).days <= 1
    assert "research use only" in dataset.SeriesDescription
