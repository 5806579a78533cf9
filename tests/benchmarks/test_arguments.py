# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks refuse numbers that nothing can be measured with, before they measure."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "command",
    [
        "speed -o OUT --rounds 0",
        "speed -o OUT --frames 0",
        "speed -o OUT --threads 0",
        "speed -o OUT --workers 0",
        "scaling --epochs 0",
        "scaling --rounds 0",
        "training --frames 0",
        "training --rounds 0",
        "training --threads 0",
        "clicks --data DATA --every 0",
        "active_learning --data DATA -o OUT --steps 0",
        "active_learning --data DATA -o OUT --clips 0 5",
    ],
)
def test_numbers_below_one_are_refused_by_name(monkeypatch, capsys, tmp_path, command):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2])
    monkeypatch.chdir(tmp_path)
    name, *arguments = command.split()
    benchmark = importlib.import_module(f"benchmarks.{name}")
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit, match="2"):
        benchmark.main()
    assert f"argument {arguments[-2] if arguments[-1] == '0' else '--clips'}: must be a whole number of 1 or more" in (
        capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())


def test_a_device_that_is_not_there_is_refused_by_name(monkeypatch, capsys):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2])
    benchmark = importlib.import_module("benchmarks.training")
    monkeypatch.setattr(sys, "argv", ["training", "--device", "cuda:99"])
    with pytest.raises(SystemExit, match="2"):
        benchmark.main()
    assert "argument --device: device 'cuda:99' cannot be used here" in capsys.readouterr().err


def test_why_a_training_failed_is_said(monkeypatch, tmp_path):
    """MONAI prints the chain of its own errors behind the one that a user can mend."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2])
    scaling = importlib.import_module("benchmarks.scaling")
    monkeypatch.setattr(sys, "argv", ["scaling", "--data", str(tmp_path), "--rounds", "1"])
    with pytest.raises(SystemExit, match="DatasetError: .*no folder data/fold1"):
        scaling.main()
