# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Timing of rivals in turns, so that whatever else the machine does meets all of them alike, and tables of ratios."""

from __future__ import annotations

import csv
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm


@dataclass(frozen=True)
class Times:
    """Medians over the rounds, in milliseconds for each frame.

    Attributes:
        wall: time that passes.
        cpu: time of all threads of the process together.
    """

    wall: float
    cpu: float


def in_turns(rivals: Mapping[str, Callable[[], object]], rounds: int, frames: int) -> dict[str, Times]:
    """Run each rival once untimed and then once in every round.

    Args:
        rivals: what to call, by name; each works on the same frames.
        rounds: how often.
        frames: how many frames a call works on.
    """
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in rivals}
    for turn in tqdm(range(rounds + 1), unit="round", disable=None, file=sys.stderr):
        for name, work in rivals.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            if turn:
                taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: Times(*(1e3 * statistics.median(times) / frames for times in zip(*pairs, strict=True)))
        for name, pairs in taken.items()
    }


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers with as many digits as mean something."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_text(cell) for cell in line) + " |" for line in lines) + "\n"


def write_csv(markdown: str, path: Path) -> None:
    """A Markdown table as CSV."""
    lines = [line.strip("| ").split(" | ") for line in markdown.splitlines() if line.startswith("| ")]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(line for line in lines if set(line[0]) != {"-"})


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:.4f}" if abs(cell) < 1 else f"{cell:.2f}" if abs(cell) < 10 else f"{cell:.0f}"
    return "" if cell is None else str(cell)
