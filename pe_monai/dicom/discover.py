# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Ultrasound studies in files, folders, DICOMDIR and zip archives."""

from __future__ import annotations

import contextlib
import filecmp
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import MediaStorageDirectoryStorage

from pe_monai.data.reader import is_dicom
from pe_monai.dicom.deflated import check_inflated_size
from pe_monai.dicom.identity import MANUFACTURER, read_integer
from pe_monai.dicom.reader import check_class
from pe_monai.errors import FileError, FrameError, one_line
from pe_monai.scratch import scratch_root

MAX_UNPACKED = 64 << 30
_ENCRYPTED = 1  # APPNOTE.TXT, 4.4.4: general purpose bit flag


@dataclass(frozen=True)
class Study:
    """The ultrasound objects of a study.

    Attributes:
        uid: its Study Instance UID.
        header: of its first object, without pixels.
        objects: files, by series and instance number.
        origins: how to call files that an archive held: its path and the member's.
    """

    uid: str
    header: Dataset
    objects: tuple[Path, ...]
    origins: Mapping[Path, Path] = field(default_factory=dict)

    @property
    def patient(self) -> str:
        """Its Patient ID, empty where it has none."""
        return str(self.header.get("PatientID") or "")


@contextlib.contextmanager
def find_studies(inputs: Iterable[str | Path]) -> Iterator[tuple[list[Study], Sequence[FrameError]]]:
    """Sort ultrasound objects into studies; what an archive held is there until the context ends.

    Below a folder only what looks like DICOM counts. What pe_monai wrote itself is passed over, and so is a file that
    holds the very same bytes as another.

    Args:
        inputs: DICOM files, folders, DICOMDIR files or zip archives.

    Yields:
        The studies by their UID, apart for each Patient ID where one has several, and why files could not be used.
    """
    errors: list[FileError] = []
    with tempfile.TemporaryDirectory(prefix="dicom-", dir=scratch_root()) as scratch:
        found: dict[str, tuple[Path, Dataset]] = {}
        origins: dict[Path, Path] = {}
        for path in dict.fromkeys(_list_files([Path(given) for given in inputs], Path(scratch), errors, origins)):
            name = origins.get(path, path)
            try:
                header = _read(path)
                if header is None:
                    continue
                uid = str(header.get("SOPInstanceUID") or path)
                first = found.setdefault(uid, (path, header))[0]
                first_name = origins.get(first, first)
                # no other object's name in the reason: tables show it, and names may be the patient's
                if _is_beginning(first, path):
                    found[uid] = (path, header)
                    errors.append(FileError(first_name, "is a cut-off copy of another object; not used."))
                elif _is_beginning(path, first):
                    raise FrameError("is a cut-off copy of another object; not used.")
                elif not filecmp.cmp(path, first, shallow=False):
                    raise FrameError("has the same SOP Instance UID as another object and another content; not used.")
            except FrameError as e:
                errors.append(FileError(name, str(e)))
            except OSError as e:
                errors.append(FileError(name, f"cannot be read ({e.strerror or e}); check the path and its rights."))
        studies: dict[tuple[str, str], list[tuple[Path, Dataset]]] = {}
        for path, header in found.values():
            key = str(header.get("StudyInstanceUID") or ""), str(header.get("PatientID") or "")
            studies.setdefault(key, []).append((path, header))
        yield [_study(uid, members, origins) for (uid, _), members in sorted(studies.items())], errors


def _study(uid: str, members: list[tuple[Path, Dataset]], origins: Mapping[Path, Path]) -> Study:
    def order(member: tuple[Path, Dataset]) -> tuple:
        header = member[1]
        numbers = [read_integer(header, keyword, 0) for keyword in ("SeriesNumber", "InstanceNumber")]
        return (numbers[0], str(header.get("SeriesInstanceUID")), numbers[1], str(header.get("SOPInstanceUID")))

    members = sorted(members, key=order)
    return Study(uid, members[0][1], tuple(path for path, _ in members), origins)


def _read(path: Path) -> Dataset | None:
    """The header of an ultrasound object; None for what is to be passed over."""
    if path.stat().st_size == 0:
        raise FrameError("is empty (0 bytes); send it again.")
    check_inflated_size(path)
    try:
        header = dcmread(path, stop_before_pixels=True)
        sop_class = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
        is_ours = header.get("Manufacturer") == MANUFACTURER
    except InvalidDicomError as e:
        raise FrameError("is no DICOM file.") from e
    except OSError:
        raise
    except Exception as e:  # pydicom raises what it likes on damaged bytes
        raise FrameError(f"is a damaged DICOM file ({one_line(e, 120)}); send it again from the archive.") from e
    if sop_class == MediaStorageDirectoryStorage or is_ours:
        return None
    check_class(header)
    return header


def _is_beginning(part: Path, whole: Path) -> bool:
    """Whether a file holds the first bytes of another and ends before it does."""
    left = part.stat().st_size
    if left >= whole.stat().st_size:
        return False
    with part.open("rb") as one, whole.open("rb") as other:
        while left > 0:
            chunk = one.read(1 << 20)
            if not chunk or chunk != other.read(len(chunk)):
                return False
            left -= len(chunk)
    return True


def _list_files(
    inputs: list[Path], scratch: Path, errors: list[FileError], origins: dict[Path, Path]
) -> Iterator[Path]:
    for given in inputs:
        try:
            if given.is_dir():
                yield from (path for path in sorted(given.rglob("*")) if path.is_file() and is_dicom(path))
            elif not given.exists():
                errors.append(FileError(given, "no such file or folder; check the path."))
            elif not given.is_file():
                errors.append(FileError(given, "is a pipe or device; give a file."))
            elif given.suffix.lower() == ".zip":
                yield from _unpack(given, scratch, errors, origins)
            elif given.name.upper() == "DICOMDIR":
                yield from _follow(given, errors)
            else:
                yield given
        except OSError as e:
            errors.append(FileError(given, f"cannot be read ({e.strerror or e}); check the path and its rights."))


def _follow(directory: Path, errors: list[FileError]) -> Iterator[Path]:
    """Files that a DICOMDIR lists (PS3.3, F.3); they must lie below its own folder."""
    try:
        records = list(dcmread(directory).get("DirectoryRecordSequence") or [])
    except Exception:  # pydicom raises what it likes on damaged bytes
        errors.append(FileError(directory, "is no DICOMDIR that can be read; name its folder instead."))
        return
    for record in records:
        parts = record.get("ReferencedFileID")
        if not parts:
            continue
        parts = [parts] if isinstance(parts, str) else [str(part) for part in parts]
        path = _in_any_case(directory.parent, parts)
        if ".." in parts or not path.resolve().is_relative_to(directory.parent.resolve()):
            errors.append(FileError(directory, "lists a file outside its own folder, which is not opened."))
        elif not path.is_file():
            errors.append(FileError(path, "is listed in DICOMDIR and missing; copy the whole medium."))
        else:
            yield path


def _in_any_case(folder: Path, parts: Sequence[str]) -> Path:
    """A path below a folder. Linux shows the names on a medium in lower case, where its DICOMDIR has capitals."""
    for part in parts:
        path = folder / part
        if not path.exists() and folder.is_dir():
            path = next((other for other in folder.iterdir() if other.name.lower() == part.lower()), path)
        folder = path
    return folder


def _unpack(archive: Path, scratch: Path, errors: list[FileError], origins: dict[Path, Path]) -> Iterator[Path]:
    """DICOM members of an archive, under names of our own."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    try:
        with zipfile.ZipFile(archive) as file:
            members = [member for member in file.infolist() if not member.is_dir()]
            if sum(member.file_size for member in members) > MAX_UNPACKED:
                errors.append(FileError(archive, f"holds more than {MAX_UNPACKED >> 30} GiB; unpack it yourself."))
                return
            if any(member.flag_bits & _ENCRYPTED for member in members):
                errors.append(FileError(archive, "is encrypted; unpack it yourself."))
                return
            used = False
            for number, member in enumerate(members):
                name = archive / " ".join(member.filename.split())
                target = folder / f"{number:06}{PurePosixPath(member.filename).suffix[:8]}"
                try:
                    with file.open(member) as source, target.open("wb") as out:
                        shutil.copyfileobj(source, out)
                except Exception as e:  # decompressors raise what they like on damaged bytes, and quote the name
                    if isinstance(e, OSError) and e.errno is not None:  # such as a full disk; bz2's has no number
                        raise
                    used = True
                    errors.append(FileError(name, "cannot be unpacked, its archive is damaged; send it again."))
                    continue
                if is_dicom(target):
                    used = True
                    origins[target] = name
                    yield target
                else:
                    target.unlink()
                    if target.suffix.lower() == ".zip":  # perhaps a whole study: not passed over unseen
                        used = True
                        errors.append(FileError(name, "is an archive inside an archive; unpack it yourself."))
            if not used:
                errors.append(FileError(archive, "holds no DICOM file."))
    except OSError:
        raise
    except Exception:
        errors.append(FileError(archive, "cannot be unpacked: it is damaged, or no zip archive; send it again."))
