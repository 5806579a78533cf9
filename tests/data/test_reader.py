# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Every kind of file that the reader takes or refuses, made on the spot: 36 wide, 24 high, a mark at the top right."""

import pickle
import struct
import zlib
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import list_data_collate
from monai.transforms import Compose, LoadImage, LoadImaged, SaveImage
from PIL import Image

from pe_monai.data.reader import FrameReader, MaskReader, to_uint8
from pe_monai.data.writer import write_map
from pe_monai.errors import FrameError, find_frame_error
from pe_monai.transforms.mask import decode_mask

WIDTH, HEIGHT = 36, 24
MARK = (WIDTH - 1, 0)
COLOUR = (250, 100, 0)


def grey_rows(dtype=np.uint8) -> np.ndarray:
    rows = np.full((HEIGHT, WIDTH), 10, dtype)
    rows[0, -1] = 250
    return rows


def rgb_rows() -> np.ndarray:
    rows = np.full((HEIGHT, WIDTH, 3), 10, np.uint8)
    rows[0, -1] = COLOUR
    return rows


def load(path) -> np.ndarray:
    image = LoadImage(reader=FrameReader, image_only=True)(path)
    assert image.meta["original_channel_dim"] == -1
    assert image.meta["filename_or_obj"] == str(path)
    assert tuple(image.meta["spatial_shape"]) == tuple(image.shape[:2])
    return image.numpy()


def save_itk(rows: np.ndarray, path, is_vector=False) -> None:
    itk.imwrite(itk.image_from_array(rows, is_vector=is_vector), str(path))


def save_nifti(array: np.ndarray, path, affine=None) -> None:
    nib.save(nib.Nifti1Image(array, np.diag([-1, -1, 1, 1]) if affine is None else affine), path)


def save_grey(rows: np.ndarray, path) -> None:
    if path.name.endswith((".nii", ".nii.gz")):
        save_nifti(rows.T, path)
    elif path.suffix in (".nrrd", ".mha", ".mhd", ".dcm"):
        save_itk(rows, path)
    else:
        Image.fromarray(rows).save(path)


def save_rgb(rows: np.ndarray, path) -> None:
    if path.name.endswith((".nii", ".nii.gz")):
        save_nifti(rows.transpose(1, 0, 2), path)
    elif path.suffix in (".nrrd", ".mha", ".mhd", ".dcm"):
        save_itk(rows, path, is_vector=True)
    else:
        Image.fromarray(rows).save(path)


LOSSLESS = ["png", "bmp", "tif", "tiff", "nii", "nii.gz", "nrrd", "mha", "mhd", "dcm"]


@pytest.mark.parametrize("suffix", [*LOSSLESS, "gif", "PNG"])
def test_grey_frame_is_x_first(tmp_path, suffix):
    path = tmp_path / f"frame.{suffix}"
    save_grey(grey_rows(), path)
    array = load(path)
    if suffix == "gif":  # GIF stores palettes only
        array = array[..., :1]
    assert array.shape == (WIDTH, HEIGHT, 1)
    np.testing.assert_array_equal(array[..., 0], grey_rows().T)


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_rgb_frame_is_x_first(tmp_path, suffix):
    path = tmp_path / f"frame.{suffix}"
    save_rgb(rgb_rows(), path)
    np.testing.assert_array_equal(load(path), rgb_rows().transpose(1, 0, 2))


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp"])
def test_lossy_frame_is_x_first(tmp_path, suffix):
    path = tmp_path / f"frame.{suffix}"
    rows = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    rows[:8, -8:] = 200
    Image.fromarray(rows).save(path, quality=95)
    np.testing.assert_allclose(load(path), rows.transpose(1, 0, 2), atol=12)


@pytest.mark.parametrize("extra", [(1,), (1, 1)])
def test_nifti_axes_of_length_one_are_dropped(tmp_path, extra):
    save_nifti(grey_rows().T.reshape(WIDTH, HEIGHT, *extra), tmp_path / "frame.nii.gz")
    np.testing.assert_array_equal(load(tmp_path / "frame.nii.gz")[..., 0], grey_rows().T)


def test_nifti_colour_in_the_fourth_axis_and_in_the_pixel_type(tmp_path):
    columns = np.ascontiguousarray(rgb_rows().transpose(1, 0, 2))
    save_nifti(columns[:, :, None], tmp_path / "axis.nii")
    save_nifti(columns.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0], tmp_path / "type.nii")
    np.testing.assert_array_equal(load(tmp_path / "axis.nii"), columns)
    np.testing.assert_array_equal(load(tmp_path / "type.nii"), columns)


def save_mask(image, folder, suffix, writer) -> None:
    # resample=True resamples nothing where the affine is the frame's own; without it, the writers of MONAI 1.6 lose a
    # spatial axis of a single-channel 2D tensor and fail
    options = {"writer": writer, "separate_folder": False, "print_log": False, "resample": True}
    SaveImage(folder, "mask", output_ext=suffix, **options)(image.permute(2, 0, 1))


def test_nifti_affine_survives_to_a_written_mask(tmp_path):
    affine = np.array([[-0.3, 0, 0, 4], [0, -0.4, 0, 5], [0, 0, 1, 6], [0, 0, 0, 1.0]])
    save_nifti(grey_rows().T, tmp_path / "frame.nii.gz", affine)
    image = LoadImage(reader=FrameReader)(tmp_path / "frame.nii.gz")
    np.testing.assert_allclose(image.affine, affine, atol=1e-6)
    save_mask(image, tmp_path, ".nii.gz", "NibabelWriter")
    written = nib.load(tmp_path / "frame_mask.nii.gz")
    np.testing.assert_allclose(written.affine, affine, atol=1e-6)
    np.testing.assert_array_equal(np.squeeze(written.dataobj), grey_rows().T)


@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
def test_itk_geometry_survives_to_a_written_mask(tmp_path, suffix):
    frame = itk.image_from_array(grey_rows())
    frame.SetSpacing([0.3, 0.4])
    frame.SetOrigin([4, 5])
    itk.imwrite(frame, str(tmp_path / f"frame.{suffix}"))
    image = LoadImage(reader=FrameReader)(tmp_path / f"frame.{suffix}")
    save_mask(image, tmp_path, f".{suffix}", "ITKWriter")
    written = itk.imread(str(tmp_path / f"frame_mask.{suffix}"))
    assert list(itk.spacing(written))[:2] == pytest.approx([0.3, 0.4])
    assert list(itk.origin(written))[:2] == pytest.approx([4, 5])
    np.testing.assert_array_equal(np.squeeze(itk.array_from_image(written)), grey_rows())


def test_formats_collate(tmp_path):
    names = ["frame.png", "frame.nii.gz", "frame.nrrd", "frame.dcm"]
    for name in names:
        save_grey(grey_rows(), tmp_path / name)
    loader = LoadImaged(keys="image", reader=FrameReader)
    batch = list_data_collate([loader({"image": tmp_path / name}) for name in names])
    assert batch["image"].shape == (4, WIDTH, HEIGHT, 1)
    assert batch["image"].meta["original_affine"].shape == (4, 4, 4)


def test_dicom_without_suffix_or_with_a_number_for_one(tmp_path):
    save_itk(grey_rows(), tmp_path / "frame.dcm")
    for name in ("IM_0001", "1.2.840.5"):
        (tmp_path / name).write_bytes((tmp_path / "frame.dcm").read_bytes())
        assert FrameReader().verify_suffix(tmp_path / name)
        np.testing.assert_array_equal(load(tmp_path / name)[..., 0], grey_rows().T)


def test_dicom_monochrome1_is_inverted(tmp_path):
    save_itk(grey_rows(), tmp_path / "frame.dcm")
    content = (tmp_path / "frame.dcm").read_bytes()
    assert content.count(b"MONOCHROME2 ") == 1
    (tmp_path / "frame.dcm").write_bytes(content.replace(b"MONOCHROME2 ", b"MONOCHROME1 "))
    np.testing.assert_array_equal(load(tmp_path / "frame.dcm")[..., 0], 255 - grey_rows().T)


def test_dicom_ybr_is_converted_to_rgb(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    save_itk(rgb_rows(), tmp_path / "frame.dcm", is_vector=True)
    dataset = pydicom.dcmread(tmp_path / "frame.dcm")
    dataset.PhotometricInterpretation = "YBR_FULL"
    dataset.PixelData = np.asarray(Image.fromarray(rgb_rows()).convert("YCbCr")).tobytes()
    dataset.save_as(tmp_path / "ybr.dcm")
    np.testing.assert_allclose(load(tmp_path / "ybr.dcm"), rgb_rows().transpose(1, 0, 2), atol=3)


def test_one_bit_picture_is_0_and_255(tmp_path):
    Image.fromarray(grey_rows() > 100).save(tmp_path / "frame.png")
    array = load(tmp_path / "frame.png")
    assert array.shape == (WIDTH, HEIGHT, 1)
    assert array[MARK] == 255 and array.sum() == 255


def test_palette_and_cmyk_become_rgb(tmp_path):
    rgb = Image.fromarray(rgb_rows())
    rgb.quantize(4).save(tmp_path / "palette.png")
    rgb.convert("CMYK").save(tmp_path / "cmyk.tif")
    for name in ("palette.png", "cmyk.tif"):
        np.testing.assert_allclose(load(tmp_path / name), rgb_rows().transpose(1, 0, 2), atol=2)


@pytest.mark.parametrize(("mode", "channels"), [("RGBA", 3), ("LA", 1)])
def test_transparency_is_laid_on_black(tmp_path, mode, channels):
    picture = Image.fromarray(rgb_rows()).convert(mode)
    alpha = Image.new("L", picture.size, 255)
    alpha.putpixel((0, 0), 0)
    picture.putalpha(alpha)
    picture.save(tmp_path / "frame.png")
    array = load(tmp_path / "frame.png")
    assert array.shape == (WIDTH, HEIGHT, channels)
    assert (array[0, 0] == 0).all() and (array[1, 0] == 10).all()


def test_transparent_palette_is_laid_on_black(tmp_path):
    picture = Image.fromarray(rgb_rows()).quantize(4)
    picture.save(tmp_path / "frame.png", transparency=picture.getpixel((0, 0)))
    array = load(tmp_path / "frame.png")
    assert (array[0, 0] == 0).all()
    np.testing.assert_allclose(array[MARK], COLOUR, atol=2)


def test_exif_orientation_turns_nothing(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(grey_rows()).save(tmp_path / "frame.jpg", exif=exif)
    assert load(tmp_path / "frame.jpg").shape == (WIDTH, HEIGHT, 1)


@pytest.mark.parametrize("suffix", ["png", "tif", "nii.gz", "nrrd", "mha", "dcm"])
def test_16_bit_is_scaled_to_8(tmp_path, suffix):
    path = tmp_path / f"frame.{suffix}"
    rows = grey_rows(np.uint16) * 16
    rows[1:] = 0
    rows[0, 0] = 1000
    save_grey(rows, path)
    expected = np.rint(rows.T / 4000 * 255)
    assert expected[0, 0] == 64
    np.testing.assert_array_equal(load(path)[..., 0], expected)


@pytest.mark.parametrize("suffix", ["tif", "nii.gz", "nrrd", "mha"])
def test_float_shares_are_multiplied_by_255(tmp_path, suffix):
    path = tmp_path / f"frame.{suffix}"
    save_grey(grey_rows().astype(np.float32) / 255, path)
    np.testing.assert_array_equal(load(path)[..., 0], grey_rows().T)


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("high", [1, 255])
def test_label_passes_unchanged(tmp_path, suffix, high):
    label = np.where(grey_rows() > 100, high, 0).astype(np.uint8)
    path = tmp_path / f"label.{suffix}"
    save_grey(label, path)
    np.testing.assert_array_equal(load(path)[..., 0], label.T)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("suffix", ["nii", "nrrd"])
def test_0_1_label_of_any_type_passes_unchanged(tmp_path, suffix, dtype):
    label = (grey_rows() > 100).astype(dtype)
    save_grey(label, tmp_path / f"label.{suffix}")
    np.testing.assert_array_equal(load(tmp_path / f"label.{suffix}")[..., 0], label.T)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 255], np.int32), [0, 255]),
        (np.array([-100, 0, 100], np.int16), [0, 128, 255]),
        (np.array([-5, -5], np.int16), [0, 0]),
        (np.array([1000, 2000], np.uint16), [0, 255]),
        (np.array([0.0, 0.5, 1.0]), [0, 128, 255]),
        (np.array([0.0, 0.5, 2.0]), [0, 0, 2]),
        (np.array([False, True]), [0, 1]),
    ],
)
def test_to_uint8(values, expected):
    assert to_uint8(values).dtype == np.uint8
    assert to_uint8(values).tolist() == expected


@pytest.mark.parametrize(
    ("values", "inside"),
    [
        (np.array([0, 1], np.int16), [False, True]),
        (np.array([0, 255], np.float32), [False, True]),
        (np.array([0.0, 1.0]), [False, True]),
        (np.array([0.0] * 34 + [0.2, 0.7]), [False] * 35 + [True]),
        (np.array([0.0, 1.0000001]), [False, True]),
        (np.linspace(0, 0.1, 12), [False] * 12),  # a soft mask of a frame without effusion
        (np.array([0, 65535], np.uint16), [False, True]),
        (np.array([0, 0], np.int32), [False, False]),
        (np.array([1, 1], np.int32), [True, True]),
    ],
)
def test_what_a_mask_says(tmp_path, values, inside):
    planes, _ = MaskReader().get_data(save_columns(tmp_path / "mask.nii.gz", values))
    np.testing.assert_array_equal(decode_mask(planes.transpose(2, 1, 0), "mask")[0, :: WIDTH // len(values)], inside)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.array([0, -1], np.int8), "it is -1 and 0"),
        (np.array([-1, -1], np.int16), "it is -1"),
        (np.array([0, 0.001]), "it is 0 and 0.001"),
        (np.array([0, 0.2, 0.4]), "it is 0, 0.2 and 0.4"),
        (np.linspace(-4, 9, 12), "it is -4 to 9"),
        (np.array([0, 1, 300], np.int16), "it is 0, 1 and 300"),
        (np.array([1000, 2000], np.uint16), "it is 1000 and 2000"),
    ],
)
def test_values_of_no_mask_are_refused(tmp_path, values, found):
    path = save_columns(tmp_path / "mask.nii.gz", values)
    with pytest.raises(FrameError, match=rf"mask\.nii\.gz: is no mask, {found}; give masks that are 0 and 255"):
        MaskReader().get_data(path)


EYE = np.eye(4)
FLAT = np.diag([-0.3, -0.4, 0, 1])


@pytest.mark.parametrize(
    ("stated", "taken"),
    [
        (np.diag([-0.3, -0.4, 2, 1]), np.diag([-0.3, -0.4, 2, 1])),
        (FLAT, np.diag([-0.3, -0.4, 1, 1])),
        (FLAT + np.eye(4)[:, [3, 3, 0, 3]] * [0, 0, 1, 0], np.diag([-0.3, -0.4, 1, 1])),
        (np.diag([0, 0, 0, 1]), EYE),
        (np.diag([np.nan, 1, 1, 1]), EYE),
        (np.diag([np.inf, 1, 1, 1]), EYE),
        (EYE[:, [0, 0, 2, 3]], EYE),
    ],
    ids=["sound", "no distance of planes", "planes in the frame", "zero", "NaN", "infinite", "no area"],
)
def test_a_frame_has_an_affine_with_which_a_mask_is_written(tmp_path, stated, taken):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((WIDTH, HEIGHT))
    header["sform_code"], header["vox_offset"] = 1, 352
    header["srow_x"], header["srow_y"], header["srow_z"] = stated[:3]
    header["pixdim"][1:4] = np.linalg.norm(stated[:3, :3], axis=0)  # MONAI mends an affine that contradicts it
    content = header.binaryblock[:344] + b"n+1\0" + bytes(4) + grey_rows().T.tobytes(order="F")
    (tmp_path / "frame.nii").write_bytes(content)
    array, meta = FrameReader().get_data(tmp_path / "frame.nii")
    np.testing.assert_array_equal(array[..., 0].T, grey_rows())
    np.testing.assert_allclose(meta["affine"], taken, atol=1e-6)
    for suffix in ("nii", "nrrd"):
        write_map(grey_rows(), tmp_path / "mask", f"frame.{suffix}", meta)
        np.testing.assert_array_equal(load(tmp_path / f"mask.{suffix}")[..., 0].T, grey_rows())


def test_a_mask_in_black_on_nothing_is_refused_and_not_empty(tmp_path):
    inside = grey_rows() > 100
    nothing = np.zeros_like(inside)
    for alpha, is_mask in ((inside, False), (nothing, True), (~nothing, True)):
        black = np.dstack([nothing] * 3 + [alpha]).astype(np.uint8) * 255
        Image.fromarray(black).save(tmp_path / "mask.png")
        if is_mask:
            assert not MaskReader().get_data(tmp_path / "mask.png")[0].any()
        else:
            with pytest.raises(FrameError, match=r"mask\.png: is no mask, .* give white on black"):
                MaskReader().get_data(tmp_path / "mask.png")


def save_columns(path, values) -> Path:
    """A NIfTI of WIDTH x HEIGHT, each value in as many columns as the others."""
    rows = np.repeat(values, WIDTH // len(values))[:, None].repeat(HEIGHT, axis=1)
    nib.save(nib.Nifti1Image(rows, np.eye(4), dtype=rows.dtype), path)
    return path


def save_frames(path, count=3) -> None:
    frames = [Image.fromarray(np.full((HEIGHT, WIDTH), 40 * i, np.uint8)) for i in range(count)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def save_huge_header(path) -> None:
    """A PNG of 100,000 x 100,000 pixels, of which only the header exists."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


def save_noise(path) -> None:
    save_grey(np.random.default_rng(0).integers(0, 255, (256, 256), np.uint8), path)


def save_truncated(path) -> None:
    save_noise(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def save_big_nifti_header(path) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((9000, 9000))
    path.write_bytes(header.binaryblock + b"\0" * 16)


def save_frame_list(path) -> None:
    """Four frames as 3D Slicer stores them; not red, green, blue and alpha."""
    header = (
        f"NRRD0005\ntype: uint8\ndimension: 3\nsizes: 4 {WIDTH} {HEIGHT}\nkinds: list domain domain\nencoding: raw\n"
    )
    path.write_bytes(header.encode() + b"\n" + bytes(4 * WIDTH * HEIGHT))


BAD = {
    "missing.png": (lambda path: None, "no such file"),
    "folder.png": (lambda path: path.mkdir(), "is a folder"),
    "empty.png": (lambda path: path.touch(), "empty"),
    "empty.dcm": (lambda path: path.touch(), "empty"),
    "text.png": (lambda path: path.write_text("no image"), "holds no image"),
    "text.nii.gz": (lambda path: path.write_text("no image"), "cannot be read"),
    "text.nrrd": (lambda path: path.write_text("no image"), "holds no image"),
    "text.dcm": (lambda path: path.write_text("no image"), "holds no image"),
    "notes.txt": (lambda path: path.write_text("no image"), r"suffix '\.txt' is not supported"),
    "noname": (lambda path: path.write_text("no image"), "is not supported"),
    "clip.gif": (save_frames, "holds 3 frames"),
    "clip.tif": (save_frames, "holds 3 frames"),
    "clip.png": (save_frames, "holds 3 frames"),
    "clip.webp": (save_frames, "holds 3 frames"),
    "clip.nii.gz": (lambda path: save_nifti(np.zeros((WIDTH, HEIGHT, 30), np.uint8), path), "holds 30 frames"),
    "clip.nrrd": (lambda path: save_itk(np.zeros((30, HEIGHT, WIDTH), np.uint8), path), "holds 30 frames"),
    "list.nrrd": (save_frame_list, "holds 4 channels"),
    "clip.dcm": (lambda path: save_itk(np.zeros((3, HEIGHT, WIDTH), np.uint8), path), "holds 3 frames"),
    "line.nii": (lambda path: save_nifti(np.zeros(40, np.uint8), path), "no picture"),
    "small.png": (lambda path: save_grey(np.zeros((15, 40), np.uint8), path), "at least 16"),
    "small.nii": (lambda path: save_grey(np.zeros((15, 40), np.uint8), path), "at least 16"),
    "small.mha": (lambda path: save_grey(np.zeros((15, 40), np.uint8), path), "at least 16"),
    "nan.nii": (lambda path: save_grey(np.full((HEIGHT, WIDTH), np.nan, np.float32), path), "NaN or infinite"),
    "inf.nrrd": (lambda path: save_grey(np.full((HEIGHT, WIDTH), np.inf, np.float32), path), "NaN or infinite"),
    "bomb.png": (save_huge_header, "too large|more than 50 megapixels"),
    "big.png": (lambda path: Image.new("1", (8000, 7000)).save(path), "8000 x 7000 pixels, more than 50 megapixels"),
    "big.nii": (save_big_nifti_header, "9000 x 9000 pixels, more than 50 megapixels"),
    "cut.nii": (save_truncated, "cannot be read"),
    "cut.mha": (save_truncated, "cannot be read"),
    "cut.nrrd": (save_truncated, "cannot be read"),
    "cut.nii.gz": (save_truncated, "cannot be read"),
    "cut.png": (save_truncated, "cannot be read"),
    "cut.jpg": (save_truncated, "cannot be read"),
    "cut.bmp": (save_truncated, "cannot be read"),
    "cut.gif": (save_truncated, "cannot be read"),
    "cut.tif": (save_truncated, "cannot be read"),
    "cut.webp": (save_truncated, "cannot be read|holds no image"),
    "cut.dcm": (save_truncated, "cannot be read|cut off"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_refused_in_one_line(tmp_path, name):
    make, problem = BAD[name]
    path = tmp_path / name
    make(path)
    with pytest.raises(FrameError, match=problem) as caught:
        LoadImage(reader=FrameReader)(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and ";" in message


def test_big_medical_header_is_refused_before_decoding(tmp_path):
    save_grey(grey_rows(), tmp_path / "frame.nrrd")
    content = (tmp_path / "frame.nrrd").read_bytes()
    assert content.count(b"sizes: 36 24") == 1
    (tmp_path / "frame.nrrd").write_bytes(content.replace(b"sizes: 36 24", b"sizes: 9000 9000"))
    with pytest.raises(FrameError, match="9000 x 9000 pixels, more than 50 megapixels"):
        load(tmp_path / "frame.nrrd")


def test_limits_are_arguments(tmp_path):
    save_grey(grey_rows(), tmp_path / "frame.png")
    with pytest.raises(FrameError, match="at least 32"):
        LoadImage(reader=FrameReader(min_side=32))(tmp_path / "frame.png")
    with pytest.raises(FrameError, match="more than 0.0005 megapixels"):
        LoadImage(reader=FrameReader(max_pixels=500))(tmp_path / "frame.png")


def test_several_files_are_refused(tmp_path):
    with pytest.raises(FrameError, match="got 2 files"):
        LoadImage(reader=FrameReader)([tmp_path / "a.png", tmp_path / "b.png"])


def test_unprintable_name_stays_on_one_line(tmp_path):
    with pytest.raises(FrameError) as caught:
        load(tmp_path / "two\nlines.png")
    assert "\n" not in str(caught.value)


def test_error_is_found_behind_compose_and_survives_pickling(tmp_path):
    pipeline = Compose([LoadImaged(keys="image", reader="pe_monai.data.reader.FrameReader")])
    with pytest.raises(RuntimeError) as caught:
        pipeline({"image": tmp_path / "missing.png"})
    error = find_frame_error(caught.value)
    assert "no such file" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert find_frame_error(KeyError("other")) is None


def test_load_image_gives_float_tensors(tmp_path):
    save_grey(grey_rows(), tmp_path / "frame.png")
    image = LoadImage(reader=FrameReader)(tmp_path / "frame.png")
    assert image.dtype == torch.float32
    assert torch.equal(image.affine, torch.eye(4, dtype=torch.float64))
