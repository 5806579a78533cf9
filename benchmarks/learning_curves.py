# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Rounds of active learning as CSV, as tables of means, ranges and paired differences, and as curves."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.timing import table
from pe_monai.experiment.figures import as_svg
from pe_monai.measure.tables import write_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STRATEGIES = ("random", "epistemic")
SCORES = ("mean_dice", "pooled_dice", "missed_share", "false_effusion_share", "frame_auc")
LISTS = ("labelled", "next")
COLUMNS = ("seed", "strategy", "clips", "frames", *SCORES, *LISTS)
COLOURS = {"random": "#8a94a0", "epistemic": "#0b5cad"}

Rows = Sequence[dict[str, Any]]


def write_rounds(path: Path, rows: Rows) -> None:
    """Write all rounds, whole or not at all."""
    joined = ({**row, **{name: " ".join(row[name]) for name in LISTS}} for row in rows)
    write_table(path, COLUMNS, ({name: row[name] for name in COLUMNS if name in row} for row in joined))


def read_rounds(path: Path) -> list[dict[str, Any]]:
    """The rounds that a file holds; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: _value(name, text) for name, text in row.items()} for row in csv.DictReader(file)]


def tables(rows: Rows) -> str:
    """For each score its mean and range over the seeds, and the difference of the strategies seed by seed."""
    return "\n".join(f"{name}\n\n{_table(rows, name)}" for name in SCORES if all(row.get(name) != "" for row in rows))


def _table(rows: Rows, name: str) -> str:
    found = {(row["strategy"], row["clips"], row["seed"]): row for row in rows}
    seeds, counts = (sorted({row[key] for row in rows}) for key in ("seed", "clips"))
    lines, differences = [], []
    for count in counts:
        paired = [
            seed for seed in seeds if all((strategy, count, seed) in found for strategy in STRATEGIES)
        ]  # of a seed that was cut short, the rounds that both have
        if not paired:
            continue
        values = {s: [found[s, count, seed][name] for seed in paired] for s in STRATEGIES}
        frames = [f"{statistics.mean(found[s, count, seed]['frames'] for seed in paired):.0f}" for s in STRATEGIES]
        gaps = [b - a for a, b in zip(*values.values(), strict=True)]
        differences.append(gaps)
        lines.append([count, " / ".join(frames), *(_range(values[s]) for s in STRATEGIES), _spread(gaps)])
    whole = [gaps for gaps in differences[1:] if len(gaps) == len(seeds)]
    if whole:
        lines.append(["all but the start", "", "", "", _spread([statistics.mean(g) for g in zip(*whole, strict=True)])])
    return table(["clips", "frames", *(f"{s}, mean (range)" for s in STRATEGIES), "epistemic - random (SD)"], lines)


def draw(rows: Rows) -> bytes:
    """Dice against labelled clips and against labelled frames, as SVG: bold the mean, thin each seed."""

    def draw_part(axes: Axes, unit: str) -> None:
        for strategy in STRATEGIES:
            mine, colour = [row for row in rows if row["strategy"] == strategy], COLOURS[strategy]
            curves = [[row for row in mine if row["seed"] == s] for s in sorted({row["seed"] for row in mine})]
            for curve in curves:
                x, y = ([row[key] for row in curve] for key in (unit, "mean_dice"))
                axes.plot(x, y, color=colour, linewidth=0.7, alpha=0.6)
            whole = list(zip(*curves, strict=False))  # rounds that every seed has
            x, y = ([statistics.mean(row[key] for row in r) for r in whole] for key in (unit, "mean_dice"))
            axes.plot(x, y, color=colour, linewidth=2, marker="o", markersize=4, label=strategy)
        axes.set(xlabel=f"labelled {unit}", ylabel="mean Dice, frames of fold 8 with effusion")
        axes.legend(frameon=False, loc="lower right")

    return as_svg("active_learning", ("clips", "frames"), draw_part)


def _value(name: str, text: str) -> Any:
    if name in LISTS:
        return text.split()
    return text if name == "strategy" or text == "" else float(text) if name in SCORES else int(text)


def _range(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _spread(gaps: Sequence[float]) -> str:
    spread = f" ({statistics.stdev(gaps):.3f})" if len(gaps) > 1 else ""
    return f"{statistics.mean(gaps):+.3f}{spread}: " + ", ".join(f"{gap:+.3f}" for gap in gaps)
