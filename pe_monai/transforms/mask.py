# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Decoding of annotation files into effusion masks: the one decoder and the one threshold of the project."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_numpy, convert_to_tensor

from pe_monai.errors import FrameError

THRESHOLD = 127
MAX_SOFT_SHARE = 0.1
MAX_INDICES = 8


def check_mask(planes: np.ndarray, name: object) -> np.ndarray:
    """Refuse what :class:`DecodeMask` would read as a mask, often as an empty one, though it is none.

    Args:
        planes: (C, H, W) with 1 channel or 3 (RGB) or more, 0 to 255.
        name: of the file, for the error.

    Returns:
        What to decode: a grey picture saved as RGB has one channel, so that 0 and 1 are a mask there, too.

    Raises:
        FrameError: it has colours, many shades, or is a label map of another index than 1 or of several.
    """
    if (planes == planes[:1]).all():
        planes = planes[:1]
    elif planes[0:3:2].any():
        raise FrameError(f"{name}: is no mask, it has colours; give masks that are 0 and 255, grey or green.")
    if ((planes > 31) & (planes < 224)).any(axis=0).mean() > MAX_SOFT_SHARE:
        raise FrameError(f"{name}: is no mask, it has many shades of grey; give masks that are 0 and 255, or 0 and 1.")
    if len(planes) == 1 and 1 < planes.max() <= THRESHOLD:
        values = np.unique(planes)
        if len(values) <= MAX_INDICES:
            found = list_values(values)
            raise FrameError(f"{name}: is no mask, it is {found}; give masks that are 0 and 255, or 0 and 1.")
    return planes


def list_values(values: np.ndarray) -> str:
    """Numbers as a sentence has them: 0, 1 and 2; of many the first and the last."""
    if len(values) > MAX_INDICES:
        return f"{values[0]:g} to {values[-1]:g}"
    *others, last = [f"{value:g}" for value in values]
    return f"{', '.join(others)} and {last}" if others else last


class DecodeMask(Transform):
    """Turn an annotation image into a binary effusion mask.

    The published data set paints the effusion softly (0 to 255) into the green channel of an RGB picture; red and blue
    are empty. Annotation tools write grey pictures of 0 and 255, or label maps of 0 and 1. All of them come out alike.

    Args:
        threshold: a pixel is effusion where its value is above this, in 0 to 255. A grey annotation without any value
            above 1 is a label map, and effusion where it is above 0.
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        if not 0 <= threshold < 255:
            raise ValueError(f"threshold must be in [0, 255), got {threshold}.")
        self.threshold = threshold

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """Decode one annotation.

        Args:
            img: (C, H, W) with 1 channel (grey or label map), 3 (RGB) or 4 (RGBA), values 0 to 255.

        Returns:
            (1, H, W) float32, 1 inside the effusion, 0 elsewhere; a MetaTensor stays one.

        Raises:
            ValueError: the number of channels is another.
        """
        img = convert_to_tensor(img, track_meta=True)
        channels = img.shape[0]
        if channels not in (1, 3, 4):
            raise ValueError(f"an annotation has 1, 3 or 4 channels, got an array of shape {tuple(img.shape)}.")
        values = img[0:1] if channels == 1 else img[1:2]
        is_label_map = channels == 1 and values.numel() > 0 and values.max() <= 1
        return (values > (0 if is_label_map else self.threshold)).to(torch.float32)


def decode_mask(planes: np.ndarray, name: object) -> np.ndarray:
    """The effusion in an annotation, once :func:`check_mask` has found it to be one.

    Args:
        planes: (C, H, W) with 1 channel or 3 (RGB) or more, 0 to 255.
        name: of the file, for the error.

    Returns:
        (H, W) bool.

    Raises:
        FrameError: it is no mask.
    """
    return DecodeMask()(torch.from_numpy(np.array(check_mask(planes, name))))[0].numpy() > 0


class DecodeMaskd(MapTransform):
    """Dictionary version of :class:`DecodeMask`.

    Args:
        keys: of the annotations.
        threshold: see :class:`DecodeMask`.
        allow_missing_keys: whether an annotation may be absent.
        image_key: of the frame, whose height and width an annotation must have where the frame is there.

    Raises:
        FrameError: an annotation is no mask, see :func:`check_mask`, or of another size than its frame: what is cut out
            of both would not match.
    """

    def __init__(
        self,
        keys: KeysCollection,
        threshold: float = THRESHOLD,
        allow_missing_keys: bool = False,
        image_key: str = "image",
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.decode = DecodeMask(threshold)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        d = dict(data)
        frame = d.get(self.image_key)
        for key in self.key_iterator(d):
            name = getattr(d[key], "meta", {}).get("filename_or_obj", key)
            if isinstance(frame, torch.Tensor) and frame.shape[1:] != d[key].shape[1:]:
                own, wanted = (f"{array.shape[-1]} wide x {array.shape[-2]} high" for array in (d[key], frame))
                raise FrameError(f"{name}: is {own}, its frame is {wanted}; give the annotation of this frame.")
            channels = len(check_mask(convert_to_numpy(d[key]), name))
            d[key] = self.decode(d[key][:channels])
        return d
