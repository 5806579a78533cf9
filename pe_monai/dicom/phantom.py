# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The phantom as an ultrasound object: true calibration, a made-up patient, any transfer syntax."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import convert_color_space
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

from pe_monai.data.phantom import PhantomFrame
from pe_monai.dicom.identity import save_object

FRAME_TIME_MS = 40.0
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "PALETTE COLOR", "MONOCHROME1", "MONOCHROME2")


def write_phantom_object(
    path: str | Path,
    clip: Sequence[PhantomFrame],
    syntax: str = ExplicitVRLittleEndian,
    colour: str = "RGB",
    study: int = 1,
) -> Path:
    """Write phantom frames as one ultrasound object, multi-frame if there are several. Equal arguments, equal files.

    Args:
        path: the file to write.
        clip: the frames; their pixel spacing becomes the calibrated region.
        syntax: UID of a transfer syntax. JPEG lossless and HTJ2K need the package imagecodecs.
        colour: photometric interpretation, one of :data:`COLOURS`; compressed ones take "RGB" or "MONOCHROME2", and
            JPEG baseline stores RGB as YBR_FULL_422.
        study: objects with the same number belong to one study.

    Raises:
        ValueError: another photometric interpretation.
        OSError: it cannot be written.
    """
    images = np.stack([frame.image for frame in clip])
    first = clip[0]
    key = ["phantom", str(first.seed), str(len(clip)), str(first.thickness_mm), str(images.shape), colour]
    dataset = phantom_object(images, first.spacing, colour, key, study)
    encode_object(dataset, UID(syntax))
    return save_object(dataset, path)


def phantom_object(
    images: np.ndarray, spacing: tuple[float, float] | None, colour: str, key: Sequence[str], study: int
) -> Dataset:
    """An uncompressed ultrasound object.

    Args:
        images: (F, H, W, 3) uint8 RGB.
        spacing: (row, column) in mm; None for an object without calibrated regions.
        colour: one of :data:`COLOURS`.
        key: what its UID follows from.
        study: number of the study.

    Raises:
        ValueError: another photometric interpretation.
    """
    frames, rows, columns = images.shape[:3]
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    sop_class = UltrasoundMultiFrameImageStorage if frames > 1 else UltrasoundImageStorage
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=list(key))
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["phantom study", str(study)])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["phantom series", str(study)])
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = "20240102"
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = "101500"
    dataset.AccessionNumber, dataset.StudyID = "", str(study)
    dataset.Modality, dataset.Manufacturer, dataset.ReferringPhysicianName = "US", "Phantom", ""
    dataset.PatientName, dataset.PatientID = f"Phantom^{study}", f"PHANTOM{study}"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.BodyPartExamined = "", "O", "HEART"
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.PatientOrientation = 1, 1, None
    dataset.Rows, dataset.Columns = rows, columns
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.UltrasoundColorDataPresent, dataset.LossyImageCompression = 0, "00"
    if frames > 1:
        dataset.NumberOfFrames = frames
        dataset.FrameIncrementPointer, dataset.FrameTime = 0x00181063, FRAME_TIME_MS
    if spacing is not None:
        dataset.SequenceOfUltrasoundRegions = [tissue_region((0, 0, rows, columns), spacing)]
    _set_pixels(dataset, images, colour)
    return dataset


def tissue_region(corners: tuple[int, int, int, int], spacing: tuple[float, float]) -> Dataset:
    """A calibrated 2D tissue region.

    Args:
        corners: top, left, bottom, right in pixels; the last two are behind its end.
        spacing: (row, column) in mm.
    """
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinY0, region.RegionLocationMinX0 = corners[0], corners[1]
    region.RegionLocationMaxY1, region.RegionLocationMaxX1 = corners[2] - 1, corners[3] - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaY, region.PhysicalDeltaX = spacing[0] / 10, spacing[1] / 10
    return region


def encode_object(dataset: Dataset, syntax: UID) -> None:
    """Bring an uncompressed object into another transfer syntax, in place."""
    dataset.file_meta.TransferSyntaxUID = syntax
    if not syntax.is_encapsulated:
        return
    encoder = _ENCODERS.get(syntax)
    if encoder is None:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        if syntax in (JPEG2000, JPEG2000Lossless) and dataset.SamplesPerPixel == 3:
            dataset.PhotometricInterpretation = "YBR_RCT" if syntax == JPEG2000Lossless else "YBR_ICT"
        loss = {"j2k_psnr": [50]} if syntax == JPEG2000 else {}
        dataset.compress(syntax, generate_instance_uid=False, **loss)
        return
    shape = (int(dataset.get("NumberOfFrames") or 1), dataset.Rows, dataset.Columns, dataset.SamplesPerPixel)
    images = np.frombuffer(dataset.PixelData, np.uint8)[: int(np.prod(shape))].reshape(shape)
    dataset.PixelData = encapsulate([encoder(np.squeeze(image, -1) if shape[3] == 1 else image) for image in images])
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    if syntax == JPEGBaseline8Bit:
        if shape[3] == 3:
            dataset.PhotometricInterpretation = "YBR_FULL_422"
        dataset.LossyImageCompression, dataset.LossyImageCompressionMethod = "01", "ISO_10918_1"
        dataset.LossyImageCompressionRatio = f"{images.size / len(dataset.PixelData):.2f}"
    elif syntax == HTJ2KLossless and shape[3] == 3:
        dataset.PhotometricInterpretation = "YBR_RCT"


def _set_pixels(dataset: Dataset, images: np.ndarray, colour: str) -> None:
    if colour not in COLOURS:
        raise ValueError(f"colour must be one of {', '.join(COLOURS)}, got {colour!r}.")
    dataset.PhotometricInterpretation = colour
    dataset.SamplesPerPixel = 3 if colour in COLOURS[:3] else 1
    if dataset.SamplesPerPixel == 3:
        dataset.PlanarConfiguration = 0
    values = images
    if colour.startswith("YBR"):
        values = convert_color_space(images, "RGB", "YBR_FULL")
    elif colour != "RGB":
        values = images[..., 0]
    if colour == "YBR_FULL_422":  # luminance of two pixels, then their common colour (PS3.3, C.7.6.3.1.2)
        pairs = values.reshape(*values.shape[:2], -1, 2, 3)
        values = np.concatenate([pairs[..., 0], pairs[..., 0, 1:]], axis=-1)
    elif colour == "MONOCHROME1":
        values = 255 - values
    elif colour == "PALETTE COLOR":
        for name in ("Red", "Green", "Blue"):
            setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
            table = (np.arange(256, dtype="<u2") * 257).tobytes()
            dataset.add_new(f"{name}PaletteColorLookupTableData", "OW", table)
    dataset.PixelData = values.tobytes() + b"\0" * (values.size % 2)
    dataset["PixelData"].VR = "OB"


def _encode_jpeg(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, format="JPEG", quality=95, subsampling="4:2:2")
    return out.getvalue()


def _encode_lossless_jpeg(image: np.ndarray) -> bytes:
    import imagecodecs

    kind = "RGB" if image.ndim == 3 else "GRAYSCALE"
    return bytes(imagecodecs.jpeg8_encode(image, lossless=True, predictor=1, colorspace=kind, outcolorspace=kind))


def _encode_htj2k(image: np.ndarray) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.htj2k_encode(image, reversible=True))


_ENCODERS: dict[str, Callable[[np.ndarray], bytes]] = {
    JPEGBaseline8Bit: _encode_jpeg,
    JPEGLosslessSV1: _encode_lossless_jpeg,
    HTJ2KLossless: _encode_htj2k,
}
