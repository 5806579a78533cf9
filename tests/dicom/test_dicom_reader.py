# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Ultrasound objects in every encoding, foreign ones, and damaged ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import psutil
import pydicom
import pytest
from pydicom import uid
from pydicom.data import get_testdata_file
from result_source import MULTI_FRAME, complaints

from pe_monai.data import phantom_clip
from pe_monai.dicom.phantom import phantom_object, write_phantom_object
from pe_monai.dicom.reader import find_r_peak, frame_times, open_ultrasound
from pe_monai.errors import FrameError

SYNTAXES = {
    "implicit": uid.ImplicitVRLittleEndian,
    "explicit": uid.ExplicitVRLittleEndian,
    "big endian": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "RLE": uid.RLELossless,
    "JPEG baseline": uid.JPEGBaseline8Bit,
    "JPEG lossless": uid.JPEGLosslessSV1,
    "JPEG-LS": uid.JPEGLSLossless,
    "JPEG 2000 lossless": uid.JPEG2000Lossless,
    "JPEG 2000": uid.JPEG2000,
    "HTJ2K": uid.HTJ2KLossless,
}
LOSSY = ("JPEG baseline", "JPEG 2000")
UNKNOWN_TO_DCIODVFY = ("deflated", "HTJ2K")


@pytest.fixture(scope="module")
def clip():
    return phantom_clip(3, 3, (96, 128), "black", 12.0, 15.0, pixel_aspect=1.25)


def within(frame, seen) -> int:
    """Largest difference inside the sector, where a phantom is grey."""
    grey = seen if seen.ndim == 2 else seen[..., 0]
    return int(np.abs(grey.astype(int) - frame.image[..., 0])[frame.sector].max())


@pytest.mark.parametrize("colour", ["RGB", "MONOCHROME2"])
@pytest.mark.parametrize("name", SYNTAXES)
def test_transfer_syntaxes(clip, tmp_path, name, colour):
    if name in ("JPEG lossless", "HTJ2K"):
        imagecodecs = pytest.importorskip("imagecodecs", reason="writes JPEG lossless and HTJ2K")
        if name == "HTJ2K" and not hasattr(imagecodecs, "htj2k_encode"):
            pytest.skip("the imagecodecs for this Python cannot write HTJ2K")
    path = write_phantom_object(tmp_path / "clip.dcm", clip, SYNTAXES[name], colour)
    if name not in UNKNOWN_TO_DCIODVFY:
        assert complaints(path) == []
    (opened,) = open_ultrasound(path)
    assert len(opened) == 3 and opened.size == (96, 128) and opened.spacing == pytest.approx(clip[0].spacing)
    assert opened.times_ms == (0, 40, 80) and opened.notes == () and opened.faults == ()
    seen = list(opened.frames())
    assert [frame.dtype for frame in seen] == [np.uint8] * 3
    assert seen[0].shape == ((96, 128, 3) if colour == "RGB" else (96, 128))
    for frame, decoded in zip(clip, seen, strict=True):
        assert within(frame, decoded) <= (24 if name in LOSSY else 0)
    np.testing.assert_array_equal(next(opened.frames(2)), seen[2])
    assert len(list(opened.frames(1, 2))) == 1


@pytest.mark.parametrize("colour", ["YBR_FULL", "YBR_FULL_422", "PALETTE COLOR", "MONOCHROME1"])
def test_photometric_interpretations(clip, tmp_path, colour):
    (opened,) = open_ultrasound(write_phantom_object(tmp_path / "clip.dcm", clip, colour=colour))
    for frame, decoded in zip(clip, opened.frames(), strict=True):
        assert within(frame, decoded) <= 2


def test_planes_and_deep_grey_values(clip, tmp_path):
    images = np.stack([frame.image for frame in clip])
    planar = phantom_object(images, None, "RGB", ["planar"], 1)
    planar.PlanarConfiguration = 1
    planar.PixelData = images.transpose(0, 3, 1, 2).tobytes()
    deep = phantom_object(images, None, "MONOCHROME2", ["deep"], 1)
    deep.BitsAllocated, deep.BitsStored, deep.HighBit = 16, 12, 11
    deep.PixelData = np.rint(images[..., 0] * (4095 / 255)).astype("<u2").tobytes()
    for name, dataset in (("planar", planar), ("deep", deep)):
        dataset["PixelData"].VR = "OW"
        dataset.save_as(tmp_path / name, enforce_file_format=True)
        (opened,) = open_ultrasound(tmp_path / name)
        assert [within(*pair) for pair in zip(clip, opened.frames(), strict=True)] == [0, 0, 0]


@pytest.mark.parametrize("retired", [False, True])
def test_single_frame_and_retired_classes(clip, tmp_path, retired):
    path = write_phantom_object(tmp_path / "one.dcm", clip[:1])
    dataset = pydicom.dcmread(path)
    assert dataset.SOPClassUID == uid.UltrasoundImageStorage and "NumberOfFrames" not in dataset
    if retired:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.6"
        dataset.save_as(path)
    (opened,) = open_ultrasound(path)
    assert len(opened) == 1 and within(clip[0], next(opened.frames())) == 0 and opened.phase_frame is None


@pytest.mark.parametrize(
    ("name", "frames", "spacing"),
    [
        ("ExplVR_BigEnd.dcm", 1, None),
        ("examples_jpeg2k.dcm", 1, None),
        ("examples_palette.dcm", 1, 0.26228787661969977),
        ("examples_rgb_color.dcm", 1, None),
        ("examples_ybr_color.dcm", 30, 0.5104970559477806),
    ],
)
def test_objects_that_nobody_here_made(name, frames, spacing):
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("pydicom ships no such file")
    (opened,) = open_ultrasound(path)
    assert len(opened) == frames and (opened.spacing is None if spacing is None else opened.spacing[0] == spacing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = pydicom.dcmread(path)
        pixels = expected.pixel_array.reshape(frames, *opened.size, -1)
    seen = np.stack(list(opened.frames()))
    if opened.box is not None:  # what lies around the calibrated region is text and menus
        around = np.ones(opened.size, bool)
        around[opened.box] = False
        assert not seen[:, around].any()
        seen, pixels = (part[(slice(None), *opened.box)] for part in (seen, pixels))
    if name != "examples_palette.dcm":
        np.testing.assert_array_equal(seen, pixels)
    else:
        table = np.frombuffer(expected.GreenPaletteColorLookupTableData, "<u2")
        first = expected.GreenPaletteColorLookupTableDescriptor[1]
        np.testing.assert_array_equal(seen[..., 1], table[pixels[..., 0].astype(int) - first] >> 8)


def change(dataset: pydicom.Dataset, **values: object) -> None:
    for keyword, value in values.items():
        setattr(dataset, keyword, value)


DAMAGED: dict[str, tuple[Callable[[pydicom.Dataset], None], str]] = {
    "CT": (lambda d: change(d, SOPClassUID=uid.CTImageStorage), "CT Image Storage"),
    "encapsulated PDF": (lambda d: change(d, SOPClassUID=uid.EncapsulatedPDFStorage), "Encapsulated PDF"),
    "no identifiers": (lambda d: d.pop("StudyInstanceUID"), "without StudyInstanceUID"),
    "no size": (lambda d: d.pop("Rows"), "does not say how its pixels are stored"),
    "no pixels": (lambda d: d.pop("PixelData"), "holds no pixels"),
    "too large": (lambda d: change(d, Rows=60000, Columns=60000), "megapixels"),
    "one bit": (lambda d: change(d, BitsAllocated=1), "1 bits a sample"),
    "contrast": (lambda d: change(d, ContrastBolusAgent="SonoVue"), "contrast-enhanced"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_unusable_objects_say_why(clip, tmp_path, name):
    path = write_phantom_object(tmp_path / "clip.dcm", clip)
    dataset = pydicom.dcmread(path)
    spoil, words = DAMAGED[name]
    spoil(dataset)
    dataset.save_as(path)
    with pytest.raises(FrameError, match=words) as error:
        open_ultrasound(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
    assert "Phantom^" not in str(error.value)


@pytest.mark.parametrize(
    ("syntax", "words"),
    [(uid.MPEG2MPML, "is a video"), (uid.HEVCMP51, "is a video"), ("1.2.3.4.5", "private or unknown")],
)
def test_syntaxes_that_are_not_decoded(clip, tmp_path, syntax, words):
    path = write_phantom_object(tmp_path / "clip.dcm", clip, uid.RLELossless)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, implicit_vr=False, little_endian=True, enforce_file_format=False)
    with pytest.raises(FrameError, match=words):
        open_ultrasound(path)


def test_files_that_are_none(tmp_path):
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "text.dcm").write_text("text " * 100)
    for name, words in (("empty.dcm", "is empty"), ("text.dcm", "is no DICOM file"), ("gone.dcm", "cannot be read")):
        with pytest.raises(FrameError, match=words):
            open_ultrasound(tmp_path / name)


@pytest.mark.parametrize(
    "syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless, uid.JPEGBaseline8Bit, uid.JPEGLSLossless]
)
def test_cut_off_file_keeps_its_whole_frames(clip, tmp_path, syntax):
    path = write_phantom_object(tmp_path / "clip.dcm", clip, syntax)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.8)])
    (opened,) = open_ultrasound(path)
    usable = 0
    for place in range(len(opened)):
        try:
            assert within(clip[place], next(opened.frames(place))) <= 24
            usable += 1
        except FrameError as e:
            assert "frame 3" in str(e)
    assert usable == 2
    assert opened.faults or len(opened) == 3
    path.write_bytes(data[:1200])
    with pytest.raises(FrameError):
        open_ultrasound(path)


def test_wrong_number_of_frames(clip, tmp_path):
    path = write_phantom_object(tmp_path / "clip.dcm", clip)
    for announced, held in ((5, 3), (2, 2), ("1000000", 3)):
        dataset = pydicom.dcmread(path)
        dataset.NumberOfFrames = announced
        dataset.save_as(tmp_path / "wrong.dcm")
        (opened,) = open_ultrasound(tmp_path / "wrong.dcm")
        assert len(opened) == held == int(opened.header.NumberOfFrames)
        assert opened.faults[0].startswith(f"announces {announced} frames and holds 3")


def test_a_damaged_frame_costs_only_itself(clip, tmp_path):
    path = write_phantom_object(tmp_path / "clip.dcm", clip, uid.JPEGBaseline8Bit)
    dataset = pydicom.dcmread(path)
    frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=3))
    frames[1] = b"\0" * len(frames[1])
    dataset.PixelData = pydicom.encaps.encapsulate(frames)
    dataset.save_as(path)
    (opened,) = open_ultrasound(path)
    decoded = opened.frames()
    next(decoded)
    with pytest.raises(FrameError, match="frame 2"):
        next(decoded)
    assert within(clip[2], next(opened.frames(2))) <= 24


def test_frames_in_several_fragments_without_a_table(clip, tmp_path):
    path = write_phantom_object(tmp_path / "clip.dcm", clip, uid.JPEGBaseline8Bit)
    dataset = pydicom.dcmread(path)
    frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=3))
    for has_table in (False, True):
        dataset.PixelData = pydicom.encaps.encapsulate(frames, fragments_per_frame=3, has_bot=has_table)
        dataset.save_as(path)
        (opened,) = open_ultrasound(path)
        assert [within(*pair) <= 24 for pair in zip(clip, opened.frames(), strict=True)] == [True] * 3


def header(**values: object) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    change(dataset, **values)
    return dataset


def test_frame_times():
    assert frame_times(header(FrameTime=20), 3) == (0, 20, 40)
    assert frame_times(header(FrameTimeVector=[0, 10, 30]), 3) == (0, 10, 40)
    assert frame_times(header(FrameTimeVector=[0, 10], FrameTime=25), 3) == (0, 25, 50)
    assert frame_times(header(CineRate=50), 2) == (0, 20)
    assert frame_times(header(RecommendedDisplayFrameRate=25, FrameTime=0), 2) == (0, 40)
    assert frame_times(header(), 2) is None and frame_times(header(FrameTime=-3), 2) is None


def test_r_peak():
    times = (0.0, 40.0, 80.0)
    assert find_r_peak(header(RWaveTimeVector=[45.0]), times) == 2
    assert find_r_peak(header(RWaveTimeVector=[-500.0, 78.0]), times) == 3
    assert find_r_peak(header(RWaveTimeVector=[500.0]), times) is None
    assert find_r_peak(header(), times) is None and find_r_peak(header(RWaveTimeVector=[45.0]), None) is None


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless])
def test_memory_stays_flat(tmp_path, syntax):
    frames = 10_000 if syntax == uid.ExplicitVRLittleEndian else 500
    dataset = phantom_object(np.zeros((2, 64, 96, 3), np.uint8), (0.5, 0.5), "RGB", ["long"], 1)
    dataset.PixelData, dataset.NumberOfFrames = b"\7" * (64 * 96 * 3 * frames), frames
    dataset["PixelData"].VR = "OB"
    if syntax == uid.RLELossless:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(tmp_path / "long.dcm", enforce_file_format=True)
    del dataset
    process = psutil.Process()
    before = process.memory_info().rss
    (opened,) = open_ultrasound(tmp_path / "long.dcm")
    assert opened.header.SOPClassUID == MULTI_FRAME
    count = sum(int(frame[0, 0, 0]) == 7 for frame in opened.frames())
    assert count == frames
    assert process.memory_info().rss - before < 40e6


def test_colours_of_another_layout_are_refused(tmp_path):
    path = write_phantom_object(
        tmp_path / "clip.dcm", phantom_clip(3, 3, (64, 96), "black", 12.0, 15.0), colour="YBR_FULL_422"
    )
    header = pydicom.dcmread(path)
    header.PhotometricInterpretation = "YBR_PARTIAL_422"
    header.save_as(path)
    with pytest.raises(FrameError, match="YBR_PARTIAL_422, which is not decoded"):
        open_ultrasound(path)
