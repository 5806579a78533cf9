# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Trainings and other tasks run in processes of their own; none outlives the server that started it."""

from __future__ import annotations

import os
import threading
import time

from monailabel.utils.async_tasks.utils import background_executors, background_processes, stop_background_task

_SERVER = "PE_MONAI_LABEL_SERVER"


def announce_server() -> None:
    """Tell the tasks that this process starts from now on whom they work for."""
    os.environ[_SERVER] = str(os.getpid())


def stop_tasks() -> None:
    """End the tasks that this process has started, which it would otherwise wait for before it ends."""
    for executor in list(background_executors.values()):  # or the next in line would begin, and be waited for
        executor.shutdown(wait=False, cancel_futures=True)
    for method in list(background_processes):
        stop_background_task(method)


def end_with_server() -> None:
    """In the process of a task: let it end once its server is gone, however that ended. Elsewhere do nothing."""
    server = os.getppid()
    if os.environ.get(_SERVER) == str(server):
        threading.Thread(target=_end_after, args=(server,), daemon=True).start()


def _end_after(server: int) -> None:
    while os.getppid() == server:  # who loses its parent is given another
        time.sleep(1)
    os._exit(1)
