# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads a DICOM Segmentation of an ultrasound object back as masks, one for each frame of the source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.pixels import iter_pixels
from pydicom.uid import SegmentationStorage

from pe_monai.data.spacing import same_spacing
from pe_monai.dicom.codes import EFFUSION
from pe_monai.dicom.deflated import check_inflated_size
from pe_monai.dicom.identity import count_frames, read_integer
from pe_monai.dicom.regions import Region, read_regions
from pe_monai.errors import FrameError, one_line

_LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"


def read_segmentation(
    seg_path: str | Path, source_paths: Iterable[str | Path]
) -> tuple[np.ndarray, tuple[float, float] | None, tuple[int, ...]]:
    """Read the effusion of a DICOM Segmentation, whoever wrote it.

    Of several segments, the one coded as pericardial effusion is read. Probabilities count from a half. A frame of the
    source that the object leaves out is without effusion.

    Args:
        seg_path: the Segmentation.
        source_paths: files of the ultrasound objects; those that the Segmentation does not refer to are ignored.

    Returns:
        The masks (F, H, W), bool, of all frames of the sources that the Segmentation refers to (several single-frame
        objects in the order of their Instance Number); (row, column) pixel spacing in mm, None if it is unknown or not
        the same wherever there is effusion; the number of each mask's frame, from 1.

    Raises:
        FrameError: a file cannot be read, is no Segmentation, belongs to no source given or contradicts it.
    """
    segmentation = _read_header(seg_path)
    if segmentation.get("SOPClassUID") not in (SegmentationStorage, _LABEL_MAP_STORAGE):
        raise FrameError(f"{seg_path}: this is no DICOM Segmentation; give the file that holds the masks.")
    sources = _sources_of(segmentation, seg_path, source_paths)
    starts, total = {}, 0
    for source in sources:
        starts[source.SOPInstanceUID] = total
        total += count_frames(source)
    shape = (int(segmentation.Rows), int(segmentation.Columns))
    for source in sources:
        if (source.get("Rows"), source.get("Columns")) != shape:
            raise FrameError(
                f"{seg_path}: its frames have {shape[0]} rows x {shape[1]} columns, those of its source "
                f"{source.filename} {source.get('Rows')} x {source.get('Columns')}; give the object it was made from."
            )
    masks = np.zeros((total, *shape), dtype=bool)
    segment = _effusion_segment(segmentation, seg_path)
    places = _frame_places(segmentation, seg_path, sources, starts, segment)
    if len(places) != count_frames(segmentation):
        raise FrameError(
            f"{seg_path}: it holds {count_frames(segmentation)} frames, but describes {len(places)}; export it again."
        )
    for place, values in zip(places, _read_frames(segmentation, seg_path), strict=True):
        if place is not None:
            masks[place] |= _is_inside(values, segmentation, segment)
    return masks, _pixel_spacing(sources, masks), tuple(range(1, total + 1))


def _read_header(path: str | Path) -> Dataset:
    try:
        check_inflated_size(Path(path))
        return dcmread(path, stop_before_pixels=True)
    except FrameError as e:
        raise FrameError(f"{path}: {e}") from None
    except InvalidDicomError as e:
        raise FrameError(f"{path}: this is no DICOM file; give the files as the archive sends them.") from e
    except (OSError, EOFError, ValueError, NotImplementedError) as e:
        raise FrameError(f"{path}: this DICOM file cannot be read ({one_line(e, 120)}); send it again.") from e


def _sources_of(segmentation: Dataset, seg_path: str | Path, paths: Iterable[str | Path]) -> list[Dataset]:
    """The sources that a Segmentation refers to, by Instance Number."""
    referenced = set(_references(segmentation))
    given = {source.get("SOPInstanceUID"): source for source in map(_read_header, paths)}
    sources = [source for uid, source in given.items() if uid in referenced]
    if not sources:
        raise FrameError(
            f"{seg_path}: it refers to none of the {len(given)} source objects given; "
            "give the ultrasound object that it was made from."
        )
    return sorted(sources, key=lambda source: read_integer(source, "InstanceNumber", 0))


def _references(dataset: Dataset) -> Iterator[str]:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                if "ReferencedSOPInstanceUID" in item:
                    yield item.ReferencedSOPInstanceUID
                yield from _references(item)


def _effusion_segment(segmentation: Dataset, seg_path: str | Path) -> int:
    """Number of the segment coded as effusion, or of the only one."""
    segments = list(segmentation.get("SegmentSequence") or [])
    coded = [
        segment
        for segment in segments
        if any(code.get("CodeValue") == EFFUSION.value for code in segment.get("SegmentedPropertyTypeCodeSequence", []))
    ]
    found = coded or segments
    if len(found) != 1:
        labels = ", ".join(str(segment.get("SegmentLabel", "?")) for segment in found) or "none"
        raise FrameError(
            f"{seg_path}: one segment coded as pericardial effusion ({EFFUSION.scheme_designator} {EFFUSION.value}) "
            f"is needed; it has these: {labels[:200]}."
        )
    return int(found[0].SegmentNumber)


def _frame_places(
    segmentation: Dataset, seg_path: str | Path, sources: Sequence[Dataset], starts: dict[str, int], segment: int
) -> list[int | None]:
    """For each frame of a Segmentation the index of its mask, or None for a frame of another segment."""
    shared = (segmentation.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    own = segmentation.get("PerFrameFunctionalGroupsSequence") or []
    frames = {source.SOPInstanceUID: count_frames(source) for source in sources}
    is_complete = len(own) == sum(frames.values())
    places: list[int | None] = []
    for index, groups in enumerate(own):
        number = _first(groups, shared, "SegmentIdentificationSequence").get("ReferencedSegmentNumber", segment)
        if number != segment:
            places.append(None)
            continue
        derivation = _first(groups, shared, "DerivationImageSequence")
        image = (derivation.get("SourceImageSequence") or [Dataset()])[0]
        uid, frame = image.get("ReferencedSOPInstanceUID"), image.get("ReferencedFrameNumber")
        if frame is not None and not isinstance(frame, int):
            frame = frame[0]
        if frame is None and frames.get(uid) == 1:
            frame = 1
        if uid in frames and frame is not None and 1 <= frame <= frames[uid]:
            places.append(starts[uid] + frame - 1)
        elif is_complete and (uid is None or uid in frames) and frame is None:
            places.append(index)
        else:
            raise FrameError(
                f"{seg_path}: its frame {index + 1} belongs to frame {frame if frame is not None else '?'} of an "
                "object that is not given, or has no such frame; give all objects that it was made from."
            )
    return places


def _first(groups: Dataset, shared: Dataset, keyword: str) -> Dataset:
    """First item of a functional group, of the frame or of all frames."""
    items = groups.get(keyword) or shared.get(keyword)
    return items[0] if items else Dataset()


def _read_frames(segmentation: Dataset, seg_path: str | Path) -> Iterator[np.ndarray]:
    try:
        is_packed = segmentation.BitsAllocated == 1 and not segmentation.file_meta.TransferSyntaxUID.is_compressed
        yield from _unpack_frames(dcmread(seg_path)) if is_packed else iter_pixels(seg_path)
    except Exception as e:  # decoders raise what they like on damaged pixels
        raise FrameError(f"{seg_path}: its pixels cannot be read ({one_line(e, 120)}); export it again.") from e


def _unpack_frames(segmentation: Dataset) -> Iterator[np.ndarray]:
    """Frames of one bit a pixel; pydicom's own iterator fails where a frame begins or ends inside a byte."""
    shape = (int(segmentation.Rows), int(segmentation.Columns))
    size, count = shape[0] * shape[1], count_frames(segmentation)
    packed = np.frombuffer(segmentation.PixelData, dtype=np.uint8)
    if 8 * len(packed) < count * size:
        raise ValueError(f"{len(packed)} bytes of pixels, {-(-count * size // 8)} are needed")
    for start in range(0, count * size, size):
        first = start // 8
        bits = np.unpackbits(packed[first : -(-(start + size) // 8)], bitorder="little")
        yield bits[start - 8 * first :][:size].reshape(shape)


def _is_inside(values: np.ndarray, segmentation: Dataset, segment: int) -> np.ndarray:
    """Pixels of a stored frame that belong to the segment, (H, W) bool."""
    kind = segmentation.get("SegmentationType")
    if kind == "LABELMAP":
        return values == segment
    if kind == "FRACTIONAL":
        return 2 * values.astype(np.int32) >= int(segmentation.get("MaximumFractionalValue", 255))
    return values != 0


def _pixel_spacing(sources: Sequence[Dataset], masks: np.ndarray) -> tuple[float, float] | None:
    """(row, column) in mm of the calibrated regions that hold effusion, or of the largest ones if there is none.

    None where effusion lies in no region, or in regions of which one states no pixel size or another one.
    """
    found: list[Region] = []
    largest: list[Region] = []
    start = 0
    for source in sources:
        touched = masks[start : start + count_frames(source)].any(axis=0)
        start += count_frames(source)
        pictures = [region for region in read_regions(source) if region.kind.startswith("2D")]
        inside = [region for region in pictures if touched[region.box].any()]
        if touched.any() and not inside:
            return None
        found += inside
        largest += sorted(pictures, key=lambda region: -region.area)[:1]
    spacings = [region.spacing for region in found or largest]
    return spacings[0] if spacings and all(same_spacing(spacing, spacings[0]) for spacing in spacings) else None
