# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a result object inherits from the ultrasound object it belongs to, and identifiers that a rerun repeats."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from pydicom import DataElement, Dataset, config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.uid import UID, UltrasoundImageStorage, generate_uid
from pydicom.valuerep import PersonName

from pe_monai.data import write_whole
from pe_monai.dicom.sop_classes import MULTI_FRAME
from pe_monai.errors import FrameError

PURPOSE = "research use only"
MANUFACTURER = "pe_monai contributors"  # by which we know our own objects
_SERIES_NUMBERS = {"segmentation": 1000, "report": 2000, "capture": 3000}
_REQUIRED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Rows", "Columns")
_IDENTITY = (  # type 2 in every object: there, if need be without a value
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
)
LOSS = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_STUDY_GROUPS = (0x0008, 0x0010, 0x0012, 0x0032, 0x0038)
_STRICT = ("AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI")
_TEXT = ("LO", "LT", "SH", "ST", "UC", "UT")


def check_source(source: Dataset) -> None:
    """Refuse a source that a result object could not refer to.

    Raises:
        FrameError: it lacks an identifier or its size, or an identifier is no UID.
    """
    missing = [keyword for keyword in _REQUIRED if not source.get(keyword)]
    if missing:
        raise FrameError(
            f"{describe(source)}: without {', '.join(missing)} no DICOM result can refer to it; "
            "export it again from the archive."
        )
    odd = [keyword for keyword in _REQUIRED if keyword.endswith("UID") and not _is_text(source[keyword].value)]
    if odd:
        raise FrameError(
            f"{describe(source)}: {', '.join(odd)} holds no single UID, so no DICOM result can refer to it; "
            "export it again from the archive."
        )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isascii()


def describe(source: Dataset) -> str:
    """A source in an error message: its file, or its SOP Instance UID where it came from memory."""
    return str(getattr(source, "filename", None) or source.get("SOPInstanceUID") or "DICOM object from memory")


def count_frames(source: Dataset) -> int:
    """Number of frames of an image; 1 where it does not say."""
    return max(1, read_integer(source, "NumberOfFrames", 1))


def read_integer(source: Dataset, keyword: str, default: int) -> int:
    """An attribute as an integer, or the default where it is absent or no number."""
    try:
        return int(source.get(keyword) or default)
    except (TypeError, ValueError):
        return default


def frame_reference(source: Dataset, frame: int) -> list[int] | None:
    """Value of Referenced Frame Number for a frame, numbered from 1; None for a single-frame object, which has none."""
    is_multi_frame = source.SOPClassUID in MULTI_FRAME or count_frames(source) > 1
    return [frame] if is_multi_frame else None


def derive_uid(*parts: Any) -> UID:
    """A UID that is the same for the same parts, so that a result computed again replaces itself."""
    return generate_uid(entropy_srcs=[json.dumps(parts, sort_keys=True, default=str)])


def algorithm_key(algorithm: Mapping[str, Any]) -> dict[str, Any]:
    """What tells one algorithm from another: ``name``, ``version``, ``weights_sha256`` and ``settings``, if it has any.

    Raises:
        ValueError: one of the first three is missing.
    """
    missing = [name for name in ("name", "version", "weights_sha256") if not algorithm.get(name)]
    if missing:
        raise ValueError(f"algorithm must give name, version and weights_sha256; {', '.join(missing)} is missing.")
    return {name: algorithm.get(name) for name in ("name", "version", "weights_sha256", "settings")}


def result_header(source: Dataset, kind: str, algorithm: Mapping[str, Any], *content: Any) -> dict[str, Any]:
    """Arguments of highdicom's objects that say which instance this is and what made it.

    Series and instance UIDs follow from the source's UIDs, the kind and the algorithm (and ``content``, if given): a
    rerun gives the same ones. Results of one source series share a series.

    Args:
        source: the ultrasound object.
        kind: "segmentation", "report" or "capture".
        algorithm: see :func:`algorithm_key`.
        content: what else the instance's UID follows from.
    """
    key = algorithm_key(algorithm)
    number = abs(read_integer(source, "SeriesNumber", 0)) % 1000
    return {
        "series_instance_uid": derive_uid(source.SeriesInstanceUID, kind, key),
        "sop_instance_uid": derive_uid(source.SOPInstanceUID, kind, key, *content),
        "series_number": _SERIES_NUMBERS[kind] + number,
        "instance_number": max(1, read_integer(source, "InstanceNumber", 1)),
        "series_description": f"Pericardial effusion {kind}, {PURPOSE}",
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": str(key["name"])[:64],
        "software_versions": str(key["version"])[:64],
        "device_serial_number": str(key["weights_sha256"])[:64],
    }


def stand_in(source: Dataset) -> Dataset:
    """A source as highdicom takes one: current SOP class, one frame, sound attributes of its patient and study.

    highdicom knows no retired SOP class and takes no clip without a frame of reference. A name or an identifier is kept
    as it is; a date, code or number that DICOM does not allow is left out, as no valid object could hold it. The
    patient's name is withheld, as highdicom repeats an unusual one in a warning; :func:`complete` puts it in.
    """
    check_source(source)
    tags = [tag for tag in source.keys() if tag.group in _STUDY_GROUPS]
    result = _sound_copy(source, [*tags, *map(tag_for_keyword, ("StudyID", *LOSS))])
    for keyword in _REQUIRED:
        setattr(result, keyword, source[keyword].value)
    result.PatientName = None
    for keyword in _IDENTITY:
        if not result.get(keyword):
            setattr(result, keyword, None)
    if result.PatientSex not in ("M", "F", "O"):
        result.PatientSex = None
    result.SOPClassUID = UltrasoundImageStorage
    result.Modality = "US"
    result.SpecificCharacterSet = "ISO_IR 192"  # pydicom has decoded the texts; this one can hold them all
    result.SamplesPerPixel, result.PixelRepresentation = 1, 0
    return result


def _sound_copy(source: Dataset, tags: Iterable[Any]) -> Dataset:
    """The elements that hold what the dictionary's VR allows, with that VR; empty and private ones are left out."""
    result = Dataset()
    for tag in tags:
        try:
            vr, element = dictionary_VR(tag), source[tag]
            if element.is_empty or (vr == "SQ") != (element.VR == "SQ"):
                continue
            value = element.value
            if vr == "SQ":
                value = [item for item in (_sound_copy(item, item.keys()) for item in value) if item]
            elif vr == "PN":  # made anew, as pydicom keeps the bytes of the source's character set
                names = value if element.VM > 1 else [value]
                value = [PersonName(str(name)) for name in names]
            elif vr in _TEXT:  # under a wrong VR it may be a number, which could not be written as text
                value = [str(text) for text in (value if element.VM > 1 else [value])]
            mode = config.RAISE if vr in _STRICT else config.IGNORE
            if value:
                result.add(DataElement(tag, vr, value, validation_mode=mode))
        except Exception:  # pydicom raises what it likes on bad bytes; one bad attribute must not cost the result
            continue
    return result


def complete(dataset: Dataset, source: Dataset) -> None:
    """Put in what a stand-in withheld from highdicom: the patient's name and the source's true SOP class."""
    name = _sound_copy(source, [tag_for_keyword("PatientName")])
    dataset.update(name)
    _restore_sop_class(dataset, source)


def _restore_sop_class(dataset: Dataset, source: Dataset) -> None:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                if item.get("ReferencedSOPInstanceUID") == source.SOPInstanceUID:
                    item.ReferencedSOPClassUID = source.SOPClassUID
                _restore_sop_class(item, source)


def open_scratch(path: str | Path) -> IO[bytes]:
    """A nameless file on the disk of ``path``, for pixels that memory should not hold."""
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder)


def save_object(dataset: Dataset, path: str | Path) -> Path:
    """Write a DICOM file whole or not at all."""
    return write_whole(path, lambda partial: dataset.save_as(partial, enforce_file_format=True))
