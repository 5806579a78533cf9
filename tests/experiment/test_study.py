# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The study from data to page: its Table 1 against the masks on disk, and what it does not do twice."""

from __future__ import annotations

import csv
import dataclasses
import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from study_launcher import SETTINGS

from pe_monai.cli import main
from pe_monai.data import effusion_pixels, write_phantom_dataset
from pe_monai.data.index import CLIP_TABLE
from pe_monai.errors import BundleError, DatasetError
from pe_monai.experiment.datalists import prepare_datalist
from pe_monai.experiment.rows import find_budget, find_rows
from pe_monai.experiment.runs import only_one, reason_of
from pe_monai.experiment.study import Plan, _score_command, _train_command, run_study


@pytest.fixture
def plan(phantom_root, tmp_path) -> Plan:
    return Plan(find_rows(["table1"]), ("clip",), phantom_root, tmp_path / "study", find_budget("small"), SETTINGS)


def scores_from_masks(root: Path, masks: Path) -> dict[str, float]:
    """Table 1 by hand: means over images and pooled, of frames with at least 249 px of green above 127."""
    counts = []
    for label in sorted((root / "data/fold3/fold3_mask").glob("*.png")):
        truth = np.asarray(Image.open(label))[..., 1] > 127
        pred = np.asarray(Image.open(masks / "data/fold3/fold3_process_img" / label.name)) == 255
        if truth.sum() >= 249:
            counts.append((truth.sum(), pred.sum(), (truth & pred).sum(), (truth == pred).sum(), truth.size))
    truth, pred, both, right, size = np.array(counts, dtype=float).T
    return {
        "frames": len(counts),
        "accuracy, mean": (right / size).mean(),
        "recall, mean": (both / truth).mean(),
        "precision, mean": np.where(pred > 0, both / np.maximum(pred, 1), 0).mean(),
        "F1, mean": (2 * both / (truth + pred)).mean(),
        "accuracy, pooled": right.sum() / size.sum(),
        "recall, pooled": both.sum() / truth.sum(),
        "precision, pooled": both.sum() / pred.sum(),
        "F1, pooled": 2 * both.sum() / (truth.sum() + pred.sum()),
    }


def test_table1_is_what_the_masks_say_and_a_second_run_does_nothing(plan, launcher, phantom_root):
    lines = []
    outcome = run_study(plan, lines.append, launcher)
    assert outcome.errors == [] and outcome.trained == 2
    assert [(run_id, row) for run_id, row, _ in launcher.asked] == [
        ("training", "paper_baseline"),
        ("evaluating", "paper_baseline"),
        ("training", "paper_improved"),
        ("evaluating", "paper_improved"),
    ]
    with (plan.output / "tables" / "table1.csv").open(newline="") as file:
        rows = {(row["row"], row["numbers"]): row for row in csv.DictReader(file)}
    assert float(rows["paper_improved", "the paper's, public test"]["F1, mean"]) == 0.7734
    for name in ("paper_baseline", "paper_improved"):
        expected = scores_from_masks(phantom_root, plan.output / "runs" / "clip" / name / "masks")
        assert 0.01 < expected["F1, mean"] < 0.99  # the untrained networks mark something, and not all of it
        got = {key: float(rows[name, "ours, clip"][key]) for key in expected}
        assert got == pytest.approx(expected, abs=5e-5)
        summary = json.loads((plan.output / "runs" / "clip" / name / "scores" / "summary.json").read_text())
        assert summary["interval"]["resampled"] == "clips" and summary["clips"] > 1

    page = (plan.output / "study.html").read_text()
    assert page.count("data:image/jpeg") == 1 and page.count("data:image/svg+xml") == 6
    assert "http" not in page.replace("http-equiv", "").partition("data:image")[0]
    assert "research use only" in page.lower() and "every number above is of the test frames" in page
    assert "77.34" in (plan.output / "study.md").read_text()

    launcher.asked.clear()
    again = run_study(plan, lines.append, launcher)
    assert launcher.asked == [] and again.trained == 0
    assert "was done before" in lines[-1]


def test_what_depends_on_a_setting_is_done_anew_and_a_cut_training_is_resumed(plan, launcher):
    one = Plan(plan.rows[1:], plan.protocols, plan.dataset, plan.output, plan.budget, plan.settings)
    launcher.failing = {"paper_improved"}
    failed = run_study(one, launch=launcher)
    assert failed.page is None
    assert "the loss is nan" in failed.errors[0] and "paper_improved, clip: training failed" in failed.errors[0]
    launcher.failing = set()
    run_study(one, launch=launcher)
    other = Plan(one.rows, one.protocols, one.dataset, one.output, one.budget, {**SETTINGS, "max_epochs": 3})
    run_study(other, launch=launcher)
    assert launcher.asked == [
        ("training", "paper_improved", False),
        ("training", "paper_improved", True),  # the same settings: goes on
        ("evaluating", "paper_improved", False),
        ("training", "paper_improved", False),  # other settings: from the beginning
        ("evaluating", "paper_improved", False),
    ]


def test_nothing_of_other_settings_is_left_to_be_resumed_or_scored(plan, launcher):
    one = dataclasses.replace(plan, rows=plan.rows[1:])
    (result,) = run_study(one, launch=launcher).results
    (result.run.folder / "last.pt").write_bytes(b"a checkpoint")
    launcher.failing = {"paper_improved"}  # as one that is killed in its first epoch
    for _ in range(2):
        outcome = run_study(dataclasses.replace(one, settings={**SETTINGS, "learning_rate": 0.1}), launch=launcher)
        assert outcome.page is None
        left = {path.name for path in result.run.folder.iterdir()}
        assert not left & {"last.pt", "model.pt", "model.pt.sha256", "metrics.csv", "trained.json", "scored.json"}


def test_the_report_keeps_what_earlier_calls_did_with_the_same_settings(plan, launcher):
    first = Plan(plan.rows[:1], plan.protocols, plan.dataset, plan.output, plan.budget, plan.settings)
    run_study(first, launch=launcher)
    second = Plan(plan.rows[1:], plan.protocols, plan.dataset, plan.output, plan.budget, plan.settings)
    outcome = run_study(second, launch=launcher)
    assert [result.name for result in outcome.results] == ["paper_improved", "paper_baseline"]
    assert [row for run_id, row, _ in launcher.asked if run_id == "training"] == ["paper_baseline", "paper_improved"]
    assert (plan.output / "tables" / "paired.csv").is_file()
    other = Plan(second.rows, plan.protocols, plan.dataset, plan.output, plan.budget, {**SETTINGS, "max_epochs": 3})
    outcome = run_study(other, launch=launcher)
    assert [result.name for result in outcome.results] == ["paper_improved"]
    assert not (plan.output / "tables" / "paired.csv").exists()  # of the other settings
    assert (plan.output / "tables" / "table1.csv").is_file() and (plan.output / "figures" / "roc.svg").is_file()


def test_masks_that_were_removed_are_written_again(plan, launcher):
    one = dataclasses.replace(plan, rows=plan.rows[1:])
    (before,) = run_study(one, launch=launcher).results
    first, *others = (path for path in before.run.masks.rglob("*") if path.is_file())
    for removed in ([first], [first, *others]):
        for path in removed:
            path.unlink()
        launcher.asked.clear()
        (after,) = run_study(one, launch=launcher).results
        assert [run_id for run_id, *_ in launcher.asked] == ["evaluating"] and first.is_file()
        assert after.summary == before.summary


def test_epochs_that_none_would_validate_are_refused_at_once(plan, launcher):
    never = dataclasses.replace(plan, settings={**SETTINGS, "max_epochs": 1, "val_interval": 2})
    with pytest.raises(BundleError, match="val_interval 2 none of 1 epochs is validated"):
        run_study(never, launch=launcher)
    assert not launcher.asked


def test_without_effusion_in_the_test_frames_there_is_a_report(plan, launcher, tmp_path):
    root = tmp_path / "data set"
    shutil.copytree(plan.dataset, root)
    for label in (root / "data" / "fold3" / "fold3_mask").iterdir():
        Image.fromarray(np.zeros_like(np.asarray(Image.open(label)))).save(label)
    outcome = run_study(dataclasses.replace(plan, rows=plan.rows[1:], dataset=root), launch=launcher)
    assert outcome.errors == [] and outcome.results[0].summary["positives"]["frames"] == 0
    figures = {path.name for path in (plan.output / "figures").iterdir()}
    assert "risk_coverage.svg" in figures and not figures & {"size_dice.svg", "roc.svg", "figure2_clip.png"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [("max_epoch", "no such id .* paper_baseline"), ("datalist", "sets it"), ("temperature", "sets it")],
)
def test_settings_that_would_change_nothing_or_the_frames_are_refused(plan, launcher, name, reason):
    with pytest.raises(BundleError, match=f"--set {name}: .*{reason}"):
        run_study(dataclasses.replace(plan, settings={**SETTINGS, name: 1}), launch=launcher)
    assert launcher.asked == [] and not plan.output.exists()


def test_a_row_that_fails_does_not_stop_the_rest(plan, launcher):
    launcher.failing = {"paper_baseline"}
    outcome = run_study(plan, launch=launcher)
    assert [result.name for result in outcome.results] == ["paper_improved"]
    assert len(outcome.errors) == 1
    assert "the loss is nan" in (plan.output / "study.md").read_text()


def test_a_run_whose_results_are_damaged_is_said_and_the_rest_is_reported(plan, launcher):
    first, _ = run_study(plan, launch=launcher).results
    (first.run.folder / "metrics.csv").unlink()
    for rows in (plan.rows, plan.rows[1:]):  # asked for, and done before
        outcome = run_study(dataclasses.replace(plan, rows=rows), launch=launcher)
        assert [result.name for result in outcome.results] == ["paper_improved"]
        assert len(outcome.errors) == 1 and "metrics.csv" in outcome.errors[0] and "remove" in outcome.errors[0]


def test_a_training_that_validated_nothing_is_said(plan):
    outcome = run_study(plan, launch=lambda command, log: 0)
    assert outcome.page is None and len(outcome.errors) == 2
    assert "paper_baseline, clip: no epoch was validated" in outcome.errors[0] and "val_interval" in outcome.errors[0]


def test_commands_of_a_row_name_the_users_own_budget_and_the_temperature_of_the_study(plan, tmp_path):
    own = tmp_path / "the doctor's own.json"
    own.write_text('{"max_epochs": 1}')
    settings = {"spatial_size": [48, 64], "network_def#channels": "$[8, 16]"}
    plan = dataclasses.replace(plan, budget=own, settings=settings, output=tmp_path / "my study")
    words = shlex.split(_train_command(plan.rows[0], plan))
    files = ["configs/train.json", "../configs/paper_baseline.json", str(own)]
    assert json.loads(words[words.index("--config_file") + 1]) == files
    assert words[words.index("--network_def#channels") + 1] == "$[8, 16]"
    assert words[words.index("--ckpt_path") + 1] == "runs/paper_baseline/model.pt"  # not the weights that ship
    # the frames of the study, where the protocol's own validation fold is tested on
    assert words[words.index("--datalist") + 1] == str((plan.output / "datalists/PROTOCOL.json").resolve())
    words = shlex.split(_score_command(plan.rows[0], plan))
    assert str(own) in words and "temperature=1.0" in words and "spatial_size=[48, 64]" in words
    assert words[words.index("--weights") + 1] == str(plan.output / "runs/PROTOCOL/paper_baseline/model.pt")


def test_two_studies_cannot_work_in_one_folder(plan):
    with only_one(plan.output), pytest.raises(BundleError, match="another study"):
        run_study(plan)


def test_without_test_folds_nothing_is_selected_on_what_is_tested(phantom_root, tmp_path):
    datalist = prepare_datalist(phantom_root, "clip", tmp_path / "clip.json")
    assert datalist.folds == {"training": "1", "validation": "2", "testing": "3"}
    assert sum(datalist.frames.values()) == len(list(phantom_root.rglob("*_process_img/*.png")))
    before = datalist.path.stat().st_mtime_ns
    assert prepare_datalist(phantom_root, "clip", datalist.path) == datalist
    assert datalist.path.stat().st_mtime_ns == before


@pytest.mark.parametrize("protocol", ["clip", "paper"])
def test_a_data_set_that_grew_is_refused(phantom_root, tmp_path, protocol):
    root = tmp_path / "data set"
    shutil.copytree(phantom_root, root)
    datalist = prepare_datalist(root, protocol, tmp_path / "list.json")
    assert prepare_datalist(root, protocol, datalist.path) == datalist
    shutil.rmtree(root / "data" / "fold2")
    with pytest.raises(DatasetError, match="lists other frames than .* in another folder"):
        prepare_datalist(root, protocol, datalist.path)


@pytest.mark.parametrize("protocol", ["clip", "paper"])
def test_a_frame_added_to_a_fold_is_noticed(phantom_root, tmp_path, protocol):
    root = tmp_path / "data set"
    shutil.copytree(phantom_root, root)
    (root / CLIP_TABLE).unlink()
    datalist = prepare_datalist(root, protocol, tmp_path / "list.json")
    masks = root / "data" / "fold2" / "fold2_mask"
    last = max(masks.iterdir(), key=effusion_pixels)
    for folder in (masks, root / "data" / "fold2" / "fold2_process_img"):
        shutil.copy(folder / last.name, folder / "9999.png")
    with pytest.raises(DatasetError, match="lists other frames than .* in another folder"):
        prepare_datalist(root, protocol, datalist.path)


def test_frames_or_annotations_that_changed_are_refused(phantom_root, tmp_path):
    root = tmp_path / "data set"
    shutil.copytree(phantom_root, root)
    datalist = prepare_datalist(root, "clip", tmp_path / "list.json")
    one, other = sorted((root / "data" / "fold3" / "fold3_mask").iterdir())[:2]
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    with pytest.raises(DatasetError, match="annotations in .* changed since .* in another folder"):
        prepare_datalist(root, "clip", datalist.path)
    one.write_bytes(kept)
    assert prepare_datalist(root, "clip", datalist.path) == datalist


def test_a_data_set_too_small_for_a_protocol_is_refused(tmp_path):
    root = write_phantom_dataset(tmp_path / "data", folds=(1, 2, 3), clips_per_fold=1)
    with pytest.raises(DatasetError, match="too small for the protocol exam, nothing is left for"):
        prepare_datalist(root, "exam", tmp_path / "exam.json")


def test_a_failed_run_tells_the_cause_and_not_what_wraps_it(tmp_path):
    log = tmp_path / "training.log"
    log.write_text(
        '2026-01-01 - INFO - epoch 1\nTraceback (most recent call last):\n  File "a.py", line 1\n    raise Error: no\n'
        "pe_monai.errors.FrameError: a.png: is no picture; remove it.\n\nThe above exception was the direct cause of "
        "the following exception:\n\nTraceback (most recent call last):\nRuntimeError: applying transform\n"
    )
    assert reason_of(log) == "pe_monai.errors.FrameError: a.png: is no picture; remove it."
    log.write_text("starting\nKilled\n\n")
    assert reason_of(log) == "Killed"
    chain = ("AssertionError: Torch not compiled with CUDA enabled", "pe_monai.errors.DeviceError: no cuda:0.")
    log.write_text("\n".join((*chain, "RuntimeError: Failed to evaluate ConfigExpression:")), encoding="utf-8")
    assert reason_of(log) == chain[1]


def test_unknown_names_are_refused_with_what_there_is(phantom_root, tmp_path, capsys):
    with pytest.raises(BundleError, match=r"row 'nonsense': no such overlay; name bundle.*paper_improved"):
        find_rows(["paper_improved+nonsense"])
    with pytest.raises(BundleError, match="budget 'huge': name one of small, full, none"):
        find_budget("huge")
    with pytest.raises(DatasetError, match="protocol 'fold'"):
        prepare_datalist(phantom_root, "fold", tmp_path / "fold.json")
    assert main(["study", "--data", str(tmp_path / "absent"), "-o", str(tmp_path)]) == 2
    assert "no such folder" in capsys.readouterr().err
    for nothing in (["--rows", ","], ["--protocols", ""]):
        assert main(["study", "--data", str(phantom_root), "-o", str(tmp_path), *nothing]) == 2
        assert "nothing to run; name a row" in capsys.readouterr().err


def test_groups_name_rows_once_and_in_order():
    rows = find_rows(["table1", "ablations"])
    assert [row.name for row in rows][:3] == ["paper_baseline", "paper_improved", "paper_improved+ablate_padding"]
    assert len({row.name for row in rows}) == len(rows) == 10
    assert [file.stem for file in rows[2].overlays] == ["paper_improved", "ablate_padding"]
    assert rows[2].title == "improved U-Net, the paper's, zero padding"
    assert find_rows(["bundle"])[0].overlays == ()
