# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Measurements as people read them."""

from __future__ import annotations

from pe_monai.measure import ClipMeasurement


def caption(clip: ClipMeasurement, number: int) -> str:
    """A frame's number, time and thickness, and whether it is reliable."""
    frame = clip.frames[number - 1]
    parts = [f"Frame {number} of {len(clip.frames)}"]
    if clip.times_ms is not None:
        parts.append(f"{clip.times_ms[number - 1] / 1000:.2f} s")
    parts.append(length(frame.thickness_mm, frame.thickness_px) if frame.regions else "no effusion outlined")
    if not frame.reliable:
        parts.append("unreliable")
    return ", ".join(parts)


def length(known: float | None, pixels: float | None) -> str:
    """A length with its unit; in pixels where that in mm is not known."""
    if known is not None:
        return f"{known:.1f} mm"
    return "–" if pixels is None else f"{pixels:.1f} px"


def area(known: float | None, pixels: int) -> str:
    """An area with its unit, likewise."""
    return f"{pixels} px" if known is None else f"{known:.1f} cm²"


def share(value: float | None) -> str:
    """A share in percent."""
    return "–" if value is None else f"{100 * value:.1f} %"
