# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Thickness against time over a clip, as a figure."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np

_LINE, _DOUBT, _MARK, _SOFT = "#0b5cad", "#d1581c", "#1c2530", "#8a94a0"


def thickness_curve(
    times: Sequence[float],
    thickness: Sequence[float],
    reliable: Sequence[bool],
    *,
    unit: str,
    time_label: str,
    robust: float | None = None,
    largest: int | None = None,
    limits: Mapping[str, float] | None = None,
    kind: str = "svg",
) -> bytes:
    """Draw the largest thickness of each frame.

    Args:
        times: of each frame, in what ``time_label`` says.
        thickness: of each frame, NaN where it could not be used.
        reliable: whether each frame is; the others get a mark of their own.
        unit: of the thickness.
        time_label: of the horizontal axis.
        robust: the robust maximum, drawn as a line.
        largest: place of the frame with the largest thickness, from 0.
        limits: lower limits of grades by name, drawn as lines where they lie within the figure.
        kind: "svg" or "png".
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    at, thick, trusted = np.asarray(times, float), np.asarray(thickness, float), np.asarray(reliable, bool)
    # fonts of the viewer and no chance in identifiers: equal clips give equal files
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "pe_monai", "font.family": "sans-serif"}):
        figure = Figure(figsize=(9, 3), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        few = len(at) <= 200
        axes.plot(at, thick, color=_LINE, linewidth=1.4, marker="o" if few else "", markersize=3, label="frame")
        doubt = ~trusted & np.isfinite(thick)
        if doubt.any():
            axes.plot(at[doubt], thick[doubt], "x", color=_DOUBT, markersize=6, label="frame judged unreliable")
        top = np.nanmax(thick) if np.isfinite(thick).any() else 0
        top = max(1.15 * top, 5.0)
        if robust is not None:
            axes.axhline(robust, color=_MARK, linewidth=1, linestyle="--", label=f"robust maximum, {robust:.1f} {unit}")
        if largest is not None:
            axes.plot(
                at[largest],
                thick[largest],
                "o",
                color=_MARK,
                fillstyle="none",
                markersize=10,
                label=f"largest, {thick[largest]:.1f} {unit}",
            )
        for name, limit in (limits or {}).items():
            if 0 < limit < top:
                axes.axhline(limit, color=_SOFT, linewidth=0.7, linestyle=":")
                axes.annotate(
                    name,
                    (1, limit),
                    xycoords=("axes fraction", "data"),
                    xytext=(-4, 2),
                    textcoords="offset points",
                    ha="right",
                    color=_SOFT,
                    fontsize=8,
                )
        axes.set(xlabel=time_label, ylabel=f"thickness, {unit}", ylim=(0, top))
        axes.margins(x=0.02)
        axes.grid(axis="y", color="#e4e8ec", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.18), ncols=4, frameon=False, fontsize=8)
        out = io.BytesIO()
        figure.savefig(out, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return out.getvalue()
