# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a frame's mask can be relied on, and if not, why."""

from __future__ import annotations

import numpy as np

from pe_monai.measure.uncertainty import frame_uncertainty

MIN_SECTOR_PX = 1000
MAX_UNCERTAINTY = 0.15
MIN_BRIGHTNESS = 60
MIN_CONTRAST = 20
MAX_SATURATED = 0.1


def judge_frame(
    mask: np.ndarray,
    sector: np.ndarray | None,
    probability: np.ndarray | None = None,
    frame: np.ndarray | None = None,
) -> str:
    """What speaks against a frame's mask. Only what is given is judged.

    - The sector is empty or below 1,000 pixels. A sector 15 cm deep then has pixels of about 5 mm, half of what parts
      a small from a moderate effusion.
    - The picture is unlike any that the network learned from. In the 4,097 frames of the published folds 1 to 8 the
      95th percentile of the sector's grey is at least 71, its standard deviation at least 25, and at most 7 % of it is
      at 250 or above; the limits here are 60, 20 and 10 %.
    - The mask's expected error (:func:`pe_monai.measure.uncertainty.frame_uncertainty`) is above 0.15. Of the shipped
      network's masks in fold 8 (508 frames), 33 were; the thickness was wrong by more than half in a third of them, in
      3 % of the others. Of the empty masks 14 were; 12 of these missed an effusion. The limit was chosen on that fold,
      from six between 0.10 and 0.25, so these figures flatter. A quarter of the empty masks below it miss fluid too: a
      reliable frame without effusion does not exclude one.

    Args:
        mask: effusion, (H, W), non-zero inside.
        sector: non-zero inside the sector, (H, W); None if unknown.
        probability: of effusion, (H, W), in [0, 1].
        frame: (H, W) or (H, W, C) uint8.

    Returns:
        The reasons, "" for none.
    """
    inside = np.ones(np.shape(mask), dtype=bool) if sector is None else np.asarray(sector) > 0
    if not inside.any():
        return "no sector"
    reasons = []
    if sector is not None and (size := int(inside.sum())) < MIN_SECTOR_PX:
        reasons.append(f"the sector has only {size} pixels")
    if frame is not None and sector is not None:
        grey = frame if frame.ndim == 2 else np.median(frame, axis=-1)
        reasons += _judge_grey(grey[inside])
    if probability is not None:
        error = frame_uncertainty(probability, mask, inside)
        if error > MAX_UNCERTAINTY:
            reasons.append(f"the outline is uncertain (expected error {error:.2f})")
    return "; ".join(reasons)


def _judge_grey(grey: np.ndarray) -> list[str]:
    brightness, contrast, saturated = np.percentile(grey, 95), grey.std(), (grey >= 250).mean()
    reasons = []
    if brightness < MIN_BRIGHTNESS:
        reasons.append(f"the picture is too dark (95th percentile of grey {brightness:.0f})")
    elif contrast < MIN_CONTRAST:
        reasons.append(f"the picture has too little contrast (standard deviation of grey {contrast:.0f})")
    if saturated > MAX_SATURATED:
        reasons.append(f"the gain is too high ({saturated:.0%} of the sector is white)")
    return reasons
