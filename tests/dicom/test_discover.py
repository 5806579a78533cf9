# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Studies in folders, media and archives; what is none of them is reported and the rest is found."""

from __future__ import annotations

import shutil
import zipfile

import pydicom
import pytest
from pydicom import uid
from pydicom.fileset import FileSet

from pe_monai.cli.segment import _sort
from pe_monai.data import phantom_clip
from pe_monai.dicom import deflated
from pe_monai.dicom.discover import find_studies
from pe_monai.dicom.phantom import write_phantom_object
from pe_monai.dicom.pixels import PixelFile
from pe_monai.dicom.segmentation_reader import _read_header as read_segmentation_header
from pe_monai.errors import FrameError


@pytest.fixture
def folder(tmp_path):
    """Two studies, of two objects and of one."""
    root = tmp_path / "export"
    for study, number, seed in ((1, 2, 1), (1, 1, 2), (2, 1, 3)):
        path = write_phantom_object(
            root / f"st{study}" / f"IM{seed}", phantom_clip(seed, 1, (64, 96), "black", 12.0, 15.0), study=study
        )
        dataset = pydicom.dcmread(path)
        dataset.InstanceNumber = number
        dataset.save_as(path)
    (root / "README.txt").write_text("no DICOM")
    return root


def names(studies) -> list[list[str]]:
    return sorted([path.name for path in study.objects] for study in studies)


def test_folder_with_several_studies_in_order(folder):
    with find_studies([folder, folder / "st1"]) as (studies, errors):
        assert names(studies) == [["IM2", "IM1"], ["IM3"]] and errors == []
        assert [study.uid for study in studies] == sorted(study.uid for study in studies)
        assert {str(study.header.PatientName) for study in studies} == {"Phantom^1", "Phantom^2"}


def test_two_patients_under_one_study_uid_are_apart(folder):
    other = pydicom.dcmread(folder / "st1" / "IM1")
    other.PatientID = "ANOTHER"
    other.save_as(folder / "st1" / "IM1")
    with find_studies([folder / "st1"]) as (studies, errors):
        assert names(studies) == [["IM1"], ["IM2"]] and errors == []


@pytest.fixture
def bomb(folder, monkeypatch):
    """A small deflated object of four megabytes, where no more than one is taken."""
    monkeypatch.setattr(deflated, "MAX_INFLATED", 1 << 20)
    path = folder / "st1" / "IM1"
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    dataset.PixelData = bytes(4 << 20)
    dataset.save_as(path, enforce_file_format=True)
    assert path.stat().st_size < 50_000
    return path


def test_deflated_object_that_unpacks_to_too_much_is_not_unpacked(folder, bomb, monkeypatch):
    with find_studies([folder]) as (studies, errors):
        assert names(studies) == [["IM2"], ["IM3"]]
        (error,) = errors
        assert str(bomb) in str(error) and "send it inflated" in str(error)
    for read in (PixelFile, read_segmentation_header):
        with pytest.raises(FrameError, match="send it inflated"):
            read(bomb)
    monkeypatch.setattr(deflated, "MAX_INFLATED", 5 << 20)
    with find_studies([folder]) as (studies, errors):
        assert names(studies) == [["IM2", "IM1"], ["IM3"]] and errors == []


def test_damaged_deflated_object_is_reported(folder, bomb):
    content = bytearray(bomb.read_bytes())
    content[-3000:] = bytes(3000)
    bomb.write_bytes(content)
    with find_studies([folder]) as (studies, (error,)):
        assert names(studies) == [["IM2"], ["IM3"]]
        assert str(bomb) in str(error) and "damaged" in str(error)


def test_zip_archive(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in folder.rglob("*"):
            if path.is_file():
                archive.write(path, "../../" + path.name)  # a name that would leave the folder
    with find_studies([tmp_path / "a.zip"]) as (studies, errors):
        assert sorted(len(study.objects) for study in studies) == [1, 2] and errors == []
        inside = studies[0].objects[0]
        assert inside.is_file()
    assert not inside.exists() and not (tmp_path.parent / "IM1").exists()


def test_dicomdir(folder, tmp_path):
    media = FileSet()
    for path in sorted(folder.rglob("IM*")):
        media.add(path)
    media.write(tmp_path / "medium")
    (tmp_path / "medium" / "stray.dcm").write_bytes((folder / "st1" / "IM1").read_bytes())
    with find_studies([tmp_path / "medium" / "DICOMDIR"]) as (studies, errors):
        assert sorted(len(study.objects) for study in studies) == [1, 2] and errors == []
    shutil.rmtree(next(path for path in (tmp_path / "medium").rglob("PT*") if path.is_dir()))
    with find_studies([tmp_path / "medium" / "DICOMDIR"]) as (studies, errors):
        assert studies and "is missing" in str(errors[0]) or "missing" in str(errors[0])


def test_dicomdir_of_a_medium_that_is_shown_in_lower_case(folder, tmp_path):
    media = FileSet()
    for path in sorted(folder.rglob("IM*")):
        media.add(path)
    media.write(tmp_path / "medium")
    for path in sorted((tmp_path / "medium").rglob("*"), reverse=True):  # as Linux mounts ISO 9660
        path.rename(path.with_name(path.name.lower()))
    with find_studies([tmp_path / "medium" / "dicomdir"]) as (studies, errors):
        assert sorted(len(study.objects) for study in studies) == [1, 2] and errors == []


def test_dicomdir_that_points_outside(folder, tmp_path):
    media = FileSet()
    media.add(folder / "st1" / "IM1")
    media.write(tmp_path / "medium")
    path = tmp_path / "medium" / "DICOMDIR"
    directory = pydicom.dcmread(path)
    for record in directory.DirectoryRecordSequence:
        if "ReferencedFileID" in record:
            record.ReferencedFileID = ["..", "export", "st1", "IM1"]
    directory.save_as(path)
    with find_studies([path]) as (studies, errors):
        assert studies == [] and "outside" in str(errors[0])


def test_bad_files_are_reported_and_the_rest_is_found(folder, tmp_path):
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "text.dcm").write_text("text" * 100)
    good = (folder / "st1" / "IM1").read_bytes()
    (folder / "cut.dcm").write_bytes(good[:300])
    (folder / "again.dcm").write_bytes(good)
    other = pydicom.dcmread(folder / "st1" / "IM1")
    other.InstanceNumber = 9
    other.save_as(folder / "same_uid.dcm")
    other.SOPClassUID, other.SOPInstanceUID = uid.CTImageStorage, "1.2.3"
    other.save_as(folder / "ct.dcm")
    other.SOPClassUID, other.Manufacturer = uid.SegmentationStorage, "pe_monai contributors"
    other.save_as(folder / "ours.dcm")
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4 no archive")
    with find_studies([folder, tmp_path / "gone", tmp_path / "broken.zip"]) as (studies, errors):
        assert sum(len(study.objects) for study in studies) == 3
        texts = "\n".join(map(str, errors))
        for words in (
            "empty.dcm: is empty",
            "text.dcm: is no DICOM file",
            "CT Image Storage",
            "gone: no such file",
            "broken.zip: cannot be unpacked",
            "same SOP Instance UID",
        ):
            assert words in texts, words
        assert "ours.dcm" not in texts and "README" not in texts and "Phantom^" not in texts


def test_archive_without_dicom(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "text")
    with find_studies([tmp_path / "a.zip"]) as (studies, errors):
        assert studies == [] and "holds no DICOM file" in str(errors[0])


def test_an_archive_inside_an_archive_is_named(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "inner.zip", "w") as archive:
        archive.write(folder / "st1" / "IM1", "IM1")
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.write(folder / "st1" / "IM2", "IM2")
        archive.write(tmp_path / "inner.zip", "inner.zip")
    with find_studies([tmp_path / "outer.zip"]) as (studies, errors):
        assert len(studies) == 1 and [error.reason.split(";")[0] for error in errors] == [
            "is an archive inside an archive"
        ]


def test_archives_below_a_folder_are_found(folder, tmp_path):
    with zipfile.ZipFile(folder / "more.ZIP", "w") as archive:
        archive.write(folder / "st1" / "IM1", "IM1")
    frames, clips, objects, errors = _sort([str(folder)], str(tmp_path / "out"))
    assert sorted(path.name for path in objects) == ["IM1", "IM2", "IM3", "more.ZIP"]
    assert not (frames or clips or errors)


def test_a_damaged_archive_costs_only_what_is_damaged(folder, tmp_path):
    good = (folder / "st1" / "IM1").read_bytes()
    for method, name in (
        (zipfile.ZIP_DEFLATED, "deflated"),
        (zipfile.ZIP_LZMA, "lzma"),
        (zipfile.ZIP_BZIP2, "bzip2"),
        (zipfile.ZIP_STORED, "stored"),
    ):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w", method) as archive:
            archive.writestr("Doe^Jane.dcm", good)
            start = archive.fp.tell()
            archive.writestr("whole.dcm", (folder / "st1" / "IM2").read_bytes())
        data = bytearray((tmp_path / f"{name}.zip").read_bytes())
        data[start // 4 : start // 2] = b"\x5a" * (start // 2 - start // 4)
        (tmp_path / f"{name}.zip").write_bytes(data)
        with find_studies([tmp_path / f"{name}.zip"]) as (studies, errors):
            (error,) = errors
            assert len(studies) == 1 and "Doe^Jane.dcm: cannot be unpacked" in str(error), name
            assert "Doe" not in error.reason


def test_archives_that_cannot_be_opened(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "name.zip", "w") as archive:
        archive.writestr("éé.dcm", (folder / "st1" / "IM1").read_bytes())
    data = (tmp_path / "name.zip").read_bytes()
    (tmp_path / "name.zip").write_bytes(data.replace("éé".encode(), b"\xff\xfe\xff\xfe"))
    with zipfile.ZipFile(tmp_path / "encrypted.zip", "w") as archive:
        archive.writestr("Doe^Jane.dcm", (folder / "st1" / "IM1").read_bytes())
        archive.filelist[0].flag_bits |= 1
    with find_studies([tmp_path / "name.zip", tmp_path / "encrypted.zip", folder / "st1"]) as (studies, errors):
        assert [error.reason.split(":")[0].split(";")[0] for error in errors] == ["cannot be unpacked", "is encrypted"]
        assert studies


def test_a_file_that_may_not_be_read_costs_only_itself(folder, monkeypatch):
    good = (folder / "st1" / "IM1").read_bytes()
    (folder / "st1" / "A_LOCKED").write_bytes(good)

    def refuse(path, *args, **kwargs):
        if str(path).endswith("LOCKED"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    real = open
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("io.open", refuse)  # that of pathlib
    with find_studies([folder]) as (studies, errors):
        assert sum(len(study.objects) for study in studies) == 3
        assert [str(error) for error in errors] == [
            f"{folder / 'st1' / 'A_LOCKED'}: cannot be read (Permission denied); check the path and its rights."
        ]
