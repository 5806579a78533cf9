# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A table that is written as Markdown, as CSV and into the page from one source."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pe_monai.evaluation.bootstrap import Estimate

Cell = str | int | float | Estimate | None


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        title: its heading.
        digits: decimals of its numbers.
        factor: what its numbers are shown multiplied by, 100 for per cent; the CSV has them as they are.
        signed: whether numbers show a plus, as differences do.
    """

    title: str
    digits: int = 3
    factor: float = 1
    signed: bool = False

    def show(self, cell: Cell) -> str:
        """A cell as text, an estimate with its interval in brackets."""
        if cell is None:
            return ""
        if isinstance(cell, str):
            return cell
        if isinstance(cell, Mapping):
            if cell["value"] is None:
                return ""
            text = self._number(cell["value"])
            return (
                text if cell["low"] is None else f"{text} ({self._number(cell['low'])} to {self._number(cell['high'])})"
            )
        return self._number(cell)

    def _number(self, value: float) -> str:
        if not math.isfinite(value):
            return ""
        return f"{value * self.factor:{'+' if self.signed else ''},.{self.digits}f}"


@dataclass(frozen=True)
class Table:
    """A table of the study.

    Attributes:
        name: of its CSV file.
        title: its heading.
        note: what a reader must know.
        columns: the columns.
        rows: their cells.
    """

    name: str
    title: str
    note: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]

    @property
    def texts(self) -> list[list[str]]:
        """The cells as text."""
        return [[column.show(cell) for column, cell in zip(self.columns, row, strict=True)] for row in self.rows]

    def markdown(self) -> str:
        """Heading, note and table."""
        lines = [f"## {self.title}", "", self.note, ""] if self.note else [f"## {self.title}", ""]
        lines.append("| " + " | ".join(column.title for column in self.columns) + " |")
        lines.append("|" + "---|" * len(self.columns))
        lines += ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in self.texts]
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """Full precision; a column with estimates has its interval's ends in two columns of its own."""
        wide = [any(isinstance(row[place], Mapping) for row in self.rows) for place in range(len(self.columns))]
        head: list[str] = []
        for column, is_wide in zip(self.columns, wide, strict=True):
            head += [column.title, f"{column.title}, low", f"{column.title}, high"] if is_wide else [column.title]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(head)
        for row in self.rows:
            writer.writerow(
                [value for cell, is_wide in zip(row, wide, strict=True) for value in _spread(cell, is_wide)]
            )
        return out.getvalue()


def _spread(cell: Cell, is_wide: bool) -> list[Any]:
    if isinstance(cell, Mapping):
        return ["" if cell[end] is None else f"{cell[end]:.6g}" for end in ("value", "low", "high")]
    text = "" if cell is None else f"{cell:.6g}" if isinstance(cell, float) else cell
    return [text, "", ""] if is_wide else [text]
