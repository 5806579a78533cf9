# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The one reader: an echo frame, or its label, from any supported file, always in the same axes and value range."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader, ITKReader, NibabelReader, PILReader
from monai.data.utils import to_affine_nd
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple, optional_import
from PIL import Image

from pe_monai.data.itk_limits import check_limits
from pe_monai.data.spacing import sound_affine
from pe_monai.data.values import blend_alpha, mask_to_uint8, plain_mask, plain_picture, to_uint8
from pe_monai.errors import FrameError, one_line

itk, _ = optional_import("itk", allow_namespace_pkg=True)

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp")
# what Pillow may take a picture for, whatever its name: PostScript, say, it would give to Ghostscript to run
PICTURE_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
DICOM_SUFFIXES = (".dcm", ".dicom")
ITK_SUFFIXES = (".nrrd", ".mha", ".mhd", *DICOM_SUFFIXES)
SUFFIXES = PICTURE_SUFFIXES + NIFTI_SUFFIXES + ITK_SUFFIXES
MAX_PIXELS = 50_000_000


class FrameReader(ImageReader):
    """Read one frame as a ``(W, H, 1)`` or ``(W, H, 3)`` uint8 array: x first, then y (down), then grey or RGB.

    Pillow reads pictures, nibabel NIfTI, ITK NRRD, MetaImage and DICOM (also without a suffix, by its ``DICM`` mark);
    each through MONAI's own reader. The stored pixel order is kept: neither EXIF rotation, which exports of ultrasound
    machines do not carry, nor the affine turns a frame. NIfTI has no channel axis, so ``(W, H, 3)`` is taken for RGB.

    Values come as 0..255 (see :func:`~pe_monai.data.values.to_uint8`): 8-bit data and 0/1 labels stay as they are,
    1-bit pictures become 0 and 255, palettes and CMYK become RGB, transparency is laid on black. ITK turns DICOM's
    MONOCHROME1 and YBR into MONOCHROME2 and RGB.

    Metadata, with the same keys for every format so that mixed files collate: ``affine`` and ``original_affine`` (4x4,
    RAS; the identity for pictures), ``space``, ``spatial_shape`` ``(W, H)``, ``original_channel_dim`` -1 and
    ``filename_or_obj``.

    Use it as ``LoadImaged(keys=..., reader=FrameReader)``. ``read`` only notes the path and ``get_data`` does the work:
    where ``read`` fails, MONAI's ``LoadImage`` tries its default readers, which would load what this one refuses. So
    ``LoadImage`` raises :class:`~pe_monai.errors.FrameError` itself, and ``Compose`` a ``RuntimeError`` that it caused
    (:func:`~pe_monai.errors.find_frame_error` gets it back).

    Args:
        max_pixels: refuse larger frames, by their header, before any pixel is decoded.
        min_side: refuse frames with fewer pixels than this on a side.
    """

    _to_uint8: Callable[[np.ndarray], np.ndarray] = staticmethod(to_uint8)
    _plain = staticmethod(plain_picture)

    def __init__(self, max_pixels: int = MAX_PIXELS, min_side: int = 16) -> None:
        super().__init__()
        self.max_pixels = max_pixels
        self.min_side = min_side

    def verify_suffix(self, filename: Sequence[str | PathLike] | str | PathLike) -> bool:
        """Whether every name has a supported suffix or is a DICOM file."""
        return all(_kind(Path(name)) is not None for name in ensure_tuple(filename))

    def read(self, data: Sequence[str | PathLike] | str | PathLike, **kwargs: Any) -> tuple[Path, ...]:
        """Note the path; nothing is opened and nothing raised (see the class)."""
        return tuple(Path(fspath(name)) for name in ensure_tuple(data))

    def get_data(self, img: tuple[Path, ...] | Path) -> tuple[np.ndarray, dict]:
        """Read the frame that ``read`` noted.

        Args:
            img: what ``read`` returned, one path.

        Returns:
            The ``(W, H, C)`` uint8 array, 0..255, C 1 or 3, and its metadata.

        Raises:
            FrameError: one line that names the file, what is wrong with it and what to do.
        """
        paths = ensure_tuple(img)
        if len(paths) != 1:
            raise FrameError(f"got {len(paths)} files for one frame; give one file per frame")
        path = paths[0]
        name = str(path) if str(path).isprintable() else repr(str(path))
        try:
            array, affine = self._load(path)
            affine = sound_affine(affine)
        except FrameError as error:
            raise FrameError(f"{name}: {error}") from None
        except Exception as error:  # decoders raise whatever they like on bad bytes; the reader has one error
            problem = f"cannot be read ({one_line(error, path=path)}); check that it is complete, or export it again"
            raise FrameError(f"{name}: {problem}") from error
        return array, {
            MetaKeys.AFFINE: affine.copy(),
            MetaKeys.ORIGINAL_AFFINE: affine,
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.SPATIAL_SHAPE: np.asarray(array.shape[:2]),
            MetaKeys.ORIGINAL_CHANNEL_DIM: -1,
            "filename_or_obj": str(path),
        }

    def _load(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        if not path.exists():
            raise FrameError("no such file; check the path")
        if not path.is_file():
            raise FrameError("is a folder or device; give an image file")
        if path.stat().st_size == 0:
            raise FrameError("is empty (0 bytes); export it again")
        load = {"picture": self._load_picture, "nifti": self._load_nifti, "itk": self._load_itk}.get(_kind(path) or "")
        if load is None:
            raise FrameError(f"suffix {path.suffix!r} is not supported; give one of {' '.join(SUFFIXES)} or DICOM")
        return load(path)

    def _load_picture(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        # Pillow turns whole pixels, in a part of the time that NumPy takes for their bytes
        reader = PILReader(converter=self._convert_picture, reverse_indexing=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # max_pixels is the stricter limit
            try:
                picture = reader.read(path, formats=PICTURE_FORMATS)
            except Image.DecompressionBombError as error:
                raise FrameError(f"too large ({one_line(error)}); crop or scale it down") from error
            except Image.UnidentifiedImageError as error:
                raise FrameError("holds no image that Pillow knows; give an image file") from error
        array, _ = reader.get_data(picture)
        return self._to_uint8(np.atleast_3d(array.copy())), np.eye(4)  # Pillow's own pixels are read-only

    def _convert_picture(self, picture: Image.Image) -> Image.Image:
        with picture:
            self.check_size(*picture.size, frames=getattr(picture, "n_frames", 1))
            return self._plain(picture).transpose(Image.Transpose.TRANSPOSE)

    def _load_nifti(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        reader = NibabelReader()
        image = reader.read(path)
        if len(image.shape) < 2:
            raise FrameError(f"has shape {image.shape}, which is no picture; give a (W, H) frame")
        width, height, *rest = image.shape
        rest = [n for n in rest if n != 1]
        self.check_size(width, height, frames=1 if rest == [3] else int(np.prod(rest, dtype=int)))
        array, meta = reader.get_data(image)
        if array.dtype.names:  # NIfTI's RGB24 and RGBA32 pixels
            array = np.stack([array[channel] for channel in array.dtype.names], axis=-1)
        return self._to_uint8(blend_alpha(array.reshape(width, height, -1))), meta[MetaKeys.ORIGINAL_AFFINE]

    def _load_itk(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        with quiet_itk():
            header = read_itk_header(path)
            width, height, *rest = [header.GetDimensions(i) for i in range(header.GetNumberOfDimensions())]
            self.check_size(width, height, frames=int(np.prod(rest, dtype=int)))
            reader = ITKReader(pixel_type=itk_pixel_type(header))
            array, meta = reader.get_data(reader.read(path))
        array = self._to_uint8(blend_alpha(array.reshape(width, height, -1)))
        return array, to_affine_nd(3, meta[MetaKeys.ORIGINAL_AFFINE])

    def check_size(self, width: int, height: int, frames: int = 1) -> None:
        """Refuse what is no single frame, or too large or small.

        Raises:
            FrameError: what is wrong and what to do, without the file's name.
        """
        if frames != 1:
            raise FrameError(f"holds {frames} frames; this reads single frames, so export the one you want")
        if width * height > self.max_pixels:
            limit = f"{self.max_pixels / 1e6:g} megapixels"
            raise FrameError(f"is {width} x {height} pixels, more than {limit}; crop or scale it down")
        if min(width, height) < self.min_side:
            raise FrameError(f"is {width} x {height} pixels; give at least {self.min_side} on each side")


class MaskReader(FrameReader):
    """The same for an annotation, refusing values that no mask has: :func:`~pe_monai.data.values.mask_to_uint8`."""

    _to_uint8 = staticmethod(mask_to_uint8)
    _plain = staticmethod(plain_mask)


def read_frame(path: str | PathLike) -> np.ndarray:
    """A frame as displayed, row first: uint8 (H, W) if it is grey, (H, W, 3) RGB otherwise.

    Raises:
        FrameError: see :class:`FrameReader`.
    """
    array, _ = FrameReader().get_data(Path(path))
    return np.ascontiguousarray(array[..., 0].T if array.shape[2] == 1 else array.swapaxes(0, 1))


def _kind(path: Path) -> str | None:
    name = path.name.lower()
    for kind, suffixes in (("picture", PICTURE_SUFFIXES), ("nifti", NIFTI_SUFFIXES), ("itk", ITK_SUFFIXES)):
        if name.endswith(suffixes):
            return kind
    return "itk" if path.is_file() and _has_dicom_mark(path) else None


def is_dicom(path: Path) -> bool:
    """Whether a file has a DICOM suffix, or the mark of a DICOM file."""
    return path.name.lower().endswith(DICOM_SUFFIXES) or path.is_file() and _has_dicom_mark(path)


def _has_dicom_mark(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"  # DICOM PS3.10, section 7.1
    except OSError:
        return not path.suffix  # then it may be one; whoever reads it says why it cannot be read


@contextlib.contextmanager
def quiet_itk() -> Iterator[None]:
    """Keep ITK from writing its warnings to the terminal."""
    warned = itk.Object.GetGlobalWarningDisplay()
    itk.Object.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        itk.Object.SetGlobalWarningDisplay(warned)


def read_itk_header(path: Path) -> Any:
    """ITK's description of an image file, without its pixels."""
    check_limits(path)
    header = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if header is None:
        raise FrameError("holds no image that ITK knows, or is cut off; export it again")
    header.SetFileName(str(path))
    header.ReadImageInformation()
    return header


def itk_pixel_type(header: Any) -> Any:
    """The type to read into: ITK's own choice is not built for vector MetaImages, 32-bit integers and others."""
    channels = header.GetNumberOfComponents()
    is_uint8 = header.GetComponentTypeAsString(header.GetComponentType()) == "unsigned_char"
    if channels == 1:
        return itk.UC if is_uint8 else itk.F
    if channels == 3:
        return itk.RGBPixel[itk.UC] if is_uint8 else itk.Vector[itk.F, 3]
    kinds = header.GetMetaDataDictionary()
    is_list = kinds.HasKey("NRRD_kinds[pixel]") and kinds["NRRD_kinds[pixel]"] == "list"  # as 3D Slicer stores frames
    if channels == 4 and is_uint8 and not is_list:
        return itk.RGBAPixel[itk.UC]
    raise FrameError(f"holds {channels} channels; give grey or RGB, or frames in time as NRRD of the kind 'time'")
