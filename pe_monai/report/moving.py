# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The part of a clip that moves: the ultrasound picture does, the text around it does not."""

from __future__ import annotations

import numpy as np
from skimage.measure import label
from skimage.morphology import convex_hull_image, disk, isotropic_closing, opening

_LEAST_CHANGE = 16  # grey levels: more than the noise of JPEG around letters
_LEAST_SHARE = 0.1  # of the frame: a counter or the ECG's trace changes, too, and is small


class MovingArea:
    """Collects the darkest and the brightest value of each pixel, frame by frame."""

    def __init__(self) -> None:
        self._low: np.ndarray | None = None
        self._high: np.ndarray | None = None

    def add(self, frame: np.ndarray) -> None:
        """Take in a frame: uint8 (H, W) or (H, W, 3), all of one size."""
        grey = frame if frame.ndim == 2 else np.median(frame, axis=-1).astype(np.uint8)
        if self._low is None or self._high is None:
            self._low, self._high = grey.copy(), grey.copy()
        else:
            np.minimum(self._low, grey, out=self._low)
            np.maximum(self._high, grey, out=self._high)

    def find(self) -> np.ndarray | None:
        """The convex hull of the largest area that moves, bool (H, W); None if no large one does."""
        if self._low is None or self._high is None:
            return None
        moves = opening(self._high - self._low > _LEAST_CHANGE, disk(1))
        joined = isotropic_closing(np.pad(moves, 8), 6)[8:-8, 8:-8]
        areas = label(joined)
        sizes = np.bincount(areas.ravel())[1:]
        if not sizes.size or sizes.max() < _LEAST_SHARE * areas.size:
            return None
        return convex_hull_image(areas == sizes.argmax() + 1)
