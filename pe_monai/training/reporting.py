# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a training shows and writes while it runs."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar

from pe_monai.data import write_whole


def loss_of(output: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> float:
    """The loss of a batch in a trainer's output, decollated (as MONAI's trainers give it) or not."""
    item = output if isinstance(output, Mapping) else output[0]
    return float(torch.as_tensor(item["loss"]).detach())


def progress_bar(desc: str = "epoch") -> ProgressBar:
    """A progress bar over an epoch's batches on a terminal; none where the output is no terminal."""
    return ProgressBar(desc=desc, disable=not sys.stderr.isatty())


class CsvMetrics:
    """Handler of a trainer, behind its validation: one row an epoch with the metrics of both, as CSV.

    The file is replaced whole; rows of epochs that are trained again after a resume are replaced. In epochs without a
    validation its columns stay empty.

    Args:
        path: the file.
        validator: engine of the validation.
    """

    def __init__(self, path: str | Path, validator: Engine) -> None:
        self.path = Path(path)
        self.validator = validator

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        epoch = engine.state.epoch
        row = {"epoch": epoch, **engine.state.metrics}
        if self.validator.state.epoch == epoch:
            row.update(self.validator.state.metrics)
        rows: list[dict] = []
        if self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = [old for old in csv.DictReader(file) if int(old["epoch"]) < epoch]
        rows.append(row)
        columns = list(dict.fromkeys(name for old in rows for name in old))
        write_whole(self.path, lambda partial: _write_rows(partial, columns, rows))


def _write_rows(path: Path, columns: list[str], rows: list[dict]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
