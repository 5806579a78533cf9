# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Phantom studies through the shipped weights: masks, measurements, DICOM objects and pages, nothing of a patient."""

from __future__ import annotations

import csv
import json
import os
import signal
import tempfile
import time
import zipfile

import nibabel
import numpy as np
import pydicom
import pytest

pytest.importorskip("highdicom", reason="needs the extra 'dicom'")

from pe_monai.cli import main  # noqa: E402
from pe_monai.data import phantom_clip  # noqa: E402
from pe_monai.dicom.phantom import phantom_object, tissue_region, write_phantom_object  # noqa: E402
from pe_monai.dicom.segmentation_reader import read_segmentation  # noqa: E402
from pe_monai.paths import bundle_dir  # noqa: E402
from pe_monai.predictor import Predictor  # noqa: E402
from pe_monai.studies import StudyOptions, process_clips, process_study  # noqa: E402

SIZE = (224, 320)


@pytest.fixture(scope="module")
def predictor():
    if not (bundle_dir() / "models" / "model.pt").is_file():
        pytest.skip("the bundle has no weights: train with 'pe_monai train' first")
    return Predictor(device="cpu")


@pytest.fixture(scope="module")
def clip():
    return phantom_clip(6, 6, SIZE, "black", 18.0, 16.0)


@pytest.fixture(scope="module")
def results(tmp_path_factory, predictor, clip):
    """A study of two clips, the second without effusion, with everything that can be asked for."""
    folder = tmp_path_factory.mktemp("study")
    write_phantom_object(folder / "in" / "Phantom_One_1.dcm", clip)
    write_phantom_object(folder / "in" / "Phantom_One_2.dcm", phantom_clip(9, 2, SIZE, "black", 0.0, 16.0))
    options = StudyOptions(capture=True, nifti=True, video="gif")
    return folder, process_study([folder / "in"], folder / "out", predictor, options)


def test_what_is_written(results):
    folder, result = results
    assert result.errors == [] and len(result.clips) == 2 and len(result.objects) == 6
    one = folder / "out" / "study-1" / result.clips[0].name
    assert {path.name for path in one.iterdir()} == {
        "segmentation.dcm",
        "report.dcm",
        "capture.dcm",
        "measurements.json",
        "frames.csv",
        "thickness.png",
        "contact_sheet.png",
        "masks.nii.gz",
        "overlay.gif",
    }
    assert result.pages == [folder / "out" / "study-1" / "report.html"]


def test_segmentation_is_the_predictor_s_mask(results, predictor, clip):
    folder, result = results
    sources = list((folder / "in").iterdir())
    number = next(n for n, done in enumerate(result.clips) if len(done.measurement.frames) == 6)
    expected = np.stack([seen.mask for seen in predictor.predict_clip([frame.image for frame in clip])])
    assert expected.any()
    masks, spacing, _ = read_segmentation(result.clips[number].folder / "segmentation.dcm", sources)
    np.testing.assert_array_equal(masks, expected)
    assert spacing == pytest.approx(clip[0].spacing)
    image = nibabel.load(result.clips[number].folder / "masks.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj)[:, :, 0].T > 0, expected)


def test_report_measurement_and_page_agree(results):
    _, result = results
    done = next(done for done in result.clips if len(done.measurement.frames) == 6)
    content = json.loads((done.folder / "measurements.json").read_text())
    largest = content["largest"]["thickness_mm"]
    assert largest == done.measurement.largest_mm and 8 < largest < 25  # 18 mm in truth
    with (done.folder / "frames.csv").open(newline="") as file:
        assert max(float(row["thickness_mm"]) for row in csv.DictReader(file)) >= largest - 1e-3
    numbers = [
        float(item.MeasuredValueSequence[0].NumericValue)
        for item in walk(pydicom.dcmread(done.folder / "report.dcm"))
        if "MeasuredValueSequence" in item
    ]
    assert any(number == pytest.approx(largest, rel=1e-3) for number in numbers)
    page = result.pages[0].read_text()
    assert f"{largest:.1f} mm" in page and "research use only" in page.lower()
    assert page.count("<section") >= 3 and "http://" not in page and "https://" not in page


def walk(dataset):
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield item
                yield from walk(item)


def test_nothing_of_the_patient_but_in_the_objects(results):
    folder, result = results
    for path in (folder / "out").rglob("*"):
        assert "Phantom" not in path.name
        if path.is_file() and path.suffix != ".dcm":
            assert b"Phantom_One" not in path.read_bytes() and b"PHANTOM1" not in path.read_bytes()
    assert str(pydicom.dcmread(result.objects[0]).PatientName) == "Phantom^1"


def test_no_name_of_a_bad_file_whatever_it_looks_like(tmp_path, predictor, clip, monkeypatch):
    good = write_phantom_object(tmp_path / "Doe: Jane" / "in" / "good.dcm", clip[:1])
    colour = pydicom.dcmread(good)
    colour.SOPInstanceUID, colour.SequenceOfUltrasoundRegions[0].RegionDataType = "1.2.3.5", 2
    colour.save_as(good.parent / "colour.dcm")
    (tmp_path / "DOE_JANE").write_bytes(good.read_bytes()[:300])
    monkeypatch.chdir(tmp_path)
    code = main(["segment", "DOE_JANE", "Doe: Jane", "-o", "out", "--device", "cpu"])
    with (tmp_path / "out" / "clips.csv").open(newline="") as file:
        errors = [row["error"] for row in csv.DictReader(file) if row["error"]]
    assert code == 1 and len(errors) == 2 and all(error.startswith("An object: ") for error in errors)
    for page in (tmp_path / "out").rglob("*.html"):
        assert "Jane/in" not in page.read_text() and "DOE_JANE" not in page.read_text()


def test_identifiers_on_request(tmp_path, predictor, clip):
    path = write_phantom_object(tmp_path / os.fsdecode(b"Phantom_One\xff.dcm"), clip[:1])
    result = process_study([path], tmp_path / "out", predictor, StudyOptions(include_identifiers=True))
    page = result.pages[0].read_text()
    assert "Phantom^1" in page and "Phantom_One\\udcff.dcm" in page


def test_a_rerun_replaces_and_repeats_the_uids(tmp_path, predictor, clip):
    path = write_phantom_object(tmp_path / "a.dcm", clip[:2])
    uids = []
    for options in (StudyOptions(), StudyOptions(), StudyOptions(fractional=True)):
        result = process_study([path], tmp_path / "out", predictor, options)
        assert len(result.clips) == 1
        uids.append([pydicom.dcmread(one).SOPInstanceUID for one in result.objects])
    assert uids[0] == uids[1] and not set(uids[0]) & set(uids[2])


def test_results_of_a_damaged_object_are_not_those_of_a_whole_one(tmp_path, predictor, clip):
    path = write_phantom_object(tmp_path / "clip.dcm", clip[:3])
    whole = process_study([path], tmp_path / "whole", predictor, StudyOptions())
    path.write_bytes(path.read_bytes()[:-1000])
    cut = process_study([path], tmp_path / "cut", predictor, StudyOptions())
    assert len(cut.errors) == 1 and len(cut.objects) == 2
    uids = {pydicom.dcmread(file).SOPInstanceUID for file in (*whole.objects, *cut.objects)}
    assert len(uids) == 4  # an archive would keep the first of two of the same


def test_no_clip_of_another_patient_stays_in_the_study(tmp_path, predictor, clip):
    for study, frames in ((1, (1, 2)), (2, (1,))):
        for count in frames:
            write_phantom_object(tmp_path / str(study) / f"{count}.dcm", clip[:count], study=study)
        result = process_study([tmp_path / str(study)], tmp_path / "out", predictor, StudyOptions())
    reports = [pydicom.dcmread(path) for path in (tmp_path / "out").rglob("report.dcm")]
    assert len(result.clips) == 1 and [report.PatientID for report in reports] == ["PHANTOM2"]


def test_studies_of_an_earlier_run_are_named_and_stay(tmp_path, clip, capsys):
    one, two = (write_phantom_object(tmp_path / f"{study}.dcm", clip[:1], study=study) for study in (1, 2))
    other = pydicom.dcmread(two)
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    other.save_as(two)
    for given, said in (((one, two), ""), ((one,), "study-2: of an earlier run, not in clips.csv")):
        assert main(["segment", *map(str, given), "-o", str(tmp_path / "out"), "--device", "cpu"]) == 0
        err = capsys.readouterr().err
        assert said in err and ("earlier run" in err) == bool(said)
    assert (tmp_path / "out" / "study-2" / "report.html").is_file()


def test_two_pictures_in_one_object(tmp_path, predictor, clip):
    frame = clip[0]
    pair = np.concatenate([frame.image, np.zeros_like(frame.image)], axis=1)[None].repeat(2, axis=0)
    pair[:, :, SIZE[1] :] = phantom_clip(8, 1, SIZE, "black", 0.0, 16.0)[0].image
    dataset = phantom_object(pair, None, "RGB", ["pair"], 1)
    left = tissue_region((0, 0, *SIZE), frame.spacing)
    right = tissue_region((0, SIZE[1], SIZE[0], 2 * SIZE[1]), (0.3, 0.3))
    dataset.SequenceOfUltrasoundRegions = [left, right]
    dataset.save_as(tmp_path / "pair.dcm", enforce_file_format=True)
    result = process_study([tmp_path / "pair.dcm"], tmp_path / "out", predictor, StudyOptions())
    assert [done.measurement.frames[0].spacing for done in result.clips] == [
        pytest.approx(frame.spacing),
        pytest.approx((0.3, 0.3)),
    ]
    assert len({pydicom.dcmread(path).SOPInstanceUID for path in result.objects}) == 4
    alone = predictor.predict([frame.image])[0].mask
    masks, *_ = read_segmentation(result.clips[0].folder / "segmentation.dcm", [tmp_path / "pair.dcm"])
    overlap = 2 * (masks[0][:, : SIZE[1]] & alone).sum() / (masks[0].sum() + alone.sum())
    assert overlap > 0.97 and not masks[0][:, SIZE[1] :].any()


def test_bad_objects_cost_only_themselves(tmp_path, predictor, clip, capsys):
    good = write_phantom_object(tmp_path / "in" / "good.dcm", clip[:2])
    data = good.read_bytes()
    other = pydicom.dcmread(good)
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    other.NumberOfFrames = 5
    other.save_as(tmp_path / "in" / "three_missing.dcm")
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.5"
    other.NumberOfFrames, other.PixelData = 2, b"\0" * len(other.PixelData)
    other.save_as(tmp_path / "in" / "dark.dcm")
    (tmp_path / "in" / "cut.dcm").write_bytes(data[:900])
    code = main(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--device", "cpu"])
    err = capsys.readouterr().err
    assert code == 1
    for words in ("announces 5 frames and holds 2", "dark.dcm: none of its 2 frames", "cut.dcm: is a cut-off copy of"):
        assert words in err, err
    assert "Traceback" not in err
    with (tmp_path / "out" / "clips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows].count("ok") == 2 and [row["status"] for row in rows].count("error") == 3
    assert not any("three_missing" in row["error"] for row in rows)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["clips"] == {"done": 2, "failed": 3}


def test_what_an_archive_held_is_called_by_its_name(tmp_path, predictor, clip):
    good = write_phantom_object(tmp_path / "good.dcm", clip[:1])
    other, colour = pydicom.dcmread(good), pydicom.dcmread(good)
    other.SOPInstanceUID, other.SOPClassUID = "1.2.3.4", pydicom.uid.CTImageStorage
    colour.SOPInstanceUID, colour.SequenceOfUltrasoundRegions[0].RegionDataType = "1.2.3.5", 2
    other.save_as(tmp_path / "ct.dcm")
    colour.save_as(tmp_path / "colour.dcm")
    with zipfile.ZipFile(tmp_path / "exam.zip", "w") as archive:
        for name in ("good.dcm", "ct.dcm", "colour.dcm"):
            archive.write(tmp_path / name, f"exam/{name}")
    options = StudyOptions(include_identifiers=True)
    result = process_study([tmp_path / "exam.zip"], tmp_path / "out", predictor, options)
    inside = tmp_path / "exam.zip" / "exam"
    assert [done.row["file"] for done in result.clips] == [str(inside / "good.dcm")]
    assert sorted(str(error).partition(": ")[0] for error in result.errors) == [
        str(inside / name) for name in ("colour.dcm", "ct.dcm")
    ]


def test_a_run_told_to_end_leaves_no_pictures(tmp_path, clip, monkeypatch):
    def told_to_end(predictor, frames):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)  # a signal may reach the main thread a little later
        yield from ()

    write_phantom_object(tmp_path / "good.dcm", clip[:1])
    with zipfile.ZipFile(tmp_path / "exam.zip", "w") as archive:
        archive.write(tmp_path / "good.dcm", "good.dcm")
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    monkeypatch.setattr(Predictor, "predict_clip", told_to_end)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit):
            main(["segment", str(tmp_path / "exam.zip"), "-o", str(tmp_path / "out"), "--device", "cpu"])
    finally:
        signal.signal(signal.SIGTERM, before)
    left = [path for path in (tmp_path / "scratch").glob("*/*") if path.name != ".lock"]  # of the process, which lives
    assert left == list((tmp_path / "out" / "study-1").iterdir()) == []


def test_clips_without_dicom(tmp_path, predictor, clip):
    from PIL import Image

    images = [Image.fromarray(frame.image) for frame in clip[:3]]
    images[0].save(tmp_path / "a.tif", save_all=True, append_images=images[1:])
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    paths, names = [tmp_path / "a.tif", tmp_path / "broken.mp4"], ["a", "broken"]
    for spacing in (None, clip[0].spacing):
        result = process_clips(paths, names, tmp_path / "out", predictor, StudyOptions(spacing=spacing))
        (done,) = result.clips
        assert (done.measurement.largest_mm is None) == (spacing is None)
        assert done.objects == () and len(result.errors) == 1 and "broken.mp4" in str(result.errors[0])
        page = result.pages[0].read_text()
        assert ("the pixel size is not known" in page.lower()) == (spacing is None)
