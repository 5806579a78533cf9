# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The handler of an evaluator that scores each frame and writes the report."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.utils import convert_to_tensor

from pe_monai.data import write_map
from pe_monai.evaluation.calibration import count_bins, summarise_calibration
from pe_monai.evaluation.markdown import render_markdown, warn_of_seen
from pe_monai.evaluation.predictions import relative_stem
from pe_monai.evaluation.scores import MIN_PIXELS, score_frame
from pe_monai.evaluation.summary import clip_units, eval_metrics, summarise

logger = logging.getLogger(__name__)

SCORED_KEYS = ("pred", "label", "probability", "sector")
REPORT_FILES = ("frames.csv", "summary.json", "summary.md")


class EvaluationReport:
    """Handler of an evaluator: one row a frame, and the summary when all are done.

    It needs an evaluator that decollates (MONAI's default) and is the only process. Per frame it reads ``pred``,
    ``probability``, ``label`` and ``sector`` (see :func:`pe_monai.evaluation.score_frame`) from the output, or from the
    batch what the output lacks, and from either, where they are there, the texts ``clip`` and ``exam``, the number
    ``fold`` and the image's file name.

    Writes ``frames.csv`` (an empty cell: undefined), ``summary.json`` and ``summary.md``, all three or none, and puts
    the main numbers into ``engine.state.metrics``.

    Args:
        output_dir: folder of the three files.
        protocol: how the frames were split from the training's: "clip", "exam", "paper" or another name.
        min_pixels: smallest truth, in pixels, of the frames called positive.
        samples: number of draws of the bootstrap.
        seed: its seed.
        masks_dir: folder to also write the predicted masks to, 0 or 255, each in the kind and geometry of its frame and
            with the frame's path below ``root``; None writes none.
        root: folder of the data set.
        trained_folds: folds that the weights were trained on; a report with frames of theirs says so.

    Attributes:
        rows: the frames so far.
    """

    def __init__(
        self,
        output_dir: str | Path,
        protocol: str = "",
        min_pixels: int = MIN_PIXELS,
        samples: int = 2000,
        seed: int = 0,
        masks_dir: str | Path | None = None,
        root: str | Path | None = None,
        trained_folds: Collection[int] = (),
    ) -> None:
        self.output_dir = Path(output_dir)
        self.protocol = protocol
        self.min_pixels = min_pixels
        self.samples = samples
        self.seed = seed
        self.masks_dir = None if masks_dir is None else Path(masks_dir)
        self.root = root
        self.trained_folds = sorted(trained_folds)
        self.rows: list[dict[str, Any]] = []
        self.bins: list[np.ndarray] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add)
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def start(self, engine: Engine) -> None:
        self.rows, self.bins = [], []

    def add(self, engine: Engine) -> None:
        """Score the frames of a batch.

        Raises:
            ValueError: the evaluator does not decollate, a key is missing, or a frame cannot be scored.
        """
        batch, output = engine.state.batch, engine.state.output
        if not (isinstance(batch, list) and isinstance(output, list)):
            raise ValueError("the evaluator must decollate its batches: leave its decollate at true.")
        for item in ({**inputs, **outputs} for inputs, outputs in zip(batch, output, strict=True)):
            name = _file_name(item) or f"frame {len(self.rows) + 1}"
            missing = [key for key in SCORED_KEYS if key not in item]
            if missing:
                raise ValueError(
                    f"{name}: neither batch nor output has {', '.join(missing)}; make it in the evaluator's "
                    "preprocessing or postprocessing."
                )
            try:
                scores = score_frame(*(item[key] for key in SCORED_KEYS))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            source = {key: _plain(item.get(key)) for key in ("fold", "clip", "exam")}
            self.rows.append({"image": name, **source, **scores})
            self.bins.append(count_bins(*(_array(item[key]) for key in ("probability", "label", "sector"))))
            if self.masks_dir is not None:
                self._save_mask(item, self.masks_dir)

    def _save_mask(self, item: Mapping[str, Any], folder: Path) -> None:
        mask = item["pred"]
        source = _path_of(item)
        if source is None:
            raise ValueError("a mask cannot be written: neither image nor label nor pred says which file it is of.")
        stem = folder / relative_stem(source, self.root)
        write_map((_array(mask)[0] > 0).astype(np.uint8).T * 255, stem, source, getattr(mask, "meta", {}))

    def finish(self, engine: Engine) -> None:
        summary = summarise(self.rows, self.protocol, self.min_pixels, self.samples, self.seed)
        summary["calibration"] = summarise_calibration(self.bins, clip_units(self.rows), self.samples, self.seed)
        seen = sum(row["fold"] in self.trained_folds for row in self.rows)
        if seen:
            summary["trained_on"] = {"frames": seen, "folds": self.trained_folds}
            logger.warning("%s", warn_of_seen(summary["trained_on"]))
        write_report(self.output_dir, self.rows, summary)
        metrics = eval_metrics(summary)
        engine.state.metrics.update(metrics)
        numbers = ", ".join(f"{name} {value:g}" for name, value in metrics.items())
        logger.info("report of %d frames in %s: %s", len(self.rows), self.output_dir, numbers)


def write_report(output_dir: str | Path, rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> None:
    """Write ``frames.csv``, ``summary.json`` and ``summary.md``; if one cannot be written, the old ones stay.

    Raises:
        OSError: the folder cannot be written to.
    """
    output_dir = Path(output_dir)
    contents = (_csv(rows), json.dumps(summary, indent=1, allow_nan=False) + "\n", render_markdown(summary))
    partials = [output_dir / f"{name}.{os.getpid()}.partial" for name in REPORT_FILES]
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        for partial, content in zip(partials, contents, strict=True):
            partial.write_text(content, encoding="utf-8", newline="")
        for partial, name in zip(partials, REPORT_FILES, strict=True):
            partial.replace(output_dir / name)
    except OSError as error:
        problem = f"the report cannot be written ({error.strerror}); free space or name another folder"
        raise OSError(error.errno, problem, str(output_dir)) from error
    finally:
        for partial in partials:
            # Where nothing can be written nothing can be removed either, and the first error is the one to tell.
            with contextlib.suppress(OSError):
                partial.unlink()


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else f"{value:.9g}"  # as many as tell two of float32 apart


def _file_name(item: Mapping[str, Any]) -> str:
    """Folder and name of the image's file: enough to find it in its data set, and nothing about the machine."""
    path = _path_of(item)
    return "" if path is None else Path(*path.parts[-2:]).as_posix()


def _path_of(item: Mapping[str, Any]) -> Path | None:
    for key in ("image", "label", "pred"):
        path = getattr(item.get(key), "meta", {}).get("filename_or_obj")
        if isinstance(path, (str, Path)) and str(path):
            return Path(path)
    return None


def _array(plane: Any) -> np.ndarray:
    return convert_to_tensor(plane, track_meta=False).cpu().numpy()


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.item()
    return "" if value is None else value
