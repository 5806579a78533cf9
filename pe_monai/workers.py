# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Segmenting many files in several processes, with the results of one."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from pe_monai.errors import DeviceError, FrameError

if TYPE_CHECKING:  # a process that is started imports this module before it knows how much of MONAI it needs
    from pe_monai.data import FrameFile
    from pe_monai.predictor import Predictor
    from pe_monai.results import ResultFolder

_process: dict[str, Any] = {}


def unfinished_parts(frames: Sequence[FrameFile], done: Collection[str], size: int) -> list[list[FrameFile]]:
    """The frames in the parts that the network sees them in, without the parts that are done.

    A part is done again as a whole: in other company, a network in bfloat16 need not give a frame the same last digit.

    Args:
        frames: all of them, in order.
        done: paths of those that are done.
        size: frames in a part.
    """
    parts = [list(frames[start : start + size]) for start in range(0, len(frames), size)]
    return [part for part in parts if not all(str(frame.path) in done for frame in part)]


def segment_in_processes(
    parts: Sequence[list[FrameFile]], model: tuple, results: ResultFolder, workers: int
) -> Iterator[FrameError | None]:
    """Segment parts of files, each in one of several processes, and note their rows as they come.

    Args:
        parts: see :func:`unfinished_parts`.
        model: arguments of :class:`pe_monai.predictor.Predictor`.
        results: where the results go; its rows are written by this process alone.
        workers: processes; they share the threads that PyTorch has here.

    Yields:
        For each frame what was wrong with it, or None.

    Raises:
        DeviceError: a process ended, as it does where memory runs out.
    """
    import torch

    threads = max(1, torch.get_num_threads() // workers)
    folder = (results.folder, results.overlays, results.probabilities, results.sectors)
    # a forked process would inherit locks of threads it does not have
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, start_process, (model, folder, threads)) as pool:
        try:
            with _interrupts_held():  # processes start with the first parts
                futures = [pool.submit(segment_part, part) for part in parts]
            for future in as_completed(futures):
                for row, error in future.result():
                    results.add_row(row)
                    yield FrameError(error) if error else None
        except BrokenProcessPool as e:
            raise DeviceError(
                f"one of {workers} processes ended before its work was done (out of memory?); "
                "give fewer --workers and go on with --resume."
            ) from e
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C comes afterwards; processes that are started meanwhile never get it, not even before their first line."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_process(model: tuple, folder: tuple, threads: int) -> None:
    """Make a process ready for :func:`segment_part`: its predictor, where results go and which, and its threads."""
    from pe_monai.quick_start import import_monai_quickly, quiet_absent_decoder

    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    quiet_absent_decoder()
    if model[0] is None:
        import_monai_quickly()
    import torch

    from pe_monai.predictor import Predictor

    torch.set_num_threads(threads)
    predictor: Predictor = Predictor(*model)
    _process.update(predictor=predictor, folder=folder)


def _end_with_parent() -> None:
    """End this process with the one that started it: where that one is killed it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def segment_part(part: list[FrameFile]) -> list[tuple[dict, str | None]]:
    """Segment files in a process that was made ready; returns the row and the error of each."""
    from pe_monai.results import write_results

    path, *kinds = _process["folder"]
    outcomes = _process["predictor"].predict_files(frame.path for frame in part)
    written = (write_results(path, frame, outcome, *kinds) for frame, (_, outcome) in zip(part, outcomes, strict=True))
    return [(row, str(error) if error else None) for row, error in written]
