# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""DICOM Segmentation objects of an ultrasound clip: written frame by frame, read back as masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.uid import ExplicitVRLittleEndian

from pe_monai.dicom.codes import EFFUSION, MORPHOLOGIC_ABNORMALITY, PERICARDIAL_CAVITY
from pe_monai.dicom.identity import (
    PURPOSE,
    algorithm_key,
    check_source,
    complete,
    count_frames,
    derive_uid,
    frame_reference,
    open_scratch,
    result_header,
    save_object,
    stand_in,
)
from pe_monai.dicom.segmentation_reader import read_segmentation

LABEL = "Pericardial effusion"
MAX_FRACTION = 255
_MOST_BYTES = 2**32 - 2  # PS3.5, 7.1: the length of an element has 32 bits
_COLOUR = (255, 210, 0)  # of the outlines in pictures


def write_segmentation(
    path: str | Path,
    source: Dataset,
    masks: Iterable[np.ndarray],
    fractional: bool = False,
    *,
    algorithm: Mapping[str, Any],
) -> Path:
    """Write the effusion in the frames of an ultrasound object as a DICOM Segmentation.

    Frames without effusion are left out, as readers expect; if no frame has any, the object holds one empty frame, the
    first, since an object without frames is not allowed. Only one frame is held in memory at a time.

    Args:
        path: the file to write.
        source: the ultrasound object, single or multi-frame; its pixels are not needed.
        masks: for each of its frames (H, W), in order: bool or integer, not 0 where there is effusion; or, if
            ``fractional``, the probability of effusion, in [0, 1].
        fractional: whether to write probabilities, in steps of 1/255, instead of masks.
        algorithm: what made the masks: ``name``, ``version``, ``weights_sha256`` and, if it likes, ``settings``.

    Raises:
        FrameError: the source lacks what a reference to it needs.
        ValueError: the masks do not fit the source, or are neither masks nor probabilities.
        OSError: the file cannot be written.
    """
    check_source(source)
    dataset = _empty_segmentation(source, fractional, algorithm)
    with open_scratch(path) as pixels:
        numbers = _pack_frames(pixels, masks, source, fractional)
        if pixels.tell() > _MOST_BYTES:
            raise ValueError(
                f"the pixels take {pixels.tell() / 2**30:.1f} GiB, a Segmentation holds 4: write masks, not fractions."
            )
        pixels.seek(0)
        dataset.add_new("PixelData", "OB", pixels)
        dataset.NumberOfFrames = len(numbers)
        dataset.PerFrameFunctionalGroupsSequence = [_frame_groups(source, number) for number in numbers]
        return save_object(dataset, path)


def _empty_segmentation(source: Dataset, fractional: bool, algorithm: Mapping[str, Any]) -> Dataset:
    """All of the object but its frames; highdicom makes it from a source of one frame, which it takes."""
    import highdicom as hd

    key = algorithm_key(algorithm)
    header = result_header(source, "segmentation", algorithm, "fractional" if fractional else "binary")
    uid = header["sop_instance_uid"]
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label=LABEL,
        segmented_property_category=MORPHOLOGIC_ABNORMALITY,
        segmented_property_type=EFFUSION,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=str(key["name"])[:64],
            family=hd.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"),
            version=str(key["version"])[:64],
            parameters={"weights_sha256": str(key["weights_sha256"])},
        ),
        tracking_uid=derive_uid(uid, "tracking"),
        tracking_id=LABEL,
        anatomic_regions=[PERICARDIAL_CAVITY],
        display_color=hd.color.CIELabColor.from_rgb(*_COLOUR),
    )
    shape = (1, int(source.Rows), int(source.Columns))
    made = hd.seg.Segmentation(
        source_images=[stand_in(source)],
        pixel_array=np.zeros(shape, np.float32 if fractional else bool),
        segmentation_type="FRACTIONAL" if fractional else "BINARY",
        max_fractional_value=MAX_FRACTION,
        segment_descriptions=[segment],
        content_label="EFFUSION",
        content_description=f"{LABEL}, {PURPOSE}",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=False,
        **header,
    )
    dataset = Dataset()
    dataset.update(made)
    dataset.file_meta = made.file_meta
    dataset.PatientOrientation = None
    dimensions = derive_uid(uid, "dimensions")
    dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = dimensions
    dataset.DimensionIndexSequence = [
        _dimension("ReferencedSegmentNumber", "SegmentIdentificationSequence", "Segment Number", dimensions),
        _dimension("TemporalPositionIndex", "FrameContentSequence", "Temporal Position Index", dimensions),
    ]
    complete(dataset, source)
    return dataset


def _dimension(pointer: str, group: str, label: str, organization: str) -> Dataset:
    item = Dataset()
    item.DimensionOrganizationUID = organization
    item.DimensionIndexPointer = tag_for_keyword(pointer)
    item.FunctionalGroupPointer = tag_for_keyword(group)
    item.DimensionDescriptionLabel = label
    return item


def _frame_groups(source: Dataset, number: int) -> Dataset:
    """Functional groups of the frame that belongs to the source's frame of this number, from 1."""
    content = Dataset()
    content.DimensionIndexValues = [1, number]
    content.TemporalPositionIndex = number
    image = Dataset()
    image.ReferencedSOPClassUID = source.SOPClassUID
    image.ReferencedSOPInstanceUID = source.SOPInstanceUID
    frames = frame_reference(source, number)
    if frames:
        image.ReferencedFrameNumber = frames
    image.SpatialLocationsPreserved = "YES"
    image.PurposeOfReferenceCodeSequence = [_code("121322", "DCM", "Source image for image processing operation")]
    derivation = Dataset()
    derivation.DerivationCodeSequence = [_code("113076", "DCM", "Segmentation")]
    derivation.SourceImageSequence = [image]
    groups = Dataset()
    groups.FrameContentSequence = [content]
    groups.DerivationImageSequence = [derivation]
    return groups


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _pack_frames(file: IO[bytes], masks: Iterable[np.ndarray], source: Dataset, fractional: bool) -> list[int]:
    """Write the pixels of the frames with effusion one after the other; returns their numbers, from 1.

    Bits of neighbouring frames share a byte where a frame is no whole number of bytes (PS3.5, 8.1.1).
    """
    total, shape = count_frames(source), (int(source.Rows), int(source.Columns))
    kept, rest, count = [], np.zeros(0, np.uint8), 0
    for count, mask in enumerate(masks, start=1):
        if count > total:
            raise ValueError(f"masks must be as many as the source's frames, {total}; there are more.")
        values = _quantize(np.asarray(mask), shape, fractional, count)
        if not values.any():
            continue
        kept.append(count)
        rest = _append(file, values, rest, fractional)
    if count < total:
        raise ValueError(f"masks must be as many as the source's frames, {total}; there are {count}.")
    if not kept:
        kept = [1]
        rest = _append(file, np.zeros(shape, np.uint8), rest, fractional)
    file.write(np.packbits(rest, bitorder="little").tobytes())
    if file.tell() % 2:
        file.write(b"\0")
    return kept


def _append(file: IO[bytes], values: np.ndarray, rest: np.ndarray, fractional: bool) -> np.ndarray:
    """Write a frame; returns the bits that do not fill a byte yet."""
    if fractional:
        file.write(values.tobytes())
        return rest
    bits = np.concatenate([rest, values.ravel()])
    whole = len(bits) // 8 * 8
    file.write(np.packbits(bits[:whole], bitorder="little").tobytes())
    return bits[whole:]


def _quantize(mask: np.ndarray, shape: tuple[int, int], fractional: bool, number: int) -> np.ndarray:
    """A mask as 0 and 1, or a probability map as 0 to 255; uint8 (H, W)."""
    if mask.shape != shape:
        raise ValueError(
            f"masks must have the source's size, {shape[0]} rows x {shape[1]} columns; "
            f"frame {number} has the shape {mask.shape}."
        )
    if not fractional:
        if mask.dtype.kind not in "bui":
            raise ValueError(f"masks must be bool or integer unless fractional is set, frame {number} is {mask.dtype}.")
        return (mask != 0).astype(np.uint8)
    if mask.dtype.kind not in "bf":
        raise ValueError(f"fractional masks must be probabilities, frame {number} is {mask.dtype}.")
    if not (np.isfinite(mask).all() and 0 <= mask.min() and mask.max() <= 1):
        raise ValueError(f"probabilities must lie in [0, 1]; those of frame {number} do not.")
    return np.rint(mask.astype(np.float32) * MAX_FRACTION).astype(np.uint8)


__all__ = ["read_segmentation", "write_segmentation"]
