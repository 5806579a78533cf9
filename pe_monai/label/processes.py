# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Trainings and other tasks run in processes of their own; none outlives the server that started it."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import Any

import psutil
from monailabel.utils.async_tasks.utils import background_executors, processes, stop_background_task, tasks

_SERVER = "PE_MONAI_LABEL_SERVER"
_START_S = 1.0


def announce_server() -> None:
    """Tell the tasks that this process starts from now on whom they work for."""
    os.environ[_SERVER] = str(os.getpid())


def stop_tasks() -> None:
    """End the tasks that this process has started, which it would otherwise wait for before it ends."""
    for method in list(background_executors):
        stop(method)


def stop(method: str) -> dict[str, Any] | None:
    """End the running task of a kind and those in line behind it, of which MONAI Label would begin the next.

    Args:
        method: "train", "scoring" or "batch_infer".

    Returns:
        The one that was running; None without one.
    """
    waiting = [task for task in tasks(method) if task["status"] == "SUBMITTED"]
    executor = background_executors.pop(method, None)  # the next task gets another
    if executor is not None:
        executor.shutdown(wait=False, cancel_futures=True)
    end = time.monotonic() + _START_S
    while waiting and waiting[0]["status"] == "SUBMITTED" and not processes(method) and time.monotonic() < end:
        time.sleep(0.01)  # its process may be about to start, and can be ended only then
    stopped = None
    with suppress(psutil.NoSuchProcess):  # it has just ended by itself
        stopped = stop_background_task(method)
    for task in waiting:
        if task["status"] == "SUBMITTED":
            task["status"] = "STOPPED"
    return stopped


def end_with_server() -> None:
    """In the process of a task: let it end once its server is gone, however that ended. Elsewhere do nothing."""
    server = os.getppid()
    if os.environ.get(_SERVER) == str(server):
        threading.Thread(target=_end_after, args=(server,), daemon=True).start()


def _end_after(server: int) -> None:
    while os.getppid() == server:  # who loses its parent is given another
        time.sleep(1)
    os._exit(1)
