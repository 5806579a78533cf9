# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Isolation of the ultrasound sector: one grey channel in [0, 1], exactly zero wherever there is no echo image.

A painted (green) and an ordinary (black) background lead to the same sector, so that a network never sees how the
surroundings of the sector were drawn.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends

from pe_monai.transforms.sector_tissue import SectorNotFoundError, find_sector

__all__ = ["IsolateSector", "IsolateSectord", "SectorNotFoundError", "find_sector"]


def _rgb_or_grey_uint8(image: Any) -> np.ndarray:
    """Return ``image`` (C, H, W) as uint8 (H, W, C) with C 1 or 3; see `IsolateSector` for what is accepted."""
    if isinstance(image, MetaTensor):  # which copies its metadata with every operation
        image = image.as_tensor()
    array = image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    if array.ndim != 3 or array.shape[0] not in (1, 3, 4):
        raise ValueError(
            f"image must be (C, H, W) with 1, 3 or 4 channels, got shape {tuple(array.shape)}: put EnsureChannelFirst "
            "before IsolateSector, and pass one frame at a time"
        )
    array = array[:3]
    if array.dtype != np.uint8:
        array = array.astype(np.float32)
        low, high = float(array.min()), float(array.max())
        if not (low >= 0.0 and high <= 255.0):
            raise ValueError(
                f"image values must lie in 0..255, got {low:g}..{high:g}: scale 16-bit or signed frames in the reader"
            )
        # An integer image whose maximum is 1 is a dark image, not a normalised one: only floats can mean [0, 1].
        if high <= 1.0 and not _is_integer(image):
            array = array * 255.0
        array = np.rint(array).astype(np.uint8)
    # a view of planes: what follows computes with one channel after another
    return np.moveaxis(np.ascontiguousarray(array), 0, -1)


def _is_integer(image: Any) -> bool:
    if isinstance(image, torch.Tensor):
        return not image.dtype.is_floating_point
    return np.issubdtype(np.asarray(image).dtype, np.integer)


def _grey(frame: np.ndarray) -> np.ndarray:
    """Return the per-pixel median over the channels of uint8 ``frame`` (H, W, C) as float32 (H, W) in [0, 1].

    The median of grey pixels is their luminance; a pixel painted with one pure colour has median 0, and a rim pixel
    that blends tissue with a green key falls back to the tissue's part.
    """
    if frame.shape[-1] == 1:
        return frame[..., 0].astype(np.float32) / 255.0
    red, green, blue = (frame[..., channel] for channel in range(3))
    median = np.maximum(np.minimum(red, green), np.minimum(np.maximum(red, green), blue))
    return median.astype(np.float32) / 255.0


class IsolateSector(Transform):
    """Turn a frame into one grey channel that is zero outside the ultrasound sector.

    Input is (C, H, W), row first as displayed, with C 1 (grey), 3 (RGB) or 4 (RGBA, alpha dropped), values 0..255 of
    any integer or float type; float data whose maximum is at most 1 are read as [0, 1]. Output is float32 (1, H, W) in
    [0, 1]. No pixel moves: the transform pushes nothing on ``applied_operations``, and metadata are kept.
    """

    backend = [TransformBackends.NUMPY]

    def __call__(self, image: Any) -> Any:
        """Return the grey sector of ``image``.

        Raises:
            SectorNotFoundError: if the frame holds no sector.
            ValueError: if the shape or the value range is not the one described above.
        """
        return self.with_sector(image)[0]

    def with_sector(self, image: Any) -> tuple[Any, Any]:
        """Return the grey frame and the sector, both float32 (1, H, W) and both with the metadata of ``image``.

        Args:
            image: see the class.

        Returns:
            The grey frame in [0, 1] and the sector as 0 or 1. `MetaTensor` in, `MetaTensor` out, each with its own
            copy of ``meta`` and ``applied_operations``; otherwise plain tensors.
        """
        frame = _rgb_or_grey_uint8(image)
        sector = find_sector(frame)
        return _like(image, _grey(frame) * sector), _like(image, sector)


def _like(image: Any, plane: np.ndarray) -> torch.Tensor:
    """Return ``plane`` (H, W) as (1, H, W) on the device and with the metadata of ``image``."""
    data = torch.from_numpy(np.ascontiguousarray(plane[None], dtype=np.float32))
    if isinstance(image, torch.Tensor):
        data = data.to(image.device)
    if isinstance(image, MetaTensor) and get_track_meta():
        return MetaTensor(data).copy_meta_from(image)
    return data


class IsolateSectord(MapTransform):
    """Dictionary version of `IsolateSector` that also stores the sector.

    Args:
        keys: the frames to isolate.
        sector_key: where to put the sector, float32 (1, H, W), 0 or 1, with the same metadata and
            ``applied_operations`` as the frame so that ``Invertd`` treats both alike; None stores none. With several
            ``keys`` the last one's sector is stored.
        allow_missing_keys: do not raise when a key is missing.
    """

    backend = IsolateSector.backend

    def __init__(
        self, keys: KeysCollection, sector_key: str | None = "sector", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.sector_key = sector_key
        self.isolate = IsolateSector()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the grey frames and, if asked for, the sector.

        Raises:
            SectorNotFoundError: as `IsolateSector`; names the frame's file if it came from one.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            try:
                result[key], sector = self.isolate.with_sector(result[key])
            except SectorNotFoundError as e:
                name = getattr(result[key], "meta", {}).get("filename_or_obj")
                raise SectorNotFoundError(f"{name}: {e}" if name else str(e)) from None
            if self.sector_key is not None:
                result[self.sector_key] = sector
        return result
