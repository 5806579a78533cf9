# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Masks and maps as files of the kind and geometry of the frame they belong to, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from monai.data import ITKWriter, NibabelWriter
from PIL import Image

from pe_monai.data.files import FrameFile, collect_frames
from pe_monai.whole import write_whole

if TYPE_CHECKING:
    from ignite.engine import Engine


def result_suffix(source: str | Path) -> str:
    """Suffix of a mask or map for a frame: NIfTI, NRRD and MetaImage keep theirs, all else (also DICOM) gets .png."""
    name = Path(source).name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return ".nii" if name.endswith(".nii") else ".nii.gz"
    if name.endswith((".nrrd", ".mha")):
        return name[name.rindex(".") :]
    return ".mha" if name.endswith(".mhd") else ".png"


def write_picture(picture: np.ndarray, path: str | Path) -> Path:
    """Write uint8 (H, W) or (H, W, 3) as PNG."""
    # the least compression: half the time or less, and no larger for an overlay; a mask has under a kilobyte anyway
    return write_whole(path, lambda partial: Image.fromarray(picture).save(partial, format="PNG", compress_level=1))


def write_map(values: np.ndarray, stem: str | Path, source: str | Path, meta: Mapping) -> Path:
    """Write a mask or a map in the kind and geometry of the frame it belongs to.

    Args:
        values: (H, W) as displayed, uint8.
        stem: path of the file without its suffix; see :func:`result_suffix`.
        source: the frame's file; only its name is looked at.
        meta: metadata of the frame as ``FrameReader`` gives them; the affine is carried over.
    """
    suffix = result_suffix(source)
    path = Path(f"{stem}{suffix}")
    if suffix == ".png":
        return write_picture(values, path)
    affine = np.asarray(meta.get("affine", np.eye(4)), dtype=np.float64)
    is_nifti = suffix.startswith(".nii")
    writer = (NibabelWriter if is_nifti else ITKWriter)(output_dtype=np.uint8)
    # x first; ITK has no 2D image in a plane other than x-y, so such a frame is written as one slice of a volume
    is_flat = is_nifti or np.allclose(affine[2, :2], 0)
    writer.set_data_array(np.ascontiguousarray(values.T), channel_dim=None, squeeze_end_dims=is_flat)
    writer.affine = affine  # set_metadata would resample, and cannot do so out of the x-y plane
    return write_whole(path, lambda partial: writer.write(partial))


class MaskSaver:
    """Ignite handler of an evaluator: writes each predicted mask, 0 or 255, in the kind and geometry of its frame.

    Reads ``pred``, (W, H) and x first as the frame's file has it, from the engine's decollated output.

    Args:
        output_dir: folder of the masks; they keep their path below ``root``.
        root: folder that the frames lie in.
    """

    def __init__(self, output_dir: str | Path, root: str | Path) -> None:
        self.output_dir = Path(output_dir)
        self.root = root
        self.frames: dict[str, FrameFile] = {}

    def attach(self, engine: Engine) -> None:
        from ignite.engine import Events  # slow to import, and who writes a mask alone needs none of it

        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def start(self, engine: Engine) -> None:
        self.frames = {str(frame.path): frame for frame in collect_frames([self.root])[0]}

    def __call__(self, engine: Engine) -> None:
        for item in engine.state.output:
            mask, source = item["pred"], item["pred"].meta["filename_or_obj"]
            values = (mask.cpu().numpy() > 0).astype(np.uint8).T * 255
            write_map(values, self.output_dir / self.frames[source].stem, source, mask.meta)


__all__ = ["MaskSaver", "result_suffix", "write_map", "write_picture", "write_whole"]
