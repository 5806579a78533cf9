# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks that exist already: pictures, NIfTI, NRRD, MetaImage and DICOM Segmentations, with their pixel size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from pe_monai.data.reader import (
    ITK_SUFFIXES,
    MAX_PIXELS,
    NIFTI_SUFFIXES,
    PICTURE_SUFFIXES,
    FrameReader,
    MaskReader,
    quiet_itk,
    read_itk_header,
)
from pe_monai.data.spacing import MILLIMETRES, itk_spacing, nifti_interval, trusted_spacing
from pe_monai.data.values import mask_to_uint8
from pe_monai.errors import FrameError, one_line
from pe_monai.transforms.mask import decode_mask


@dataclass(frozen=True)
class MaskFile:
    """The masks of one file.

    Attributes:
        masks: each (H, W) bool, row first as displayed; may be read only as they are asked for.
        spacing: (row, column) pixel spacing in mm that the file states; None if it states none that can be trusted.
        times_ms: of each frame, None if unknown.
        numbers: of the frames, from 1.
        affine: where a single mask lies, 4x4 RAS; None where its file does not say.
    """

    masks: Iterable[np.ndarray]
    spacing: tuple[float, float] | None
    times_ms: tuple[float, ...] | None
    numbers: tuple[int, ...]
    affine: np.ndarray | None = None


def read_masks(path: str | Path, sources: Sequence[str | Path] = (), max_pixels: int = MAX_PIXELS) -> MaskFile:
    """Read all masks of a file.

    Pictures have no pixel size. That of NIfTI counts if its unit is a length, or it has none but places the picture in
    a scanner's or another space; that of NRRD and MetaImage in mm, or in the unit that NRRD names; but 1 x 1 mm does
    not, which is what writers put where nothing is known, and nothing outside 0.01 to 10 mm. A Segmentation has that of
    its source.

    Args:
        path: the file; a NIfTI of more than one plane is a clip.
        sources: files of the ultrasound objects that DICOM Segmentations were made from.
        max_pixels: refuse a larger single mask by its header.

    Raises:
        FrameError: the file cannot be read or holds no mask.
    """
    path = Path(path)
    name = path.name.lower()
    if name.endswith(NIFTI_SUFFIXES) and (stack := _read_nifti_stack(path)) is not None:
        return stack
    if not name.endswith((*PICTURE_SUFFIXES, *NIFTI_SUFFIXES, *ITK_SUFFIXES[:3])) and FrameReader().verify_suffix(path):
        return _read_segmentation(path, sources)
    array, meta = MaskReader(max_pixels, min_side=1).get_data(path)
    affine = None if name.endswith(PICTURE_SUFFIXES) else np.asarray(meta["affine"])
    return MaskFile((_decode(array, path),), _trusted_spacing(path, meta["affine"]), None, (1,), affine)


def read_mask(path: str | Path) -> np.ndarray:
    """The one mask of a file, (H, W) bool: see :func:`pe_monai.data.values.mask_to_uint8`, or the data set's green.

    Raises:
        FrameError: the file cannot be read or holds no single mask.
    """
    return read_placed_mask(path)[0]


def read_placed_mask(path: str | Path, max_pixels: int = MAX_PIXELS) -> tuple[np.ndarray, np.ndarray | None]:
    """The same, and where it lies: 4x4 RAS, None where the file does not say.

    Args:
        path: the file.
        max_pixels: refuse a larger one by its header.

    Raises:
        FrameError: the file cannot be read or holds no single mask.
    """
    found = read_masks(path, max_pixels=max_pixels)
    if len(found.numbers) != 1:
        raise FrameError(f"{path}: holds {len(found.numbers)} masks; give one mask a file.")
    return np.asarray(next(iter(found.masks))), found.affine


def read_plane(path: str | Path) -> np.ndarray:
    """A map such as a probability or a sector, (H, W) uint8, 0 to 255; green of a colour picture.

    Raises:
        FrameError: the file cannot be read.
    """
    array, _ = FrameReader(min_side=1).get_data(Path(path))
    return array[..., array.shape[-1] // 2].T


def _decode(array: np.ndarray, path: Path) -> np.ndarray:
    """(W, H, C) uint8 to (H, W) bool."""
    return decode_mask(array.transpose(2, 1, 0), path)


def _read_nifti_stack(path: Path) -> MaskFile | None:
    """A NIfTI of many frames, (W, H, 1, F) or (W, H, F); None for anything else."""
    try:
        image = nibabel.load(path)
    except Exception:
        return None  # the reader of single frames says what is wrong
    shape = tuple(int(length) for length in image.shape)
    frames = int(np.prod(shape[2:]))
    if frames <= 1 or shape[2:] == (3,) or image.get_data_dtype().names:
        return None

    def masks() -> Iterator[np.ndarray]:
        for place in range(frames):
            at = np.unravel_index(place, shape[2:], order="F")
            try:
                plane = np.asarray(image.dataobj[(slice(None), slice(None), *at)])
            except Exception as e:  # whatever a cut or damaged file makes of its decoder
                reason = one_line(e, 120)
                raise FrameError(f"{path}: its frame {place + 1} cannot be read ({reason}); export it again.") from e
            try:
                mask = _decode(mask_to_uint8(plane)[..., None], path)
            except FrameError as e:
                reason = str(e).removeprefix(f"{path}: ")
                raise FrameError(f"{path}: its frame {place + 1} {reason}") from e
            yield mask

    step = nifti_interval(image.header)
    times = tuple(step * place for place in range(frames)) if step and shape[2] == 1 else None
    return MaskFile(masks(), _trusted_spacing(path, image.affine), times, tuple(range(1, frames + 1)))


def _trusted_spacing(path: Path, affine: np.ndarray) -> tuple[float, float] | None:
    name = path.name.lower()
    if name.endswith(PICTURE_SUFFIXES):
        return None
    if not name.endswith(NIFTI_SUFFIXES):
        with quiet_itk():
            return itk_spacing(read_itk_header(path), path)
    header = nibabel.load(path).header
    unit = header.get_xyzt_units()[0]
    if unit not in MILLIMETRES and not (int(header["sform_code"]) or int(header["qform_code"])):
        return None
    factor = MILLIMETRES.get(unit, 1.0)
    column, row = (float(length) * factor for length in np.linalg.norm(np.asarray(affine)[:3, :2], axis=0))
    return trusted_spacing(row, column)


def _read_segmentation(path: Path, sources: Sequence[str | Path]) -> MaskFile:
    from pe_monai.dicom.segmentation_reader import read_segmentation

    if not sources:
        raise FrameError(f"{path}: is DICOM; name the ultrasound object that it was made from with --source.")
    masks, spacing, numbers = read_segmentation(path, sources)
    return MaskFile(masks, spacing, None, tuple(numbers))
