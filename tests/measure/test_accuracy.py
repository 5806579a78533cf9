# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Error of the measurement itself, on true masks of phantom frames whose thickness is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pe_monai.data import PhantomFrame, phantom_frame
from pe_monai.measure import measure_frame

MAX_ERROR_MM = 0.3


def draw(seed: int, sizes, aspects) -> PhantomFrame:
    """A phantom of any thickness at any depth that leaves room for it."""
    rng = np.random.default_rng([seed, 77])
    thickness = float(np.exp(rng.uniform(*np.log((2, 40)))))
    depth = float(rng.uniform(max(8, 9 + thickness / 4), 30))
    return phantom_frame(
        seed,
        size=sizes[seed % len(sizes)],
        thickness_mm=thickness,
        depth_cm=depth,
        pixel_aspect=aspects[seed // len(sizes) % len(aspects)],
    )


def errors_of(frames) -> np.ndarray:
    return np.array([measure_frame(f.mask, f.sector, f.spacing).thickness_mm - f.thickness_mm for f in frames])


def test_mean_error_over_thickness_depth_size_and_aspect():
    errors = errors_of(draw(seed, [(224, 320), (300, 400)], [1.0, 0.5, 2.0]) for seed in range(60))
    assert np.abs(errors).mean() <= MAX_ERROR_MM
    assert abs(errors.mean()) <= 0.1


def test_rows_merged():
    """Pixels twice as high as wide, made from a frame by taking the mean of two rows."""
    errors = []
    for seed in range(24):
        frame = phantom_frame(seed, size=(300, 400), thickness_mm=3 + 1.4 * seed, depth_cm=18)
        coverage = ndimage.uniform_filter1d(frame.coverage.astype(float), 2, axis=0)[1::2]
        spacing = (2 * frame.spacing[0], frame.spacing[1])
        errors.append(measure_frame(coverage > 127, frame.sector[1::2], spacing).thickness_mm - frame.thickness_mm)
    assert np.abs(errors).mean() <= MAX_ERROR_MM


@pytest.mark.slow
@pytest.mark.parametrize("low,high", [(2, 5), (5, 10), (10, 20), (20, 40)])
@pytest.mark.parametrize("size", [(224, 320), (480, 640), (600, 800), (768, 1024)])
def test_every_thickness_and_size(low, high, size):
    """`pytest -m slow -s tests/measure/test_accuracy.py` prints the errors."""
    frames = []
    for seed in range(30):
        rng = np.random.default_rng([seed, low])
        thickness = float(rng.uniform(low, high))
        depth = float(rng.uniform(max(8, 9 + thickness / 4), 30))
        frames.append(
            phantom_frame(
                seed,
                size=size,
                thickness_mm=thickness,
                depth_cm=depth,
                pixel_aspect=[1.0, 0.5, 0.7, 1.5, 2.0][seed % 5],
            )
        )
    errors = errors_of(frames)
    print(
        f"\n{low}-{high} mm, {size[0]} x {size[1]}: mean absolute error {np.abs(errors).mean():.3f} mm, "
        f"bias {errors.mean():+.3f}, sd {errors.std():.3f}, worst {np.abs(errors).max():.2f}"
    )
    assert np.abs(errors).mean() <= MAX_ERROR_MM
