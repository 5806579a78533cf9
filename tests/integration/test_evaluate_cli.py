# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""`pe_monai evaluate`: a bundle's own masks score as they do in the bundle; differences to other scores."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pe_monai.cli import main
from pe_monai.data import split_items, write_datalist
from pe_monai.weights import sha256_of

OF_MASKS = ("truth_px", "pred_px", "overlap_px", "sector_px", "frame_px", "dice", "iou", "precision", "recall")
OF_MASKS += ("accuracy", "frame_accuracy", "hd95", "surface_dice", "false_effusion", "image", "fold", "clip", "exam")


def rows_in(folder: Path) -> list[dict[str, str]]:
    with (folder / "frames.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def scored(phantom_root, tiny_bundle, tmp_path_factory) -> Path:
    """Scores of a bundle and its masks."""
    folder = tmp_path_factory.mktemp("scored")
    command = ["evaluate", "--data", phantom_root, "--bundle", tiny_bundle, "-o", folder / "scores"]
    assert main([*map(str, command), "--masks", str(folder / "masks")]) == 0
    return folder


def test_own_masks_score_as_the_bundle_does(scored, phantom_root, tmp_path, capsys):
    command = ["evaluate", "--data", str(phantom_root), "--predictions", str(scored / "masks"), "-o", str(tmp_path)]
    assert main([*command, "--against", str(scored / "scores")]) == 0
    bundle, masks = rows_in(scored / "scores"), rows_in(tmp_path)
    assert len(bundle) == len(masks) > 0
    assert any(float(row["pred_px"]) > 0 for row in bundle)  # there is something to compare
    for one, other in zip(bundle, masks, strict=True):
        assert {name: one[name] for name in OF_MASKS} == {name: other[name] for name in OF_MASKS}
    first, second = (json.loads((folder / "summary.json").read_text()) for folder in (scored / "scores", tmp_path))
    for group in ("positives", "sizes", "negatives", "annotated"):
        assert first[group] == second[group]
    text = (tmp_path / "differences.md").read_text()
    assert "| Dice (F1), mean over images | +0.000 (+0.000 to +0.000) |" in text and "research use only" in text
    assert "(over frames where no clip is known)" in text
    assert text in capsys.readouterr().out


@pytest.mark.parametrize("owner", ["these", "others"])
def test_scores_on_frames_of_the_training_say_so(phantom_root, tiny_bundle, tmp_path, capsys, owner):
    digest = sha256_of(tiny_bundle / "models" / "model.pt") if owner == "these" else "0" * 64
    validating = {item.fold for item in split_items(phantom_root, "clip")["validation"]}
    trained_on = json.dumps({digest: sorted(validating)})
    command = ["evaluate", "--data", phantom_root, "--bundle", tiny_bundle, "-o", tmp_path]
    assert main([*map(str, command), "--set", f"trained_on={trained_on}"]) == 0
    frames = len(rows_in(tmp_path))
    said = f"{frames} of these frames lie in the folds that these weights were trained on"
    assert (said in capsys.readouterr().out) == (owner == "these")


def test_a_worse_method_is_below(scored, phantom_root, tmp_path):
    masks = sorted((scored / "masks").rglob("*.png"))
    for mask in masks:
        path = tmp_path / "masks" / mask.relative_to(scored / "masks")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros_like(np.asarray(Image.open(mask)))).save(path)
    command = ["evaluate", "--data", phantom_root, "--predictions", tmp_path / "masks", "-o", tmp_path / "out"]
    assert main([*map(str, command), "--against", str(scored / "scores")]) == 0
    line = next(
        line for line in (tmp_path / "out/differences.md").read_text().splitlines() if "Dice (F1), pooled" in line
    )
    mean = json.loads((scored / "scores" / "summary.json").read_text())["positives"]["pooled"]["dice"]["value"]
    assert f"| {-mean:+.3f} (" in line


def test_a_second_evaluation_leaves_no_differences_of_the_first(scored, phantom_root, tmp_path):
    datalist = tmp_path / "splits" / "clip.json"
    write_datalist(split_items(phantom_root, "clip"), datalist, phantom_root, "clip")
    command = ["evaluate", "--data", phantom_root, "--predictions", scored / "masks", "-o", tmp_path / "out"]
    command = [*map(str, command), "--split", str(datalist)]
    assert main([*command, "--against", str(scored / "scores")]) == 0 and (tmp_path / "out/differences.md").is_file()
    assert main(command) == 0 and not (tmp_path / "out/differences.md").exists()
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["protocol"] == "clip.json, validation"  # as a bundle's scores name it


def test_what_cannot_be_compared_is_said_at_once(scored, phantom_root, tmp_path, capsys):
    command = [
        "evaluate",
        "--data",
        str(phantom_root),
        "--predictions",
        str(scored / "masks"),
        "-o",
        str(tmp_path / "o"),
    ]
    assert main([*command, "--against", str(tmp_path)]) == 2
    assert "frames.csv: no such table" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    assert main([*command, "--section", "training", "--missing", "empty", "--against", str(scored / "scores")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    for more in (["--weights", "a.pt"], ["--config", "paper_improved"], ["--set", "threshold=0.1"]):
        assert main([*command, *more]) == 2
        assert f"{more[0]} belongs to the scores of a bundle" in capsys.readouterr().err


def test_frames_that_cannot_be_used_are_all_named_before_any_is_scored(phantom_root, tiny_bundle, tmp_path, capfd):
    data = shutil.copytree(phantom_root, tmp_path / "data")
    frames, masks = (sorted(data.glob(f"data/fold3/fold3_{kind}/*.png")) for kind in ("process_img", "mask"))
    frames[1].write_bytes(frames[1].read_bytes()[:100])
    Image.new("L", (40, 30)).save(masks[3])
    command = ["evaluate", "--data", data, "--bundle", tiny_bundle, "-o", tmp_path / "scores"]
    assert main([*map(str, command)]) == 2
    error = capfd.readouterr().err
    assert f"2 of {len(frames)} frames cannot be used: {frames[1]}: cannot be read" in error
    assert f"{masks[3]}: is 40 wide x 30 high, its frame is" in error
    assert "Traceback" not in error and not (tmp_path / "scores").exists()
    Image.fromarray(np.zeros((224, 320), np.uint8)).save(frames[1])
    Image.fromarray(np.zeros((224, 320), np.uint8)).save(masks[3])
    assert main([*map(str, command)]) == 2
    assert f"1 of {len(frames)} frames cannot be used: {frames[1]}: no ultrasound sector" in capfd.readouterr().err
