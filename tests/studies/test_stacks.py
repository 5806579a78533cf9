# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""NIfTI and video as other programs read them."""

from __future__ import annotations

import itk
import nibabel
import numpy as np
import pytest
from PIL import Image

from pe_monai.studies.stacks import write_nifti, write_video


@pytest.fixture
def masks() -> np.ndarray:
    return np.random.default_rng(0).random((3, 20, 30)) > 0.5


def test_nifti_with_spacing_and_time(masks, tmp_path):
    path = tmp_path / "masks.nii.gz"
    write_nifti(path, iter(masks), masks.shape, (0.5, 0.25), 40.0)
    image = nibabel.load(path)
    np.testing.assert_array_equal(np.asarray(image.dataobj)[:, :, 0].T, masks * 255)
    assert image.header.get_zooms() == pytest.approx((0.25, 0.5, 1, 0.04))
    assert image.header.get_xyzt_units() == ("mm", "sec")
    again = itk.imread(str(path))
    np.testing.assert_array_equal(itk.array_from_image(again)[:, 0], masks * 255)
    assert list(itk.spacing(again))[:2] == pytest.approx([0.25, 0.5])
    np.testing.assert_array_equal(np.asarray(itk.array_from_matrix(again.GetDirection()))[:2, :2], np.eye(2))


def test_nifti_of_unknown_size(masks, tmp_path):
    path = tmp_path / "masks.nii.gz"
    write_nifti(path, masks, masks.shape, None, None)
    image = nibabel.load(path)
    assert image.header.get_xyzt_units() == ("unknown", "unknown")
    assert image.header.get_zooms() == pytest.approx((1, 1, 1, 1))


def test_gif_plays_at_true_speed(tmp_path):
    pictures = [np.full((31, 21, 3), 80 * n, np.uint8) for n in range(3)]
    write_video(tmp_path / "a.gif", iter(pictures), 3, 100.0)
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == 3 and film.info["duration"] == 100
        film.seek(2)
        np.testing.assert_array_equal(np.asarray(film.convert("RGB")), pictures[2])


def test_gif_of_a_long_clip_leaves_frames_out(tmp_path):
    pictures = (np.full((8, 8, 3), n % 256, np.uint8) for n in range(601))
    write_video(tmp_path / "a.gif", pictures, 601, 20.0)
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == 201 and film.info["duration"] == 60


def test_mp4_of_odd_size(tmp_path):
    av = pytest.importorskip("av", reason="needs the extra 'video'")
    pictures = [np.full((31, 21, 3), 80 * n, np.uint8) for n in range(3)]
    write_video(tmp_path / "a.mp4", iter(pictures), 3, 50.0)
    with av.open(str(tmp_path / "a.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert film.streams.video[0].average_rate == 20
    assert len(frames) == 3 and frames[0].shape == (32, 22, 3)
    for frame, picture in zip(frames, pictures, strict=True):
        assert np.abs(frame[:31, :21].astype(int) - picture).max() < 10
