# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The study as a user runs it: real trainings in processes of their own, killed in the middle and started again."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
from small_bundle import python_environment, run_python

from pe_monai.data import phantom_frame, write_phantom_dataset
from pe_monai.data.labelme_writer import write_annotation
from pe_monai.experiment.runs import only_one
from pe_monai.weights import sha256_of

EPOCHS = 5
SETTINGS = ["spatial_size=[48,64]", "network_def#channels=[4,8,8]", f"max_epochs={EPOCHS}", "batch_size=2"]
SETTINGS += ["learning_rate=0.01", "val_interval=1", "cache_workers=1"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_phantom_dataset(tmp_path_factory.mktemp("study") / "data", clips_per_fold=5)


def command(data: Path, output: Path, rows: str) -> list[str]:
    arguments = ["study", "--data", str(data), "-o", str(output), "--rows", rows, "--set", *SETTINGS]
    return [sys.executable, "-m", "pe_monai", *arguments]


@contextmanager
def past_epoch(started: list[str], cwd: Path, run: Path, epoch: int) -> Iterator[subprocess.Popen]:
    """Start a study and hand it over as soon as a training is past an epoch."""
    with subprocess.Popen(
        started, cwd=cwd, env=python_environment(), stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 240
        table = run / "metrics.csv"
        while process.poll() is None and time.monotonic() < deadline:
            if table.is_file() and len(table.read_text().splitlines()) > epoch:
                break
            time.sleep(0.005)
        assert process.poll() is None, "the study was over before it could be ended"
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_a_study_told_to_end_takes_its_training_with_it(data, tmp_path):
    output = tmp_path / "study"
    with past_epoch(
        command(data, output, "paper_baseline"), tmp_path, output / "runs/clip/paper_baseline", 1
    ) as process:
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
        with only_one(output):  # which its training would hold, too
            pass


def test_two_rows_run_end_to_end_and_a_killed_study_goes_on_to_the_same_end(data, tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    done = run_python(command(data, straight, "table1"), tmp_path, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "trained and scored" in done.stdout and str(straight / "study.html") in done.stdout

    row = "paper_baseline"
    run = killed / "runs" / "clip" / row
    with past_epoch(command(data, killed, row), tmp_path, run, epoch=2) as process:
        os.killpg(process.pid, signal.SIGKILL)
    assert not (run / "trained.json").exists()
    done = run_python(command(data, killed, row), tmp_path, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "resumed after epoch" in (run / "training.log").read_text()
    assert json.loads((run / "trained.json").read_text())["resumed"] is True
    ends = [torch.load(folder / "runs/clip" / row / "last.pt", weights_only=True) for folder in (straight, killed)]
    assert [end["epoch"] for end in ends] == [EPOCHS, EPOCHS]
    for name, tensor in ends[0]["network"].items():
        assert torch.equal(tensor, ends[1]["network"][name]), name
    scores = [(folder / "runs/clip" / row / "scores/frames.csv").read_text() for folder in (straight, killed)]
    assert scores[0] == scores[1]

    files = [path for path in (straight / "runs").rglob("*") if path.is_file()]
    before = {path: (path.stat().st_mtime_ns, sha256_of(path)) for path in files}
    done = run_python(command(data, straight, "table1"), tmp_path, timeout=600)
    assert done.returncode == 0 and done.stdout.count("was done before") == 2
    assert {path: (path.stat().st_mtime_ns, sha256_of(path)) for path in files} == before
    assert [path for path in (straight / "runs").rglob("*") if path.is_file() and path not in before] == []

    # the page's own command scores annotations drawn in LabelMe: the paper's external rows
    for number, thickness in enumerate((15, 0, 20)):
        frame = phantom_frame(number, thickness_mm=thickness)
        write_annotation(tmp_path / "annotated" / f"心超{number}", frame.image, frame.mask, "积液")
    python = [sys.executable, "-m", "pe_monai"]
    done = run_python([*python, "labelme", "annotated", "-o", "external"], tmp_path)
    assert done.returncode == 0, done.stderr
    line = next(line for line in (straight / "study.md").read_text().splitlines() if "evaluate" in line and row in line)
    arguments = shlex.split(line.replace("PROTOCOL", "clip"))[1:]
    done = run_python([*python, *arguments], tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text())
    assert (summary["positives"]["frames"], summary["negatives"]["frames"]) == (2, 1)
    assert 0 < summary["positives"]["mean"]["frame_accuracy"]["value"] <= 1
