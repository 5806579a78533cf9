# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs of ``pe_monai dicomweb`` that kill themselves (SIGKILL) after their nth step; then one that may end.

Usage: python crashing_run.py URL FOLDER FIRST STEP

For n = FIRST, FIRST + STEP, … each in a queue and an archive of its own, until a run ends before its nth step. A step
is a rename, a folder removed, or an answer of the server: what happens between two of them leaves no trace.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import requests
from service_stubs import stub_study

import pe_monai.studies
from pe_monai.cli import main


def run(url: str, queue: Path, crash_at: int) -> int:
    """In a process of its own; returns its wait status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    left = crash_at

    def counted(original):
        def call(*arguments, **options):
            nonlocal left
            result = original(*arguments, **options)
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    Path.replace = counted(Path.replace)
    requests.Session.send = counted(requests.Session.send)
    shutil.rmtree = counted(shutil.rmtree)
    pe_monai.studies.process_study = stub_study
    sys.stdout = sys.stderr = open(queue.with_suffix(".log"), "a")
    os._exit(main(["dicomweb", "--url", url, "--queue", str(queue), "--since", "2024-01-01", "--store-back"]))


if __name__ == "__main__":
    base, folder, first, step = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    for number in range(first, 500, step):
        url, queue = f"{base}/{number}", folder / str(number)
        killed = os.WIFSIGNALED(run(url, queue, number))
        again = run(url, queue, 0)
        print(number, int(killed), os.waitstatus_to_exitcode(again), flush=True)
        if not killed:
            break
