# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Every overlay trains with MONAI's plain command, as the README and the study's page give it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from small_bundle import bundle_command, run_python

from pe_monai.errors import BundleError
from pe_monai.experiment.peers import SMP_ROW, require_smp
from pe_monai.experiment.rows import BUDGETS, BUNDLE_ROW, GROUPS
from pe_monai.paths import bundle_dir, configs_dir

PEERS = ("basic_unet", "flexible_unet", "seg_resnet", SMP_ROW)
CHANGES = [path.stem for path in sorted(configs_dir().glob("ablate_*.json"))]
CHANGES += ["instance_norm", "positives_only", "small_budget", "full_budget", "wide", "batched"]
ROWS = ["paper_baseline", "paper_improved", *(f"paper_improved+{name}" for name in CHANGES), *PEERS]
CLICKS = "interactive"

pytestmark = pytest.mark.slow


def test_no_overlay_of_the_study_is_left_out():
    named = {part for row in ROWS for part in row.split("+")}
    of_groups = {part for rows in GROUPS.values() for row in rows for part in row.split("+")} - {BUNDLE_ROW}
    of_groups |= {f"{name}_budget" for name in BUDGETS if name != "none"}
    assert of_groups <= named <= {path.stem for path in configs_dir().glob("*.json")}


@pytest.mark.parametrize("row", [*ROWS, CLICKS])
def test_row_trains_with_the_plain_command(row, phantom_root, tmp_path):
    if row == SMP_ROW:
        try:
            require_smp()
        except BundleError as e:
            pytest.skip(str(e))
    overrides: dict[str, object] = {"spatial_size": "[64,96]", "max_epochs": 1, "batch_size": 4, "num_workers": 0}
    overrides["val_interval"] = 1
    if row not in (*PEERS, CLICKS):  # that one goes on from its own weights
        overrides["network_def#channels"] = "[4,8,8]"
    overrides |= {"dataset_dir": phantom_root, "output_dir": tmp_path, "ckpt_path": tmp_path / "model.pt"}
    configs = ("configs/train.json", *(f"../configs/{part}.json" for part in row.split("+")))
    done = run_python(bundle_command("training", configs, **overrides), bundle_dir(), timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    with (tmp_path / "metrics.csv").open(newline="") as file:
        (epoch,) = csv.DictReader(file)
    assert 0 < float(epoch["train_loss"]) < 3
    weights = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(torch.isfinite(tensor).all() for tensor in weights.values() if tensor.is_floating_point())
    assert not list(Path(bundle_dir()).glob("runs"))
