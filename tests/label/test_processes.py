# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A training ends with its server, and the model stays as it was."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from label_service import fill, png, serve, still

pytest.importorskip("monailabel", reason="MONAI Label is not installed; see constraints-label.txt")
psutil = pytest.importorskip("psutil")
requests = pytest.importorskip("requests")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_training_ends_with_its_server(tmp_path, how):
    folder = fill(tmp_path / "studies")
    with serve(folder, tmp_path / "log.txt") as server:
        for number in range(3):
            address = f"{server.url}/datastore/label?image=still{'abc'[number]}_001"
            assert requests.put(address, files={"label": ("x.png", png(still(number)))}, timeout=60).ok
        assert requests.post(f"{server.url}/train/effusion", json={"max_epochs": 500}, timeout=60).ok
        for _ in range(600):
            if (folder / ".pe_monai/training/data").is_dir():
                break
            time.sleep(0.1)
        (training,) = psutil.Process(server.process.pid).children()
        server.process.send_signal(how)
        server.process.wait(30)
        alive = psutil.wait_procs([training], timeout=10)[1]
        # nobody may be there to take note of the end of a process that has lost its parent
        assert all(process.status() == psutil.STATUS_ZOMBIE for process in alive)
    assert not list((folder / ".pe_monai").glob("models/*"))
    assert len(list((folder / "labels/final").glob("*.png"))) == 3


def test_a_training_in_line_does_not_begin_when_the_server_ends(monkeypatch):
    from monailabel.utils.async_tasks import utils

    from pe_monai.label import processes

    end = threading.Event()
    executor = ThreadPoolExecutor(max_workers=1)
    running, in_line = executor.submit(end.wait, 60), executor.submit(end.wait, 60)
    monkeypatch.setitem(utils.background_executors, "train", executor)
    processes.stop_tasks()
    end.set()
    assert in_line.cancelled() and not running.cancelled()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--device", "nonsense"], "device 'nonsense' cannot be used here"),
        (["--bundle", "no-such-folder"], "name the folder of a MONAI bundle"),
        (["--port", "99999"], "must be at most 65535"),
        (["--origin", "viewer.example"], "must be such as http://viewer.example:3000"),
    ],
)
def test_a_server_that_cannot_start_says_why_in_a_line(tmp_path, options, reason):
    pytest.importorskip("monailabel", reason="MONAI Label is not installed; see constraints-label.txt")
    command = [sys.executable, "-m", "pe_monai", "label", "--studies", str(tmp_path), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and reason in done.stderr and "Traceback" not in done.stderr
