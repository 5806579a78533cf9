# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Ranges that random transforms draw from."""

from __future__ import annotations

from collections.abc import Sequence

Range = Sequence[float]


def as_range(name: str, value: Range, above: float, most: float = float("inf")) -> tuple[float, float]:
    """Check a range (low, high) with above < low <= high <= most.

    Raises:
        ValueError: it is none; the message names the argument.
    """
    try:
        low, high = (float(v) for v in value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be two numbers (low, high), got {value!r}.") from None
    if not above < low <= high <= most:
        raise ValueError(f"{name} must rise from above {above:g} to at most {most:g}, got {low:g} to {high:g}.")
    return low, high
