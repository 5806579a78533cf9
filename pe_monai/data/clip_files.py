# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Clips in files that are not DICOM: which files are clips, and how each kind is opened."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

from pe_monai.data.clips import Clip
from pe_monai.data.reader import NIFTI_SUFFIXES, PICTURE_SUFFIXES, is_dicom, quiet_itk, read_itk_header
from pe_monai.data.stacks import ItkStack, NiftiStack, PictureStack, SinglePicture, count_nifti_frames, open_picture
from pe_monai.data.video import VIDEO_SUFFIXES, VideoClip
from pe_monai.errors import FrameError, one_line

ITK_STACK_SUFFIXES = (".nrrd", ".mha", ".mhd")


def open_clip(path: str | Path) -> Clip:
    """Open a clip; its frames are decoded when they are asked for.

    MP4, AVI, MOV, MKV, WMV and MPEG (with the extra ``video``); GIF, TIFF, APNG and WebP of several frames; NIfTI of
    (W, H, F), (W, H, 1, F), (W, H, 1, F, 3) or RGB pixels; NRRD and MetaImage, which alone are held in memory; any
    single picture as a clip of one frame. A NIfTI states a pixel size if its unit is a length, an ImageJ TIFF if its
    unit is, NRRD and MetaImage unless it is 1 x 1 mm; pictures and videos state none.

    Args:
        path: the file. DICOM is for :func:`pe_monai.dicom.reader.open_ultrasound`.

    Raises:
        FrameError: one line that names the file, what is wrong and what to do.
    """
    path = Path(path)
    try:
        return _open(path)
    except FrameError as e:
        text = str(e)
        raise FrameError(text if text.startswith(f"{path}: ") else f"{path}: {text}") from e
    except Exception as e:  # decoders raise whatever they like on bad bytes
        raise FrameError(
            f"{path}: cannot be read ({one_line(e, path=path)}); check that it is complete, or export it again"
        ) from e


def is_clip(path: str | Path) -> bool:
    """Whether a file is a video or, by its header, a stack of several pictures; not so for DICOM.

    A file that cannot be read is none, so that whoever reads it as a frame says what is wrong.
    """
    path = Path(path)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return True
    try:
        return path.is_file() and not is_dicom(path) and _count_frames(path) > 1
    except Exception:
        return False


def _open(path: Path) -> Clip:
    if not path.is_file():
        return SinglePicture(path)  # says what is wrong
    if path.stat().st_size == 0:
        raise FrameError("is empty (0 bytes); export it again")
    if is_dicom(path):
        raise FrameError("is DICOM; give it as a study")
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoClip(path)
    if not is_clip(path):
        return SinglePicture(path)
    if path.name.lower().endswith(NIFTI_SUFFIXES):
        return NiftiStack(path)
    return ItkStack(path) if path.suffix.lower() in ITK_STACK_SUFFIXES else PictureStack(path)


def _count_frames(path: Path) -> int:
    name = path.name.lower()
    if name.endswith(PICTURE_SUFFIXES):
        with open_picture(path) as picture:
            return 2 if getattr(picture, "is_animated", False) else 1
    if name.endswith(NIFTI_SUFFIXES):
        return count_nifti_frames(nibabel.load(path).header)
    if name.endswith(ITK_STACK_SUFFIXES):
        with quiet_itk():
            header = read_itk_header(path)
        return int(np.prod([header.GetDimensions(i) for i in range(2, header.GetNumberOfDimensions())], dtype=int))
    return 1
