# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The whole path, a frame's file in and a mask's file out, in every runtime, and what each costs in Dice."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.timing import in_turns, table
from pe_monai.data import write_picture
from pe_monai.errors import ExportError
from pe_monai.inferers import has_fast_bf16
from pe_monai.predictor import Prediction, Predictor
from pe_monai.runtimes import open_export
from pe_monai.runtimes.accuracy import mean_dice, with_session

REFERENCE = "torch fp32, one frame at a time"


def predictors(bundle: str | None, exports: Sequence[str]) -> dict[str, Predictor]:
    """A predictor for each runtime that is installed, and for each exported network."""
    plain = Predictor(bundle, "cpu", overrides={"amp": False})
    found = {"torch fp32": plain}
    if has_fast_bf16():
        found["torch bf16"] = Predictor(bundle, "cpu")
    for amp in (False, True) if has_fast_bf16() else (False,):
        try:
            predictor = Predictor(bundle, "cpu", overrides={"amp": amp}, runtime="openvino")
            found[predictor.settings["runtime"]] = predictor
        except ExportError as e:
            print(e, file=sys.stderr)
    for folder in exports:
        session = open_export(folder, plain.weights_sha256)
        found[f"{session.name} (exported)"] = with_session(plain, session)
    return found


def compare_paths(
    rivals: dict[str, Predictor], files: Sequence[Path], labels: dict[Path, np.ndarray], rounds: int
) -> tuple[str, dict[str, tuple[float, float]]]:
    """Table of predictors, timed in turns on the same files, and (frames a second, mean Dice) of each.

    Args:
        rivals: predictors by name.
        files: frames.
        labels: annotated frames, see :func:`pe_monai.runtimes.accuracy.read_labels`; empty measures no Dice.
        rounds: how often each is timed.
    """
    with tempfile.TemporaryDirectory() as folder:
        works: dict[str, Callable[[], object]] = {
            REFERENCE: lambda: [_segment(rivals["torch fp32"], [file], folder) for file in files]
        }
        for name, predictor in rivals.items():
            works[name] = lambda predictor=predictor: _segment(predictor, files, folder)
        times = in_turns(works, rounds, len(files))
    dice = {name: mean_dice(predictor, labels) if labels else None for name, predictor in rivals.items()}
    dice[REFERENCE] = dice["torch fp32"]
    rows = []
    for name, taken in times.items():
        loss = None if dice[name] is None else dice["torch fp32"] - dice[name]
        speed = times[REFERENCE].wall / taken.wall
        rows.append([name, 1e3 / taken.wall, speed, taken.cpu, dice[name], loss])
    head = ["runtime", "frames a second", "ratio", "CPU ms a frame", "mean Dice", "loss of Dice"]
    return table(head, rows), {name: (1e3 / times[name].wall, dice[name]) for name in times}


def _segment(predictor: Predictor, files: Sequence[Path], folder: str) -> None:
    for number, (_, outcome) in enumerate(predictor.predict_files(files)):
        if isinstance(outcome, Prediction):
            write_picture(outcome.mask.astype(np.uint8) * 255, Path(folder) / f"{number}.png")
