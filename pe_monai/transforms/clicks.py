# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Clicks on a frame: as maps that a network takes, and as a user would set them on what an outline has wrong."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from scipy import ndimage
from skimage.measure import label, regionprops

SIGMA = 2.0  # pixels of the network's input
GREY, POSITIVE, NEGATIVE, MASK = range(4)


def add_click(click_map: torch.Tensor, row: float, column: float, sigma: float = SIGMA) -> torch.Tensor:
    """A map of clicks with one more in it: ``max(map, exp(-distance² / (2 sigma²)))``.

    Args:
        click_map: (H, W) in [0, 1].
        row: of the click, in pixels of the map.
        column: likewise.
        sigma: width of a click in pixels.
    """
    rows = torch.arange(click_map.shape[0], dtype=click_map.dtype)[:, None] - row
    columns = torch.arange(click_map.shape[1], dtype=click_map.dtype)[None] - column
    return torch.maximum(click_map, torch.exp(-(rows.square() + columns.square()) / (2 * sigma**2)))


def error_centre(mask: np.ndarray, truth: np.ndarray) -> tuple[int, int, bool] | None:
    """Where a user would click next: the middle of the largest region that an outline has wrong.

    The middle is the pixel farthest from the region's border, the frame's border included, as in the NoC protocol of
    Xu et al., Deep interactive object selection, CVPR 2016.

    Args:
        mask: the outline, (H, W) bool.
        truth: what it should be, (H, W) bool.

    Returns:
        Row, column, and whether effusion is missing there (True) or marked without being there; None without an error.
    """
    best: tuple[float, np.ndarray, tuple[slice, slice], bool] | None = None
    for wrong, positive in ((truth & ~mask, True), (mask & ~truth, False)):
        for region in regionprops(label(wrong, connectivity=1)):
            if best is None or region.area > best[0]:
                best = region.area, region.image, region.slice, positive
    if best is None:
        return None
    _, region, (rows, columns), positive = best
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return rows.start + int(row), columns.start + int(column), positive


class CorrectErrord(MapTransform):
    """One round of a simulated correction, as :class:`monai.apps.deepgrow.interaction.Interaction` calls it.

    The prediction becomes the mask to go on from, and a click is set in the middle of its largest error. The keys hold
    the network's input, (4, H, W): grey frame, clicks inside, clicks outside, mask to correct.

    Args:
        keys: key of the network's input.
        pred_key: logits, (1, H, W).
        label_key: truth, (1, H, W).
        probability_key: key of the probability that there is a click at all, which MONAI fills in.
        jitter: largest shift of a click from the middle, in pixels, along each axis; nobody hits it.
        threshold: of the probabilities, in (0, 1).
        allow_missing_keys: whether keys may be missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        pred_key: str = "pred",
        label_key: str = "label",
        probability_key: str = "probability",
        jitter: float = 0.0,
        threshold: float = 0.5,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.pred_key = pred_key
        self.label_key = label_key
        self.probability_key = probability_key
        self.jitter = jitter
        self.threshold = threshold

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        d = dict(data)
        truth = d[self.label_key][0].numpy() > 0.5
        # NumPy's own generator: a training seeds it with each epoch
        if np.random.random() >= float(d[self.probability_key]):
            return d
        mask = torch.sigmoid(d[self.pred_key][0]).numpy() > self.threshold
        for key in self.key_iterator(d):
            d[key] = put_click(d[key], mask, error_centre(mask, truth), self.jitter)
        return d


def put_click(inputs: torch.Tensor, mask: np.ndarray, click: Sequence | None, jitter: float = 0.0) -> torch.Tensor:
    """The network's input with another mask to correct and one more click.

    Args:
        inputs: (4, H, W): grey frame, clicks inside, clicks outside, mask to correct.
        mask: (H, W) bool.
        click: row, column, and whether it is inside the effusion; None for no further click.
        jitter: largest random shift along each axis, in pixels.
    """
    inputs = inputs.clone()
    inputs[MASK] = torch.from_numpy(mask.astype(np.float32))
    if click is not None:
        row, column = np.add(click[:2], np.random.uniform(-jitter, jitter, 2) if jitter else 0)
        channel = POSITIVE if click[2] else NEGATIVE
        inputs[channel] = add_click(inputs[channel], float(row), float(column))
    return inputs
