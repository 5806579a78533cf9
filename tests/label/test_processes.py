# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A training ends with its server, and the model stays as it was."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from label_service import fill, png, serve, still

pytest.importorskip("monailabel", reason="MONAI Label is not installed; see constraints-label.txt")
psutil = pytest.importorskip("psutil")
requests = pytest.importorskip("requests")
processes = pytest.importorskip("pe_monai.label.processes")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_training_ends_with_its_server(tmp_path, how):
    folder = fill(tmp_path / "studies")
    with serve(folder, tmp_path / "log.txt") as server:
        for number in range(3):
            address = f"{server.url}/datastore/label?image=still{'abc'[number]}_001"
            assert requests.put(address, files={"label": ("x.png", png(still(number)))}, timeout=60).ok
        address = f"{server.url}/train/effusion?enqueue=true"
        for _ in range(2):
            assert requests.post(address, json={"max_epochs": 500}, timeout=60).ok
        assert requests.delete(f"{server.url}/train/", timeout=60).ok
        answer = requests.get(f"{server.url}/train/?all=true", timeout=60)
        assert [task["status"] for task in answer.json()] == ["STOPPED"] * 2
        assert requests.post(address, json={"max_epochs": 500}, timeout=60).ok
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


@pytest.fixture
def trainings(monkeypatch):
    """Starts a training that does nothing for a minute, in MONAI Label's line."""
    from monailabel.utils.async_tasks import utils

    def run(task, method, callback):
        time.sleep(0.2)  # what MONAI Label does before there is a process to end
        with subprocess.Popen(["sleep", "60"]) as process:
            utils.background_processes[method][task["id"]] = process
            task["status"] = "RUNNING"

    for kept in ("tasks", "processes", "executors"):
        monkeypatch.setattr(utils, f"background_{kept}", {})
    monkeypatch.setattr(processes, "background_executors", utils.background_executors)
    monkeypatch.setattr(utils, "_task_func", run)
    return lambda: utils.run_background_task({}, "train")


@pytest.mark.parametrize("wait", [0, 0.5])
@pytest.mark.parametrize("end", [processes.stop_tasks, lambda: processes.stop("train")])
def test_trainings_in_line_are_stopped_with_the_one_that_runs(trainings, wait, end):
    tasks = [trainings() for _ in range(3)]
    time.sleep(wait)
    end()
    time.sleep(0.5)
    assert [task["status"] for task in tasks] == ["STOPPED"] * 3
    later = trainings()
    time.sleep(0.5)
    assert later["status"] == "RUNNING" and processes.stop("train") is later
    assert later["status"] == "STOPPED" and processes.stop("train") is None


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
