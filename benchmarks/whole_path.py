# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The whole path, a frame's file in and a mask's file out, in every runtime, and what each costs in Dice."""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from benchmarks.timing import in_turns, table
from pe_monai.data import FrameFile, write_picture
from pe_monai.errors import ExportError
from pe_monai.inferers import has_fast_bf16
from pe_monai.predictor import Prediction, Predictor
from pe_monai.runtimes import open_export
from pe_monai.runtimes.accuracy import mean_dice, with_session
from pe_monai.workers import segment_part, start_process, unfinished_parts

REFERENCE = "torch fp32, one frame at a time"


def predictors(bundle: str | None, exports: Sequence[str], flip: bool = True) -> dict[str, Predictor]:
    """A predictor for each runtime that is installed, and for each exported network.

    Args:
        bundle: folder of the bundle; None for the one that ships.
        exports: folders that ``pe_monai export`` wrote.
        flip: whether mirrored frames are averaged as the bundle says, or not at all.
    """
    settings = {} if flip else {"flip": False}
    plain = Predictor(bundle, "cpu", overrides={"amp": False, **settings})
    found = {"torch fp32": plain}
    if has_fast_bf16():
        found["torch bf16"] = Predictor(bundle, "cpu", overrides=settings)
    for amp in (False, True) if has_fast_bf16() else (False,):
        try:
            predictor = Predictor(bundle, "cpu", overrides={"amp": amp, **settings}, runtime="openvino")
            found[predictor.settings["runtime"]] = predictor
        except ExportError as e:
            print(e, file=sys.stderr)
    for folder in exports:
        session = open_export(folder, plain.weights_sha256)
        found[f"{session.name} (exported)"] = with_session(plain, session)
    return found


def compare_paths(
    rivals: dict[str, Predictor],
    files: Sequence[Path],
    labels: dict[Path, np.ndarray],
    rounds: int,
    shared: Mapping[str, tuple] | None = None,
    workers: int = 2,
) -> tuple[str, dict[str, tuple[float, float]]]:
    """Table of predictors, timed in turns on the same files, and (frames a second, mean Dice) of each.

    Args:
        rivals: predictors by name.
        files: frames.
        labels: annotated frames, see :func:`pe_monai.runtimes.accuracy.read_labels`; empty measures no Dice.
        rounds: how often each is timed.
        shared: which of them to time in several processes, too: arguments of the predictor by name. Their CPU time is
            spent elsewhere and not in the table.
        workers: how many processes.
    """
    shared = shared or {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        works: dict[str, Callable[[], object]] = {
            REFERENCE: lambda: [_segment(rivals["torch fp32"], [file], folder) for file in files]
        }
        for name, predictor in rivals.items():
            works[name] = lambda predictor=predictor: _segment(predictor, files, folder)
        for name, model in shared.items():
            works[f"{name}, {workers} processes"] = stack.enter_context(_processes(model, files, folder, workers))
        times = in_turns(works, rounds, len(files))
    dice = {name: mean_dice(predictor, labels) if labels else None for name, predictor in rivals.items()}
    dice[REFERENCE] = dice["torch fp32"]
    dice |= {f"{name}, {workers} processes": dice[name] for name in shared}  # the same masks: a test says so
    rows = []
    for name, taken in times.items():
        loss = None if dice[name] is None else dice["torch fp32"] - dice[name]
        speed = times[REFERENCE].wall / taken.wall
        cpu = None if name.endswith("processes") else taken.cpu
        rows.append([name, 1e3 / taken.wall, speed, cpu, dice[name], loss])
    head = ["runtime", "frames a second", "ratio", "CPU ms a frame", "mean Dice", "loss of Dice"]
    return table(head, rows), {name: (1e3 / times[name].wall, dice[name]) for name in times}


def _segment(predictor: Predictor, files: Sequence[Path], folder: str) -> None:
    for number, (_, outcome) in enumerate(predictor.predict_files(files)):
        if isinstance(outcome, Prediction):
            write_picture(outcome.mask.astype(np.uint8) * 255, Path(folder) / f"{number}.png")


@contextlib.contextmanager
def _processes(model: tuple, files: Sequence[Path], folder: str, workers: int) -> Iterator[Callable[[], object]]:
    """What segments the files in processes that are started once, as ``pe_monai segment --workers`` does."""
    parts = unfinished_parts([FrameFile(file, str(number)) for number, file in enumerate(files)], (), model[2] // 2)
    arguments = (model, (Path(folder), False, False, False), max(1, torch.get_num_threads() // workers))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, start_process, arguments) as pool:
        yield lambda: list(pool.map(segment_part, parts))
