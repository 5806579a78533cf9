# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What is written comes back through the one reader, as displayed, with the frame's geometry; or nothing is left."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.transforms import LoadImage
from PIL import Image

from pe_monai.data import FrameReader, MaskSaver, write_map, write_picture, write_whole
from pe_monai.data.writer import result_suffix

HEIGHT, WIDTH = 24, 36
AFFINE = np.array([[-0.3, 0, 0, 5], [0, -0.4, 0, -7], [0, 0, 1, 2], [0, 0, 0, 1]])


def read(path) -> MetaTensor:
    return LoadImage(reader=FrameReader(), image_only=True)(path)


def source_file(folder, suffix):
    rows = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    path = folder / f"frame{suffix}"
    if suffix.startswith(".nii"):
        nib.save(nib.Nifti1Image(rows.T, AFFINE), path)
    elif suffix == ".png":
        Image.fromarray(rows).save(path)
    else:
        image = itk.image_from_array(rows)
        image.SetSpacing([0.3, 0.4])
        image.SetOrigin([-5, 7])
        itk.imwrite(image, str(path))
    return path


@pytest.fixture
def mask():
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[2:5, 20:33] = 255
    values[10, 1] = 255
    return values


@pytest.mark.parametrize("suffix", [".png", ".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_mask_comes_back_in_the_kind_and_geometry_of_its_frame(suffix, mask, tmp_path):
    source = source_file(tmp_path, suffix)
    frame = read(source)
    path = write_map(mask, tmp_path / "out/deep/frame", source, frame.meta)
    assert path == tmp_path / f"out/deep/frame{suffix}"
    back = read(path)
    assert back.shape == (WIDTH, HEIGHT, 1)
    assert np.array_equal(back.numpy()[..., 0].T, mask)
    assert np.allclose(back.affine, frame.affine, atol=1e-5)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_frame_in_any_plane_keeps_its_geometry(suffix, mask, tmp_path):
    """A slice of a volume, x along the body and y towards the feet."""
    affine = np.array([[0, 0, 0.5, 5], [0.3, 0, 0, -7], [0, -0.4, 0, 2], [0, 0, 0, 1.0]])
    path = write_map(mask, tmp_path / "mask", f"frame{suffix}", {"affine": torch.from_numpy(affine)})
    back = read(path)
    assert np.array_equal(back.numpy()[..., 0].T, mask)
    assert np.allclose(back.affine, affine, atol=1e-5)


def test_grey_values_stay_what_they_are(tmp_path):
    values = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    for suffix in (".png", ".nii.gz", ".mha"):
        path = write_map(values, tmp_path / "map", f"frame{suffix}", {"affine": torch.eye(4)})
        assert np.array_equal(read(path).numpy()[..., 0].T, values)


@pytest.mark.parametrize(
    ("source", "suffix"),
    [
        ("a.png", ".png"),
        ("a.jpg", ".png"),
        ("IM0001", ".png"),
        ("a.dcm", ".png"),
        ("a.b.NII.GZ", ".nii.gz"),
        ("a.nii", ".nii"),
        ("a.nrrd", ".nrrd"),
        ("a.MHA", ".mha"),
        ("a.mhd", ".mha"),
    ],
)
def test_the_kind_of_a_result(source, suffix):
    assert result_suffix(source) == suffix


@pytest.mark.parametrize("existing", [None, "old"])
def test_a_failure_leaves_nothing_new_behind(existing, tmp_path):
    path = tmp_path / "out.txt"
    if existing:
        path.write_text(existing)

    def fail(partial):
        partial.write_text("half")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_whole(path, fail)
    assert [file.read_text() for file in tmp_path.iterdir()] == ([existing] if existing else [])
    assert write_whole(path, lambda partial: partial.write_text("new")).read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["out.txt"]


def test_two_threads_may_write_the_same_file(tmp_path):
    both = threading.Barrier(2, timeout=30)

    def write(partial):
        partial.write_text("new")
        both.wait()

    with ThreadPoolExecutor() as threads:
        for done in [threads.submit(write_whole, tmp_path / "out.txt", write) for _ in range(2)]:
            assert done.result().read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["out.txt"]


def test_a_picture_is_png_whatever_its_name(tmp_path):
    path = write_picture(np.zeros((4, 6, 3), np.uint8), tmp_path / "overlay")
    with Image.open(path) as picture:
        assert (picture.format, picture.size, picture.mode) == ("PNG", (6, 4), "RGB")


def test_the_saver_writes_every_mask_of_a_batch_to_its_place(mask, tmp_path):
    (tmp_path / "in/a").mkdir(parents=True)
    sources = [source_file(tmp_path / "in", ".png"), source_file(tmp_path / "in/a", ".nii.gz")]
    predictions = []
    for source in sources:
        meta = dict(read(source).meta)
        predictions.append({"pred": MetaTensor(torch.from_numpy(mask.T // 255), meta=meta)})
    engine = Engine(lambda engine, batch: predictions)
    MaskSaver(tmp_path / "out", tmp_path / "in").attach(engine)
    engine.run([0])
    for name in ("frame.png", "a/frame.nii.gz"):
        assert np.array_equal(read(tmp_path / "out" / name).numpy()[..., 0].T, mask)
    assert np.allclose(read(tmp_path / "out/a/frame.nii.gz").affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize("name", ["n" * 251 + ".png", "心" * 83 + ".png"])
def test_the_longest_name_of_a_file_can_be_written(tmp_path, name):
    write_picture(np.zeros((16, 16), np.uint8), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
