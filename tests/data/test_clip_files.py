# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Clips of every kind of file: frames, times, pixel size and memory, and one line for what is wrong."""

from __future__ import annotations

import struct
import sys
from fractions import Fraction
from pathlib import Path

import itk
import nibabel
import numpy as np
import psutil
import pytest
import tifffile
from PIL import Image

from pe_monai.data import phantom_clip
from pe_monai.data.clip_files import is_clip, open_clip
from pe_monai.errors import FrameError

COUNT = 12


@pytest.fixture(scope="module")
def colour() -> np.ndarray:
    """(F, H, W, 3)"""
    return np.stack([frame.image for frame in phantom_clip(3, COUNT, size=(96, 130), thickness_mm=12)])


@pytest.fixture(scope="module")
def grey(colour) -> np.ndarray:
    """(F, H, W)"""
    return np.ascontiguousarray(colour[..., 0])


def save_pictures(frames, path: Path, **how) -> Path:
    first, *rest = [Image.fromarray(frame) for frame in frames]
    first.save(path, save_all=True, append_images=rest, **how)
    return path


def save_video(frames, path: Path, codec: str, pixels: str, rate: int = 25, **options: str) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.options = options
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def save_nifti(frames, path: Path, units: tuple[str, str] | None = None, zooms=(0.3, 0.4), interval=0.04) -> Path:
    """Frames (F, H, W) as (W, H, 1, F)."""
    image = nibabel.Nifti1Image(frames.transpose(2, 1, 0)[:, :, None], np.diag([*zooms, 1, 1]))
    image.header.set_zooms((*zooms, 1, interval))
    if units is not None:
        image.header.set_xyzt_units(*units)
    nibabel.save(image, path)
    return path


def save_itk(frames, path: Path, spacing=(0.3, 0.4, 1.0)) -> Path:
    image = itk.image_from_array(np.ascontiguousarray(frames), is_vector=frames.ndim == 4)
    image.SetSpacing(spacing)
    itk.imwrite(image, str(path), path.suffix == ".nrrd")
    return path


LOSSLESS = {
    "clip.tif": lambda grey, colour, path: (grey, save_pictures(grey, path, compression="tiff_lzw")),
    "colour.tif": lambda grey, colour, path: (colour, save_pictures(colour, path)),
    "clip.png": lambda grey, colour, path: (colour, save_pictures(colour, path, duration=40)),
    "clip.nii": lambda grey, colour, path: (grey, save_nifti(grey, path)),
    "clip.nii.gz": lambda grey, colour, path: (grey, save_nifti(grey, path)),
    "clip.nrrd": lambda grey, colour, path: (grey, save_itk(grey, path)),
    "colour.nrrd": lambda grey, colour, path: (colour, save_itk(colour, path)),
    "clip.mha": lambda grey, colour, path: (grey, save_itk(grey, path)),
    "colour.mha": lambda grey, colour, path: (colour, save_itk(colour, path)),
    "clip.mkv": lambda grey, colour, path: (colour, save_video(colour, path, "ffv1", "bgr0")),
    "clip.avi": lambda grey, colour, path: (colour, save_video(colour, path, "ffv1", "bgr0")),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_files_come_back_exactly(name, grey, colour, tmp_path):
    expected, path = LOSSLESS[name](grey, colour, tmp_path / name)
    assert is_clip(path)
    clip = open_clip(path)
    assert (len(clip), clip.size, clip.name) == (COUNT, (96, 130), "clip")
    frames = list(clip.frames())
    np.testing.assert_array_equal(frames, expected)
    assert all(frame.dtype == np.uint8 and frame.flags.c_contiguous for frame in frames)
    np.testing.assert_array_equal(list(clip.frames(4, 7)), expected[4:7])
    np.testing.assert_array_equal(list(clip.frames(COUNT - 1, 99)), expected[-1:])
    assert list(clip.frames(COUNT)) == []


def test_gif_has_its_own_durations(grey, tmp_path):
    durations = [20, 40, 40, 100, 40, 40, 40, 40, 40, 40, 40, 40]
    clip = open_clip(save_pictures(grey, tmp_path / "clip.gif", duration=durations))
    assert clip.times_ms[:5] == (0, 20, 60, 100, 200)
    for frame, expected in zip(clip.frames(), grey, strict=True):
        np.testing.assert_array_equal(frame, np.repeat(expected[..., None], 3, axis=2))


VIDEOS = {
    "clip.mp4": ("libx264", "yuv420p"),  # B-frames
    "clip.mov": ("libx264", "yuv444p"),
    "h264.avi": ("libx264", "yuv420p"),  # in AVI the packets' times are no presentation times
    "clip.avi": ("mpeg4", "yuv420p"),
    "motion.avi": ("mjpeg", "yuvj420p"),
    "clip.wmv": ("wmv2", "yuv420p"),
    "clip.mpg": ("mpeg2video", "yuv420p"),
    "clip.webm": ("libvpx", "yuv420p"),
}


@pytest.mark.parametrize("name", VIDEOS)
def test_videos_come_back_in_order_within_tolerance(name, grey, tmp_path):
    frames = np.repeat(np.concatenate([grey[:6], 255 - grey[6:]])[..., None], 3, axis=3)
    path = save_video(frames, tmp_path / name, *VIDEOS[name], b="4000k", g="5")
    clip = open_clip(path)
    assert (len(clip), clip.size, clip.spacing, clip.notes) == (COUNT, (96, 130), None, ())
    np.testing.assert_allclose(clip.times_ms, np.arange(COUNT) * 40, atol=1)
    decoded = list(clip.frames())
    for place, frame in enumerate(decoded):
        errors = [np.abs(frame.astype(int) - other).mean() for other in frames]
        assert np.argmin(errors) == place and errors[place] < 12
    for start in (1, 4, 5, 6, 11):  # from whichever key frame is nearest
        np.testing.assert_array_equal(list(clip.frames(start, start + 2)), decoded[start : start + 2])


def test_turned_video_is_upright(colour, tmp_path):
    path = save_video(colour, tmp_path / "phone.mp4", "libx264rgb", "rgb24", qp="0")
    whole = path.read_bytes()
    upright, turned = (np.array(m, ">i4").tobytes() for m in ([65536, 0, 0, 0, 65536], [0, 65536, 0, -65536, 0]))
    at = whole.index(upright, whole.index(b"tkhd"))  # the matrix (a, b, u, c, d ...), ISO 14496-12, 8.3.2
    path.write_bytes(whole[:at] + turned + whole[at + len(turned) :])
    clip = open_clip(path)
    assert clip.size == (130, 96)
    np.testing.assert_array_equal(list(clip.frames()), [np.rot90(frame, -1) for frame in colour])


def test_one_scale_for_the_whole_clip(tmp_path):
    deep = np.zeros((3, 20, 20), np.uint16)
    deep[0], deep[1], deep[2] = 100, 500, 1100
    for path in (
        save_pictures(deep, tmp_path / "deep.tif"),
        save_nifti(deep, tmp_path / "deep.nii", ("mm", "sec")),
        save_itk(deep, tmp_path / "deep.nrrd"),
    ):
        assert [int(frame.max()) for frame in open_clip(path).frames()] == [0, 102, 255]
    shares = np.linspace(0, 0.8, 3)[:, None, None] * np.ones((20, 20))
    path = save_nifti(shares, tmp_path / "shares.nii", ("mm", "sec"))
    assert [int(frame.max()) for frame in open_clip(path).frames()] == [0, 102, 204]


def test_nifti_counts_a_pixel_size_only_with_a_unit(grey, tmp_path):
    unknown = open_clip(save_nifti(grey, tmp_path / "unknown.nii"))
    assert unknown.spacing is None and unknown.times_ms is None
    known = open_clip(save_nifti(grey, tmp_path / "known.nii", ("mm", "msec"), interval=33))
    assert known.spacing == pytest.approx((0.4, 0.3))  # rows lie 0.4 mm apart
    assert known.times_ms[:3] == (0, 33, 66)
    assert open_clip(save_nifti(grey, tmp_path / "m.nii", ("meter", "sec"), (3e-4, 4e-4))).spacing == pytest.approx(
        (0.4, 0.3)
    )
    assert open_clip(save_nifti(grey, tmp_path / "one.nii", ("mm", "sec"), (1, 1))).spacing is None


def test_other_shapes_of_nifti(colour, grey, tmp_path):
    path = tmp_path / "clip.nii"
    x_first = grey.transpose(2, 1, 0)
    nibabel.save(nibabel.Nifti1Image(x_first, np.eye(4)), path)  # (W, H, F)
    np.testing.assert_array_equal(list(open_clip(path).frames()), grey)
    rgb = np.ascontiguousarray(colour.transpose(2, 1, 0, 3))
    nibabel.save(nibabel.Nifti1Image(rgb[:, :, None], np.eye(4)), path)  # (W, H, 1, F, 3)
    np.testing.assert_array_equal(list(open_clip(path).frames()), colour)
    pixels = rgb.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    for array in (pixels, pixels[:, :, None], pixels[:, :, :3]):  # RGB24
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
        np.testing.assert_array_equal(list(open_clip(path).frames()), colour[: array.shape[-1]])
    nibabel.save(nibabel.Nifti1Image(rgb[:, :, 0], np.eye(4)), path)  # (W, H, 3) is one picture
    assert not is_clip(path)
    np.testing.assert_array_equal(list(open_clip(path).frames()), colour[:1])
    assert is_clip(save_nifti(grey[:3], path, ("mm", "sec")))  # three frames apart in time
    np.testing.assert_array_equal(list(open_clip(path).frames()), grey[:3])
    nibabel.save(nibabel.Nifti1Image(np.zeros((20, 20, 4, 5), np.uint8), np.eye(4)), path)
    with pytest.raises(FrameError, match="4 x 5 planes; give one plane"):
        open_clip(path)


def test_pixel_size_of_nrrd_metaimage_and_imagej(grey, tmp_path):
    for name in ("clip.nrrd", "clip.mha"):
        assert open_clip(save_itk(grey, tmp_path / name)).spacing == pytest.approx((0.4, 0.3))
        assert open_clip(save_itk(grey, tmp_path / name, (1, 1, 1))).spacing is None
    path = save_itk(grey, tmp_path / "unit.nrrd", (0.03, 0.04, 1))
    content = path.read_bytes()
    for unit, expected in (("cm", (0.4, 0.3)), ("furlong", None)):
        units = f'space units: "{unit}" "{unit}" "{unit}"\nkinds: '.encode()
        path.write_bytes(content.replace(b"kinds: ", units, 1))
        assert open_clip(path).spacing == (pytest.approx(expected) if expected else None)
    tifffile.imwrite(
        tmp_path / "imagej.tif",
        grey,
        imagej=True,
        resolution=(1 / 0.03, 1 / 0.04),
        metadata={"axes": "TYX", "unit": "cm", "finterval": 0.05},
    )
    clip = open_clip(tmp_path / "imagej.tif")
    assert clip.spacing == pytest.approx((0.4, 0.3), rel=1e-3) and clip.times_ms[:2] == (0, 50)
    save_pictures(grey, tmp_path / "dpi.tif", dpi=(72, 72))
    assert open_clip(tmp_path / "dpi.tif").spacing is None


def test_single_pictures_are_clips_of_one_frame(colour, grey, tmp_path):
    Image.fromarray(colour[0]).save(tmp_path / "one.png")
    Image.fromarray(grey[0]).save(tmp_path / "one.tif")
    save_itk(grey[0], tmp_path / "one.mha", (0.3, 0.4))
    for name, expected, spacing in (
        ("one.png", colour[0], None),
        ("one.tif", grey[0], None),
        ("one.mha", grey[0], pytest.approx((0.4, 0.3))),
    ):
        assert not is_clip(tmp_path / name)
        clip = open_clip(tmp_path / name)
        assert len(clip) == 1 and clip.times_ms is None and clip.spacing == spacing
        np.testing.assert_array_equal(list(clip.frames()), [expected])


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path):
    size, count = (160, 200), 3000
    plane = np.random.default_rng(0).integers(0, 255, size, dtype=np.uint8)
    frames = (np.roll(plane, place) for place in range(count))
    tifffile.imwrite(tmp_path / "long.tif", frames, shape=(count, *size), dtype=np.uint8)
    x_first = np.lib.stride_tricks.as_strided(plane, (*size[::-1], 1, count), (1, size[1], 0, 0))
    nibabel.save(nibabel.Nifti1Image(x_first, np.eye(4)), tmp_path / "long.nii.gz")
    process = psutil.Process()
    for name in ("long.tif", "long.nii.gz"):
        before = process.memory_info().rss
        clip = open_clip(tmp_path / name)
        most = max(process.memory_info().rss for frame in clip.frames() if frame.shape == size)
        assert len(clip) == count
        assert most - before < count * plane.size / 4


def save_broken_video(frames, path: Path) -> None:
    # a constant quantiser: a bit rate's control writes now and then another file; and the head of a frame's data, since
    # the decoder does not notice all damage further on
    save_video(frames, path, "libx264", "yuv420p", g="4", bf="0", qp="18")
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        hit = [packet.pos for packet in container.demux(video=0) if packet.size][COUNT // 2 - 1]
    content = bytearray(path.read_bytes())
    content[hit + 4 : hit + 304] = bytes(300)
    path.write_bytes(content)


def test_damage_in_a_video_costs_frames_up_to_the_next_key_frame(colour, tmp_path):
    path = tmp_path / "broken.mp4"
    save_broken_video(colour, path)
    clip = open_clip(path)
    good, bad = [], []
    place = 0
    while place < len(clip):
        try:
            for _ in clip.frames(place):
                good.append(place)
                place += 1
        except FrameError as e:
            assert str(e).startswith(f"frame {place + 1} ")
            bad.append(place)
            place += 1
    assert bad and {0, COUNT - 1} <= set(good) and len(good) + len(bad) == COUNT
    assert bad == list(range(bad[0], bad[-1] + 1)) and (bad[-1] + 1) % 4 == 0


def test_cut_off_stacks_keep_what_is_whole(grey, tmp_path):
    for path in (save_pictures(grey, tmp_path / "cut.gif", duration=40), save_nifti(grey, tmp_path / "cut.nii")):
        path.write_bytes(path.read_bytes()[:-500])
        clip = open_clip(path)
        frames = clip.frames()
        assert next(frames).shape[:2] == clip.size
        with pytest.raises(FrameError, match=r"^frame \d+ "):
            for _ in frames:
                pass
        with pytest.raises(FrameError, match=f"^frame {len(clip)} "):
            list(clip.frames(len(clip) - 1))


def test_cut_off_video_says_so(colour, tmp_path):
    path = save_video(colour, tmp_path / "cut.avi", "mjpeg", "yuvj420p")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    clip = open_clip(path)
    assert 1 < len(clip) < 9
    assert "may be cut off: it announces 0.48 s and has" in clip.notes[0]


def cut(save):
    def save_cut(frames, path):
        save(frames, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])

    return save_cut


def save_sound(frames, path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())


def save_playlist(frames, path: Path) -> None:
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")


BAD = {
    "missing.mp4": (lambda frames, path: None, "no such file"),
    "missing.gif": (lambda frames, path: None, "no such file"),
    "folder.avi": (lambda frames, path: path.mkdir(), "folder or device"),
    "empty.mp4": (lambda frames, path: path.touch(), "is empty"),
    "text.mp4": (lambda frames, path: path.write_text("hello " * 99), "cannot be read"),
    "list.mp4": (save_playlist, "cannot be read"),
    "cut.mp4": (cut(lambda frames, path: path.write_bytes(b"\0\0\0\x20ftypisom" + bytes(3000))), "cannot be read"),
    "sound.mp4": (save_sound, "holds no pictures"),
    "small.avi": (lambda frames, path: save_video(frames[:, :14, :14], path, "ffv1", "bgr0"), "at least 16"),
    "small.tif": (lambda frames, path: save_pictures(frames[:, :14, :14], path), "at least 16"),
    "cut.tif": (cut(save_pictures), "cannot be read|holds no image"),
    "cut.mha": (cut(save_itk), "cannot be read"),
    "cut.nrrd": (cut(save_itk), "cannot be read"),
    "nan.nii": (lambda frames, path: save_nifti(np.full((4, 20, 20), np.nan), path), "NaN or infinite"),
    "clip.xyz": (lambda frames, path: path.write_text("?"), "is not supported"),
    "clip.dcm": (lambda frames, path: path.write_bytes(bytes(128) + b"DICM"), "is DICOM"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_in_one_line(name, colour, tmp_path):
    make, problem = BAD[name]
    path = tmp_path / name
    make(colour, path)
    with pytest.raises(FrameError, match=problem) as caught:
        open_clip(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and ";" in message
    assert message.count(str(path)) == 1
    is_clip(path)


ONE = 1 << 16
TURNS = {  # a, b, c, d of the matrix that shows a video: a pixel's column goes by (a, b), its row by (c, d)
    "as stored": ((ONE, 0, 0, ONE), lambda frame: frame),
    "clockwise": ((0, ONE, -ONE, 0), lambda frame: np.rot90(frame, -1)),
    "counter-clockwise": ((0, -ONE, ONE, 0), np.rot90),
    "upside down": ((-ONE, 0, 0, -ONE), lambda frame: np.rot90(frame, 2)),
    "mirrored": ((-ONE, 0, 0, ONE), lambda frame: frame[:, ::-1]),
    "mirrored, upside down": ((ONE, 0, 0, -ONE), lambda frame: frame[::-1]),
    "transposed": ((0, ONE, ONE, 0), lambda frame: frame.swapaxes(0, 1)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_video_is_turned_and_mirrored_as_it_says(turn, colour, tmp_path):
    (a, b, c, d), shown = TURNS[turn]
    path = save_video(colour[:2], tmp_path / "clip.mp4", "png", "rgb24")
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44  # ISO 14496-12, 8.3.2
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    assert np.array_equal(next(open_clip(path).frames()), shown(colour[0]))


def test_video_of_pixels_that_are_not_square_says_so(colour, tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = colour.shape[1:3]
        stream.sample_aspect_ratio = Fraction(4, 3)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(colour[0], format="rgb24")))
        container.mux(stream.encode())
    assert "not square, 4/3 as wide as high" in open_clip(path).notes[0]


def test_frames_of_another_size_are_refused(grey, tmp_path):
    first, second = Image.fromarray(grey[0]), Image.fromarray(grey[1, :50])
    first.save(tmp_path / "mixed.tif", save_all=True, append_images=[second])
    frames = open_clip(tmp_path / "mixed.tif").frames()
    next(frames)
    with pytest.raises(FrameError, match="frame 2 is 130 x 50 pixels, unlike the first"):
        next(frames)


def test_without_pyav_the_extra_is_named(colour, tmp_path, monkeypatch):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"any")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(FrameError, match=r"clip.mp4: videos need PyAV.*pe_monai\[video\]"):
        open_clip(path)
