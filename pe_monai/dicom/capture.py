# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures with the outlines drawn into them as a multi-frame true-colour secondary capture, for any viewer."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from pydicom import Dataset
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import MultiFrameTrueColorSecondaryCaptureImageStorage, RLELossless

from pe_monai.dicom.identity import (
    LOSS,
    PURPOSE,
    check_source,
    complete,
    count_frames,
    open_scratch,
    result_header,
    save_object,
    stand_in,
)

_ITEM = b"\xfe\xff\x00\xe0"
_NO_ALGORITHM = {"name": "pe_monai", "version": "unknown", "weights_sha256": "unknown"}


def write_capture(
    path: str | Path,
    source: Dataset,
    pictures: Iterable[np.ndarray],
    frame_count: int,
    *,
    algorithm: Mapping[str, Any] | None = None,
    shows_identity: bool = False,
) -> Path:
    """Write pictures of an ultrasound object's frames as one secondary capture, compressed without loss.

    It takes over the source's timing if it has as many frames, so that it plays at the source's speed. The instance's
    UID follows from the source, the algorithm and the pictures themselves. One picture at a time is held in memory.

    Args:
        path: the file to write.
        source: the ultrasound object; its pixels are not needed.
        pictures: each (H, W, 3) uint8 RGB, all of one size.
        frame_count: how many pictures there are.
        algorithm: what drew the outlines, as for :func:`pe_monai.dicom.segmentation.write_segmentation`.
        shows_identity: whether the pictures show what the machine wrote around the sector, which may name the patient;
            a drawn outline or measurement is no such thing.

    Raises:
        FrameError: the source lacks what a reference to it needs.
        ValueError: a picture is none, or differs in size, or there are not as many as announced.
        OSError: the file cannot be written.
    """
    check_source(source)
    if frame_count < 1:
        raise ValueError(f"frame_count must be 1 or more, got {frame_count}.")
    with open_scratch(path) as pixels:
        size, digest = _encode(pixels, pictures, frame_count)
        pixels.seek(0)
        dataset = _describe_capture(source, algorithm or _NO_ALGORITHM, digest)
        dataset.Rows, dataset.Columns = size
        dataset.NumberOfFrames = frame_count
        dataset.BurnedInAnnotation = "YES" if shows_identity else "NO"  # PS3.3, C.7.6.1: whether it names the patient
        _add_timing(dataset, source, frame_count)
        dataset.add_new("PixelData", "OB", pixels)
        dataset["PixelData"].is_undefined_length = True
        return save_object(dataset, path)


def _encode(file: IO[bytes], pictures: Iterable[np.ndarray], frame_count: int) -> tuple[tuple[int, int], str]:
    """Write the pictures as encapsulated RLE (PS3.5, A.4); returns their (rows, columns) and their SHA-256."""
    file.write(_ITEM + struct.pack("<L", 0))  # an offset table without entries
    size, digest, number = None, hashlib.sha256(), 0
    for number, picture in enumerate(pictures, start=1):
        picture = np.ascontiguousarray(picture)
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(
                f"pictures must be uint8 (H, W, 3), picture {number} is {picture.dtype} of shape {picture.shape}."
            )
        size = size or picture.shape[:2]
        if picture.shape[:2] != size:
            raise ValueError(
                f"pictures must have one size, the first is {size[0]} rows x {size[1]} columns, "
                f"picture {number} {picture.shape[0]} x {picture.shape[1]}."
            )
        if number > frame_count:
            raise ValueError(f"pictures must be as many as frame_count says, {frame_count}; there are more.")
        encoded = RLELosslessEncoder.encode(
            picture,
            rows=size[0],
            columns=size[1],
            samples_per_pixel=3,
            bits_allocated=8,
            bits_stored=8,
            pixel_representation=0,
            number_of_frames=1,
            planar_configuration=0,
            photometric_interpretation="RGB",
            encoding_plugin="pydicom",
        )
        encoded += b"\0" * (len(encoded) % 2)
        file.write(_ITEM + struct.pack("<L", len(encoded)) + encoded)
        digest.update(picture.data)
    if size is None or number < frame_count:
        raise ValueError(f"pictures must be as many as frame_count says, {frame_count}; there are {number}.")
    return size, digest.hexdigest()


def _describe_capture(source: Dataset, algorithm: Mapping[str, Any], digest: str) -> Dataset:
    """All of the object but what depends on its pictures' size and number."""
    from highdicom.base import SOPClass

    like = stand_in(source)
    made = SOPClass(
        study_instance_uid=like.StudyInstanceUID,
        sop_class_uid=MultiFrameTrueColorSecondaryCaptureImageStorage,
        modality="OT",
        transfer_syntax_uid=RLELossless,
        patient_id=like.PatientID,
        patient_name=like.PatientName,
        patient_birth_date=like.PatientBirthDate,
        patient_sex=like.PatientSex,
        accession_number=like.AccessionNumber,
        study_id=like.StudyID,
        study_date=like.StudyDate,
        study_time=like.StudyTime,
        referring_physician_name=like.ReferringPhysicianName,
        specific_character_set="ISO_IR 192",
        **result_header(source, "capture", algorithm, digest),
    )
    made.copy_patient_and_study_information(like)
    dataset = Dataset()
    dataset.update(made)
    complete(dataset, source)
    dataset.file_meta = made.file_meta
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.ConversionType = "WSD"
    dataset.BodyPartExamined = "HEART"
    dataset.DerivationDescription = f"Pericardial effusion outlined by software, {PURPOSE}"
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    dataset.SourceImageSequence = [reference]
    dataset.PatientOrientation = None
    dataset.RecognizableVisualFeatures = "NO"
    dataset.LossyImageCompression = "00"
    for keyword in LOSS:
        if keyword in like:  # what was lost before stays lost
            dataset[keyword] = like[keyword]
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    return dataset


def _add_timing(dataset: Dataset, source: Dataset, frame_count: int) -> None:
    """The source's frame times; page numbers where it tells none, as some order of the frames has to be told."""
    if frame_count == 1:
        return
    vector = source.get("FrameTimeVector")
    frame_time = _positive(source.get("FrameTime"))
    if frame_time is None:
        rate = _positive(source.get("CineRate")) or _positive(source.get("RecommendedDisplayFrameRate"))
        frame_time = 1000 / rate if rate else None
    if frame_count == count_frames(source) and "FrameTime" not in source and _is_vector(vector, frame_count):
        dataset.FrameTimeVector = list(vector)
        dataset.FrameIncrementPointer = 0x00181065
    elif frame_time:
        dataset.FrameTime = round(frame_time, 4)
        dataset.FrameIncrementPointer = 0x00181063
    else:
        dataset.PageNumberVector = list(range(1, frame_count + 1))
        dataset.FrameIncrementPointer = 0x00182001


def _is_vector(values: Any, length: int) -> bool:
    if not isinstance(values, Iterable) or isinstance(values, str):
        return False
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):  # pydicom keeps what is no number as it is, and does not write it
        return False
    return len(numbers) == length and bool(np.isfinite(numbers).all())


def _positive(value: Any) -> float | None:
    try:
        return float(value) if float(value) > 0 else None
    except (TypeError, ValueError):
        return None
