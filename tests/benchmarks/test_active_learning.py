# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of active learning is fair: one start, no clip twice, nothing of the scoring fold; and it resumes."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path

import monai
import pytest
from monai.transforms import Randomizable

from pe_monai.data import load_datalist, write_phantom_dataset

COUNTS = (2, 4, 6)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_phantom_dataset(tmp_path_factory.mktemp("active") / "data", folds=(1, 2, 8), clips_per_fold=4)


@pytest.fixture
def bench(monkeypatch):
    """The module; it is run from the repository and not installed."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2])
    level = logging.root.manager.disable
    yield importlib.import_module("benchmarks.active_learning")
    logging.disable(level)
    monai.utils.set_determinism(seed=None)


@pytest.fixture
def used(bench, monkeypatch) -> list[tuple[str, list[dict]]]:
    """Frames given to a training ("learn") or an evaluation ("judge"), in their order."""
    calls: list[tuple[str, list[dict]]] = []
    original = bench.Subset

    def spy(dataset, places):
        kind = "learn" if any(isinstance(t, Randomizable) for t in dataset.transform.transforms) else "judge"
        calls.append((kind, [dataset.data[place] for place in places]))
        return original(dataset, places)

    monkeypatch.setattr(bench, "Subset", spy)
    return calls


@pytest.fixture
def values(bench, monkeypatch) -> list[dict[str, float]]:
    """Uncertainties of clips that a choice was made by."""
    calls: list[dict[str, float]] = []
    original = bench.Bench.uncertainty

    def spy(self, network, clips):
        calls.append(original(self, network, clips))
        return calls[-1]

    monkeypatch.setattr(bench.Bench, "uncertainty", spy)
    return calls


def run(bench, data: Path, output: Path, seeds: tuple[int, ...] = (0,), steps: int = 3) -> list[dict]:
    arguments = ["--data", data, "-o", output, "--seeds", *seeds, "--clips", *COUNTS, "--steps", steps]
    settings = ["--set", "network_def#channels=[4,8,8]", "spatial_size=[48,64]", "amp=False"]
    bench.main([*map(str, arguments), *settings])
    return bench.read_rounds(output / "rounds.csv")


def test_rounds_are_fair_and_done_once(bench, used, values, data, tmp_path, capsys):
    rows = run(bench, data, tmp_path)
    pool = load_datalist("clip", "training", data)
    tested = load_datalist("clip", "validation", data)
    assert {item["fold"] for item in tested} == {8}
    by = {(row["strategy"], row["clips"]): row for row in rows}
    assert list(by) == [(strategy, count) for count in COUNTS for strategy in bench.STRATEGIES]

    assert by["random", 2]["labelled"] == by["epistemic", 2]["labelled"]
    assert by["random", 2]["mean_dice"] == by["epistemic", 2]["mean_dice"]
    for (strategy, count), row in by.items():
        assert len(set(row["labelled"])) == len(row["labelled"]) == count
        assert row["frames"] == sum(item["clip"] in row["labelled"] for item in pool)
        if count != COUNTS[-1]:
            later = by[strategy, COUNTS[COUNTS.index(count) + 1]]
            assert later["labelled"] == row["labelled"] + row["next"]

    learned = [{item["image"] for item in items} for kind, items in used if kind == "learn"]
    wanted = [{item["image"] for item in pool if item["clip"] in row["labelled"]} for row in rows]
    assert learned == wanted[:1] + wanted[2:]  # both strategies share the start's
    for kind, items in used:
        assert kind == "learn" or items == tested or not any(item in tested for item in items)

    chosen = [row for row in rows if row["strategy"] == "epistemic" and row["next"]]
    for row, uncertainty in zip(chosen, values, strict=True):
        assert set(uncertainty) == {item["clip"] for item in pool} - set(row["labelled"])
        rest = set(uncertainty) - set(row["next"])
        assert min(uncertainty[clip] for clip in row["next"]) >= max(uncertainty[clip] for clip in rest)
    assert "epistemic - random" in capsys.readouterr().out
    assert (tmp_path / "active_learning.svg").read_bytes().lstrip().startswith(b"<?xml")

    # a kill in the middle of the second round: what is lost is done again, alike, and nothing else
    bench.write_rounds(tmp_path / "rounds.csv", rows[:3])
    used.clear()
    assert run(bench, data, tmp_path) == rows
    assert sum(kind == "learn" for kind, _ in used) == 3
    used.clear()
    assert run(bench, data, tmp_path) == rows
    assert used == []


def test_numbers_of_clips_that_cannot_be_leave_no_plan_behind(bench, data, tmp_path, capsys):
    for clips in (["4", "2"], ["2", "99"]):
        with pytest.raises(SystemExit):
            bench.main(["--data", str(data), "-o", str(tmp_path), "--steps", "1", "--clips", *clips])
        assert "give rising numbers from 1 to 8" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_rounds_of_another_plan_are_refused(bench, data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "play", lambda *given: None)
    monkeypatch.setattr(bench, "draw", lambda rows: b"")
    run(bench, data, tmp_path)
    with pytest.raises(SystemExit):
        run(bench, data, tmp_path, steps=4)
    assert "holds rounds of another plan" in capsys.readouterr().err
