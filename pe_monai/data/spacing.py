# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Pixel sizes, times and places that files state, and which of them are to be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

SPACING_RANGE_MM = (0.01, 10.0)
MILLIMETRES = {"mm": 1.0, "meter": 1000.0, "micron": 0.001}
MILLISECONDS = {"sec": 1000.0, "msec": 1.0, "usec": 0.001}
_NRRD_MILLIMETRES = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001}
_NRRD_HEADER = 65536
_LEAST_SINE = 1e-6


def trusted_spacing(row: float, column: float) -> tuple[float, float] | None:
    """A stated pixel size, or None if it says nothing.

    1 x 1 mm is what writers put where nothing is known, and beyond 0.01 to 10 mm no ultrasound picture is.

    Args:
        row: distance of neighbouring rows in mm.
        column: distance of neighbouring columns in mm.
    """
    low, high = SPACING_RANGE_MM
    if not (low <= row <= high and low <= column <= high) or np.allclose((row, column), 1.0, atol=1e-6):
        return None
    return float(row), float(column)


def same_spacing(one: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    """Whether two pixel sizes, (row, column) in mm, are the same to 0.1 %; None, an unknown one, is like None alone."""
    if one is None or other is None:
        return one is other
    return bool(np.allclose(one, other, rtol=1e-3, atol=0))


def nifti_spacing(header: Any) -> tuple[float, float] | None:
    """(row, column) pixel size in mm that a NIfTI header states with a unit of length."""
    factor = MILLIMETRES.get(header.get_xyzt_units()[0])
    if factor is None:
        return None
    column, row = (float(zoom) * factor for zoom in header.get_zooms()[:2])
    return trusted_spacing(row, column)


def nifti_interval(header: Any) -> float | None:
    """Time between two frames in ms that a NIfTI header states with a unit of time."""
    zooms = header.get_zooms()
    interval = MILLISECONDS.get(header.get_xyzt_units()[1], 0) * float(zooms[3] if len(zooms) > 3 else 0)
    return interval if interval > 0 else None


def itk_spacing(header: Any, path: Path) -> tuple[float, float] | None:
    """(row, column) pixel size in mm of a NRRD or MetaImage; mm by their convention, unless NRRD names another unit."""
    factor = _nrrd_millimetres(path) if path.suffix.lower() == ".nrrd" else 1.0
    if factor is None:
        return None
    return trusted_spacing(header.GetSpacing(1) * factor, header.GetSpacing(0) * factor)


def sound_affine(affine: np.ndarray) -> np.ndarray:
    """An affine by which a frame can be written again, which no writer does with a singular one.

    Where planes have no distance or lie in the frame, as programs for pictures write it, the third axis is made
    upright. One that is not finite or leaves the frame no area says nothing, and is taken for the identity.

    Args:
        affine: 4x4.
    """
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and np.isfinite(lengths).all() and lengths[:2].all()):
        return np.eye(4)
    across, down = (affine[:3, :2] / lengths[:2]).T
    upright = np.cross(across, down)
    if (area := np.linalg.norm(upright)) < _LEAST_SINE:
        return np.eye(4)
    if abs(upright @ affine[:3, 2]) < _LEAST_SINE * lengths[2] or not lengths[2]:
        affine = affine.copy()
        affine[:3, 2] = upright / area
    return affine


def _nrrd_millimetres(path: Path) -> float | None:
    """Millimetres in the unit of a NRRD's first spatial axis; None if it is unknown. See the format's "space units"."""
    with path.open("rb") as file:
        lines = file.read(_NRRD_HEADER).partition(b"\n\n")[0].decode("ascii", "replace").splitlines()
    for line in lines:
        field, _, value = line.partition(":")
        if field.strip().lower() in ("units", "space units"):
            named = [unit for unit in value.replace('"', " ").split() if unit.lower() != "none"]
            return _NRRD_MILLIMETRES.get(named[0]) if named else 1.0
    return 1.0
