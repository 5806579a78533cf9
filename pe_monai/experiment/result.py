# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run left on disk, read back for the tables and figures."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pe_monai.evaluation import read_rows, summarise
from pe_monai.evaluation.summary import SIZE_BINS
from pe_monai.experiment.runs import Run, RunError

SIZES = (*SIZE_BINS[:2], (1001, None))


@dataclass(frozen=True)
class Result:
    """Scores of a run on the test frames of its protocol.

    Attributes:
        run: the run.
        rows: one a frame, as :func:`pe_monai.evaluation.score_frame` gives them.
        summary: of the rows, with the study's groups of sizes.
        epochs: one row an epoch of the training.
    """

    run: Run
    rows: list[dict[str, Any]]
    summary: dict[str, Any]
    epochs: list[dict[str, float]]

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return self.run.datalist.protocol

    @property
    def name(self) -> str:
        """Name of the row."""
        return self.run.row.name


def read_result(run: Run) -> Result:
    """Read the report of a run that was scored.

    Raises:
        RunError: a file of it is missing or damaged.
    """
    try:
        rows = read_rows(run.scores / "frames.csv")
        written = json.loads((run.scores / "summary.json").read_text(encoding="utf-8"))
        summary = summarise(rows, written["protocol"], sizes=SIZES)
        summary["calibration"] = written["calibration"]
        epochs = _read_epochs(run.folder / "metrics.csv")
    except (OSError, ValueError, TypeError, KeyError) as e:
        raise RunError(
            f"{run.row.name}, {run.datalist.protocol}: its results cannot be read ({e}); remove {run.folder} to have "
            "it done anew."
        ) from e
    return Result(run, rows, summary, epochs)


def _read_epochs(path: Path) -> list[dict[str, float]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(text) if text else math.nan for name, text in row.items()} for row in csv.DictReader(file)]
