# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Small ultrasound objects, and something that makes results of them without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.3.1"
SR = "1.2.840.10008.5.1.4.1.1.88.33"
PATIENT = "Secret^Name"


def ultrasound(study: str, seed: int = 0, sop_class: str = MULTI_FRAME, frames: int = 2) -> Dataset:
    """A clip; its instance UID follows from the study and the seed."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    uid = generate_uid(entropy_srcs=[study, str(seed)])
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[study, "series"])
    dataset.PatientName, dataset.PatientID, dataset.Modality = PATIENT, "P1", "US"
    dataset.StudyDate = "20240102"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = frames, 16, 20
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    # bytes that look like the end of a part of a multipart answer
    dataset.PixelData = b"\r\n--" + np.random.default_rng(seed).bytes(frames * 320 - 4)
    dataset["PixelData"].VR = "OB"
    return dataset


def to_bytes(dataset: Dataset) -> bytes:
    """A dataset as a DICOM file."""
    from io import BytesIO

    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def stub_study(inputs: Sequence[Path], output: Path, *_: object) -> SimpleNamespace:
    """Two results for each input, in the place of ``process_study``; an input with "toxic" in it raises."""
    objects = []
    for path in inputs:
        source = pydicom.dcmread(path)
        if source.get("StudyDescription") == "toxic":
            raise KeyError(f"quotes {source.PatientName}")
        for kind in ("segmentation", "report"):
            result = Dataset()
            result.file_meta = FileMetaDataset()
            result.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            result.file_meta.MediaStorageSOPClassUID = result.SOPClassUID = SR
            uid = generate_uid(entropy_srcs=[source.SOPInstanceUID, kind])
            result.file_meta.MediaStorageSOPInstanceUID = result.SOPInstanceUID = uid
            result.StudyInstanceUID = source.StudyInstanceUID
            result.SeriesInstanceUID = generate_uid(entropy_srcs=[source.SeriesInstanceUID, kind])
            result.PatientID, result.Modality, result.ContentDate = source.PatientID, "SR", "20260101"
            target = output / path.stem / f"{kind}.dcm"
            target.parent.mkdir(parents=True, exist_ok=True)
            result.save_as(target, enforce_file_format=True)
            objects.append(target)
    return SimpleNamespace(objects=objects, errors=[])


def result_uids(*sources: Dataset) -> set[str]:
    """SOP Instance UIDs that the stub gives the results of these sources."""
    kinds = ("segmentation", "report")
    return {generate_uid(entropy_srcs=[source.SOPInstanceUID, kind]) for source in sources for kind in kinds}
