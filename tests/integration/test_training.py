# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The bundle's training, evaluation and inference as a user runs them: MONAI's commands in a process of their own."""

from __future__ import annotations

import csv
import json
import subprocess
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import run
from PIL import Image
from small_bundle import bundle_command, copy_bundle, python_environment, run_python

from pe_monai.data import phantom_frame, write_phantom_dataset
from pe_monai.weights import sha256_of

TRAIN = ("configs/train.json", "../configs/phantom.json")
SMALL = {"spatial_size": "[48,72]", "network_def#channels": "[4,8,8]", "batch_size": 4, "cache_workers": 1}
EPOCHS = 4


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """A bundle's folder without weights; trainings write elsewhere."""
    return copy_bundle(tmp_path_factory.mktemp("training") / "bundle", channels=[4, 8, 8], spatial_size=[48, 72])


@pytest.fixture(scope="module")
def train(bundle, phantom_root):
    """Make the command of a small training on the phantom."""

    def command(output: Path, configs=TRAIN, **overrides: object) -> list[str]:
        places = {"dataset_dir": phantom_root, "output_dir": output, "ckpt_path": output / "model.pt"}
        return bundle_command("training", configs, **{**places, **SMALL, "max_epochs": EPOCHS, **overrides})

    return command


@pytest.fixture(scope="module")
def straight(bundle, train, tmp_path_factory) -> Path:
    """Output of a training that nobody disturbed."""
    output = tmp_path_factory.mktemp("straight")
    done = run_python(train(output), bundle)
    assert done.returncode == 0, done.stderr[-3000:]
    (output / "stdout.txt").write_text(done.stdout)
    return output


def epochs_in(output: Path) -> list[int]:
    file = output / "metrics.csv"
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        return [int(row["epoch"]) for row in csv.DictReader(lines)]


def state_of(file: Path) -> dict:
    return torch.load(file, map_location="cpu", weights_only=True)


def assert_same_end(one: Path, other: Path) -> None:
    """Weights, best weights, optimizer and table of two trainings are equal to the bit."""
    first, second = state_of(one / "last.pt"), state_of(other / "last.pt")
    assert first["epoch"] == second["epoch"]
    for name, tensor in first["network"].items():
        assert torch.equal(tensor, second["network"][name]), name
    for number, moments in first["optimizer"]["state"].items():
        for name, tensor in moments.items():
            assert torch.equal(tensor, second["optimizer"]["state"][number][name]), (number, name)
    assert first["lr_scheduler"]["last_epoch"] == second["lr_scheduler"]["last_epoch"]
    assert first["best"] == second["best"]
    best, other_best = state_of(one / "model.pt"), state_of(other / "model.pt")
    assert all(torch.equal(tensor, other_best[name]) for name, tensor in best.items())
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()


def test_training_writes_weights_checkpoint_and_table(bundle, straight):
    names = {path.name for path in straight.iterdir()}
    assert names >= {"model.pt", "model.pt.sha256", "last.pt", "metrics.csv"}
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert not [name for name in names if "partial" in name]
    assert (straight / "model.pt.sha256").read_text().split() == [sha256_of(straight / "model.pt"), "model.pt"]
    with (straight / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, EPOCHS + 1))
    for row in rows:
        assert np.isfinite([float(row[name]) for name in ("train_loss", "val_dice", "val_dice_positives")]).all()
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    highest, best = max(float(row["val_dice"]) for row in rows), state_of(straight / "last.pt")["best"]["best"]
    log = (straight / "stdout.txt").read_text()
    assert best > highest if "of all frames: better, kept" in log else best == highest
    assert "best weights with statistics of all frames" in log
    assert not (bundle / "models").exists() and not (bundle / "runs").exists()


def kill_after(command: list[str], cwd: Path, output: Path, epoch: int) -> None:
    """Start a training and kill it as soon as it is past an epoch."""
    with subprocess.Popen(
        command, cwd=cwd, env=python_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 240
        while process.poll() is None and epoch not in epochs_in(output) and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.05)  # into the next epoch
        process.kill()
    assert process.returncode == -9, "the training was over before it could be killed"


def test_killed_training_goes_on_to_the_same_end(bundle, train, straight, tmp_path):
    kill_after(train(tmp_path), bundle, tmp_path, epoch=2)
    assert state_of(tmp_path / "last.pt")["epoch"] < EPOCHS
    done = run_python(train(tmp_path, resume="true"), bundle)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "resumed after epoch" in done.stdout
    assert_same_end(straight, tmp_path)


def test_finished_training_is_not_trained_again(bundle, train, straight):
    before = {path: sha256_of(path) for path in (straight / "last.pt", straight / "model.pt", straight / "metrics.csv")}
    done = run_python(train(straight, resume="true"), bundle)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "nothing to resume" in done.stdout
    assert {path: sha256_of(path) for path in before} == before


@pytest.mark.slow
def test_resume_false_starts_anew_and_equals(bundle, train, straight, tmp_path):
    done = run_python(train(tmp_path, max_epochs=1, resume="false"), bundle)
    assert done.returncode == 0, done.stderr[-3000:]
    done = run_python(train(tmp_path, resume="false"), bundle)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "resumed" not in done.stdout
    assert_same_end(straight, tmp_path)


@pytest.mark.filterwarnings("ignore:parsing config_file")  # MONAI says so of any config
def test_initial_weights_and_nan(bundle, phantom_root, straight, tmp_path, monkeypatch):
    """A training starts from given weights; where its loss is no number it ends and keeps the last whole epoch."""
    monkeypatch.chdir(bundle)
    places = {"dataset_dir": str(phantom_root), "output_dir": str(tmp_path), "ckpt_path": str(tmp_path / "model.pt")}
    settings = {"batch_size": 4, "max_epochs": 1, "config_file": "configs/train.json", **places}
    run("training", learning_rate=1e-12, initial_weights=str(straight / "model.pt"), **settings)
    given, got = state_of(straight / "model.pt"), state_of(tmp_path / "last.pt")["network"]
    for name in given:
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(got[name], given[name], rtol=0, atol=1e-6)

    kept = sha256_of(tmp_path / "last.pt")
    with pytest.raises(RuntimeError) as caught:
        run("training", learning_rate=1e30, **settings)
    assert isinstance(caught.value.__cause__, FloatingPointError)
    assert "the loss is" in str(caught.value.__cause__) and "learning_rate" in str(caught.value.__cause__)
    assert sha256_of(tmp_path / "last.pt") == kept


def test_evaluation_and_inference(bundle, straight, phantom_root, tmp_path):
    """The weights of the training are scored, and outline frames of two kinds."""
    weights = {"ckpt_path": straight / "model.pt"}
    scores = tmp_path / "scores"
    configs = ("configs/train.json", "configs/evaluate.json")
    done = run_python(
        bundle_command("evaluating", configs, dataset_dir=phantom_root, output_dir=scores, **weights), bundle
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert {path.name for path in scores.iterdir()} == {"frames.csv", "summary.json", "summary.md"}
    summary = json.loads((scores / "summary.json").read_text())
    frames = len(list((phantom_root / "data/fold3/fold3_process_img").glob("*.png")))
    assert summary["frames"] == frames
    assert summary["clips"] == 4
    with (scores / "frames.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == frames

    source, masks = tmp_path / "in", tmp_path / "masks"
    (source / "deep").mkdir(parents=True)
    image = phantom_frame(3, thickness_mm=15).image
    Image.fromarray(image).save(source / "frame.png")
    affine = np.diag([-0.4, -0.3, 1, 1])
    nibabel.save(nibabel.Nifti1Image(image.swapaxes(0, 1), affine), source / "deep" / "frame.nii.gz")
    command = bundle_command("run", ("configs/inference.json",), dataset_dir=source, output_dir=masks, **weights)
    done = run_python(command, bundle)
    assert done.returncode == 0, done.stderr[-3000:]
    written = {path.relative_to(masks).as_posix() for path in masks.rglob("*") if path.is_file()}
    assert written == {"frame.png", "deep/frame.nii.gz"}
    picture = np.asarray(Image.open(masks / "frame.png"))
    volume = nibabel.load(masks / "deep" / "frame.nii.gz")
    assert picture.shape == image.shape[:2] and set(np.unique(picture)) <= {0, 255}
    np.testing.assert_array_equal(np.asarray(volume.dataobj).T, picture)
    np.testing.assert_allclose(volume.affine, affine)


@pytest.mark.slow
def test_killed_training_with_worker_processes_goes_on_to_the_same_end(bundle, train, tmp_path):
    overrides = {"num_workers": 1, "cache_rate": 0.5}
    one, other = tmp_path / "one", tmp_path / "other"
    assert run_python(train(one, **overrides), bundle).returncode == 0
    kill_after(train(other, **overrides), bundle, other, epoch=2)
    assert run_python(train(other, resume="true", **overrides), bundle).returncode == 0
    assert_same_end(one, other)


@pytest.mark.slow
def test_mlflow_tracks_a_training(bundle, train, tmp_path):
    pytest.importorskip("mlflow", reason="mlflow is not installed: pip install 'pe_monai[mlflow]'")
    done = run_python(train(tmp_path, max_epochs=2, tracking="mlflow"), bundle)
    assert done.returncode == 0, done.stderr[-3000:]
    assert epochs_in(tmp_path) == [1, 2]
    assert any(path.name.startswith("mlruns") for path in tmp_path.iterdir())


@pytest.mark.slow
def test_two_processes_train_one_network(bundle, train, tmp_path):
    configs = ("configs/train.json", "configs/multi_gpu_train.json", "../configs/phantom.json")
    command = train(tmp_path, configs, max_epochs=2)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = run_python([command[0], *launcher, *command[1:]], bundle)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert epochs_in(tmp_path) == [1, 2]
    assert {path.name for path in tmp_path.iterdir() if path.suffix in (".pt", ".sha256")} == {
        "model.pt",
        "model.pt.sha256",
        "last.pt",
    }
    names = set(state_of(tmp_path / "model.pt"))
    assert names and not [name for name in names if name.startswith("module.")]
    done = run_python([command[0], *launcher, *command[1:], "--resume", "true"], bundle)
    assert done.returncode == 0 and "nothing to resume" in done.stdout


@pytest.mark.slow
def test_training_on_the_phantom_learns(tmp_path):
    """The overlay of the demo, as it ships, finds effusion in frames of a fold it has not seen."""
    bundle = copy_bundle(tmp_path / "bundle")
    data = write_phantom_dataset(tmp_path / "data", clips_per_fold=24, thickness_range_mm=(10, 40))
    output = tmp_path / "out"
    places = {"dataset_dir": data, "output_dir": output, "ckpt_path": output / "model.pt"}
    done = run_python(bundle_command("training", TRAIN, **places), bundle, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    with (output / "metrics.csv").open(newline="") as file:
        dice = [float(row["val_dice_positives"]) for row in csv.DictReader(file)]
    assert max(dice) >= 0.7, dice
    assert dice[0] < 0.3
