# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The figures of the study: training curves, ROC, size against Dice, reliability, risk against coverage."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pe_monai.evaluation import MIN_PIXELS, frame_errors, risk_coverage, roc_curve
from pe_monai.experiment.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

Draw = Callable[["Axes", Result, dict[str, Any]], None]
COLOURS = ("#8a94a0", "#0b5cad", "#d1581c", "#2f8f5b", "#8b4fa8", "#b08900", "#1c2530", "#c2406e")
LINES = ("-", "--", ":")
_SOFT = "#8a94a0"
_WIDTH, _HEIGHT = 4.4, 3.7
_WIDE = 1000  # from the first to the last number of a logarithmic axis


def make_figures(results: Sequence[Result]) -> dict[str, bytes]:
    """All figures that the results have something for, as SVG, by name; one part a protocol."""
    drawings: dict[str, Draw] = {
        "training_loss": _draw_loss,
        "validation_dice": _draw_validation,
        "roc": _draw_roc,
        "size_dice": _draw_sizes,
        "reliability": _draw_reliability,
        "risk_coverage": _draw_risk,
    }
    chosen = {name: list(results) for name in drawings}
    chosen["roc"] = [result for result in results if result.summary["frame_auc"]["value"] is not None]
    chosen["size_dice"] = [result for result in results if result.summary["annotated"]["frames"]]
    return {name: _by_protocol(chosen[name], draw, name) for name, draw in drawings.items() if chosen[name]}


def _by_protocol(results: Sequence[Result], draw: Draw, name: str) -> bytes:
    protocols = list(dict.fromkeys(result.protocol for result in results))
    names = dict.fromkeys(result.name for result in results)
    styles = {
        row: {"color": COLOURS[n % len(COLOURS)], "linestyle": LINES[n // len(COLOURS) % len(LINES)]}
        for n, row in enumerate(names)
    }

    def draw_part(axes: Axes, protocol: str) -> None:
        for result in results:
            if result.protocol == protocol:
                draw(axes, result, styles[result.name])
        axes.set_title(f"protocol {protocol}", fontsize=10)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False, fontsize=8)

    return as_svg(name, protocols, draw_part, _HEIGHT + 0.18 * len(styles))


def as_svg(name: str, parts: Sequence[str], draw: Callable[[Axes, str], None], height: float = _HEIGHT) -> bytes:
    """A figure in the style of the study's, the same bytes from the same numbers.

    Args:
        name: its title, for who opens the file.
        parts: what each of the axes, side by side, shows.
        draw: draws one part.
        height: in inches.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "pe_monai", "font.family": "sans-serif", "font.size": 9}):
        figure = Figure(figsize=(_WIDTH * len(parts), height), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, part in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
            draw(axes, part)
            axes.grid(color="#e4e8ec", linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Title": name})
    return out.getvalue()


def _plain_numbers(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis: powers of ten, and 2 and 5 times these where that leaves room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.axes.autoscale_view()
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < _WIDE * low else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axis.set_minor_formatter(NullFormatter())


def _draw_loss(axes: Axes, result: Result, style: dict[str, Any]) -> None:
    epochs = [row["epoch"] for row in result.epochs]
    axes.plot(epochs, [row["train_loss"] for row in result.epochs], **style, label=result.name)
    axes.set(xlabel="epoch", ylabel="training loss (of the row's own kind)", yscale="log")
    axes.xaxis.get_major_locator().set_params(integer=True)
    _plain_numbers(axes.yaxis)


def _draw_validation(axes: Axes, result: Result, style: dict[str, Any]) -> None:
    known = [row for row in result.epochs if np.isfinite(row.get("val_dice_positives", np.nan))]
    axes.plot(
        [row["epoch"] for row in known],
        [row["val_dice_positives"] for row in known],
        **style,
        marker="o",
        markersize=3,
        label=result.name,
    )
    axes.set(xlabel="epoch", ylabel="validation Dice, frames with effusion", ylim=(0, 1))
    axes.xaxis.get_major_locator().set_params(integer=True)


def _draw_roc(axes: Axes, result: Result, style: dict[str, Any]) -> None:
    truth = np.array([row["truth_px"] for row in result.rows])
    kinds = np.where(truth >= MIN_PIXELS, 1.0, np.where(truth == 0, 0.0, np.nan))
    false, true = roc_curve(np.array([row["score"] for row in result.rows]), kinds)
    auc = result.summary["frame_auc"]["value"]
    axes.plot(false, true, **style, label=f"{result.name}, AUC {auc:.3f}")
    axes.set(xlabel="frames without effusion called positive", ylabel="frames with effusion found", aspect="equal")


def _draw_sizes(axes: Axes, result: Result, style: dict[str, Any]) -> None:
    rows = [row for row in result.rows if row["truth_px"] > 0]
    pixels, dice = (np.array([row[name] for row in rows]) for name in ("truth_px", "dice"))
    axes.scatter(pixels, dice, s=7, color=style["color"], alpha=0.3, linewidths=0)
    edges = np.geomspace(max(pixels.min(), 10), pixels.max() + 1, 8)
    place = np.digitize(pixels, edges)
    inside = [place == n for n in range(1, len(edges)) if (place == n).sum() >= 3]
    if inside:
        middles, medians = [np.median(pixels[m]) for m in inside], [np.median(dice[m]) for m in inside]
        axes.plot(middles, medians, **style, linewidth=1.8, marker="o", markersize=3, label=f"{result.name}, median")
    else:
        axes.plot([], [], **style, label=result.name)
    axes.axvline(MIN_PIXELS, color=_SOFT, linewidth=0.7, linestyle=":")
    axes.set(xlabel="annotated effusion, px", ylabel="Dice", xscale="log", ylim=(-0.02, 1.02))
    _plain_numbers(axes.xaxis)


def _draw_reliability(axes: Axes, result: Result, style: dict[str, Any]) -> None:
    calibration = result.summary["calibration"]
    bins = [part for part in calibration["bins"] if part["pixels"]]
    axes.plot((0, 1), (0, 1), color=_SOFT, linewidth=0.7, linestyle=":")
    axes.plot(
        [part["probability"] for part in bins],
        [part["effusion"] for part in bins],
        **style,
        marker="o",
        markersize=3,
        label=f"{result.name}, ECE {calibration['ece']['value']:.4f}",
    )
    axes.set(xlabel="predicted probability", ylabel="share of pixels with effusion", aspect="equal")


def _draw_risk(axes: Axes, result: Result, style: dict[str, Any]) -> None:
    values = np.array([row["uncertainty"] for row in result.rows])
    coverage, risk = risk_coverage(values, frame_errors(result.rows))
    correlation = result.summary["uncertainty"]["spearman"]["value"]
    label = result.name if correlation is None else f"{result.name}, Spearman {correlation:.2f}"
    axes.plot(coverage, risk, **style, label=label)
    axes.set(xlabel="coverage: share of frames kept, surest first", ylabel="mean error of the kept", xlim=(0, 1))
