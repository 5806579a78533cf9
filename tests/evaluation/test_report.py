# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The handler in MONAI's own evaluator, on four frames in files, and what it writes when writing fails."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.handlers import MeanDice, from_engine
from monai.transforms import Activationsd, AsDiscreted, Compose, CopyItemsd, LoadImaged, ScaleIntensityRanged
from PIL import Image

from pe_monai.evaluation import EvaluationReport, summarise, write_report

WIDTH, HEIGHT = 60, 40
# What is bright is predicted. Per frame: columns that are bright, columns that are annotated.
FRAMES = {"hit": (range(10, 20), range(10, 20)), "half": (range(0, 20), range(10, 20)), "missed": ((), range(5, 15))}
FRAMES |= {"false": (range(3), ())}


class BrightIsEffusion(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 20 * (image - 0.5)


def save_columns(columns, path: Path) -> str:
    rows = np.zeros((HEIGHT, WIDTH), np.uint8)
    rows[:, list(columns)] = 255
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(rows).save(path)
    return str(path)


def items(folder: Path) -> list[dict]:
    return [
        {
            "image": save_columns(bright, folder / "private" / "fold9_process_img" / f"{name}.png"),
            "label": save_columns(annotated, folder / "private" / "fold9_mask" / f"{name}.png"),
            "sector": save_columns(range(30), folder / "sectors" / f"{name}.png"),
            "fold": 9,
            "clip": f"clip{number // 2}",
            "exam": "clip",
        }
        for number, (name, (bright, annotated)) in enumerate(FRAMES.items())
    ]


def evaluator(data: list[dict], *handlers, probability="probability", **kwargs) -> SupervisedEvaluator:
    keys = ["image", "label", "sector"]
    load = Compose([LoadImaged(keys, ensure_channel_first=True), ScaleIntensityRanged(keys, 0, 255, 0, 1)])
    postprocessing = Compose(
        [Activationsd("pred", sigmoid=True), CopyItemsd("pred", names=probability), AsDiscreted("pred", threshold=0.5)]
    )
    return SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(data, load), batch_size=3),
        network=BrightIsEffusion(),
        postprocessing=postprocessing,
        val_handlers=list(handlers),
        **kwargs,
    )


def read_csv(path: Path) -> list[dict]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_three_files_with_the_right_counts(tmp_path):
    engine = evaluator(items(tmp_path), EvaluationReport(tmp_path / "out", "clip", samples=20))
    engine.run()

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["frames.csv", "summary.json", "summary.md"]
    hit, half, missed, false = read_csv(tmp_path / "out" / "frames.csv")
    assert hit["image"] == "fold9_process_img/hit.png"
    assert [frame["clip"] for frame in (hit, half, missed, false)] == ["clip0", "clip0", "clip1", "clip1"]
    assert (hit["fold"], hit["exam"], hit["sector_px"]) == ("9", "clip", "1200")
    assert [int(frame["truth_px"]) for frame in (hit, half, missed, false)] == [400, 400, 400, 0]
    assert [int(frame["pred_px"]) for frame in (hit, half, missed, false)] == [400, 800, 0, 120]
    assert [frame["dice"] for frame in (hit, half, missed, false)] == ["1", "0.666666687", "0", ""]
    assert (missed["hd95"], missed["surface_dice"], missed["false_effusion"]) == ("", "0", "")
    assert (false["false_effusion"], false["accuracy"]) == ("1", "0.899999976")
    assert float(hit["score"]) > 0.99 > 0.01 > float(missed["score"])

    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["protocol"], summary["frames"], summary["clips"]) == ("clip", 4, 2)
    assert (summary["positives"]["frames"], summary["negatives"]["frames"]) == (3, 1)
    assert summary["positives"]["mean"]["dice"]["value"] == pytest.approx(5 / 9)
    assert "Protocol: clip. 4 frames of 2 clips" in (tmp_path / "out" / "summary.md").read_text()
    assert engine.state.metrics["mean_dice"] == pytest.approx(5 / 9, abs=1e-4)
    assert engine.state.metrics["false_effusion_share"] == 1


@pytest.mark.parametrize(("folds", "said"), [((8, 9), True), ((8,), False), ((), False)])
def test_frames_that_the_weights_were_trained_on_are_no_test(tmp_path, caplog, folds, said):
    evaluator(items(tmp_path), EvaluationReport(tmp_path / "out", samples=5, trained_folds=folds)).run()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    page = (tmp_path / "out" / "summary.md").read_text()
    assert summary.get("trained_on") == ({"frames": 4, "folds": [8, 9]} if said else None)
    warning = "4 of these frames lie in the folds that these weights were trained on (8, 9)."
    assert [warning in text for text in (page, caplog.text)] == [said, said]


def test_nothing_private_is_written(tmp_path):
    evaluator(items(tmp_path), EvaluationReport(tmp_path / "out", samples=5)).run()
    for path in (tmp_path / "out").iterdir():
        assert "private" not in path.read_text()


def test_the_output_goes_before_the_batch(tmp_path):
    """Postprocessing undoes the framing in the output alone; the batch still holds what the network saw."""
    report = EvaluationReport(tmp_path / "out", samples=5)

    def empty_labels_of_batch(engine):
        for item in engine.state.batch:
            item["label"] = torch.zeros(1, 2, 2)

    engine = evaluator(items(tmp_path))
    engine.add_event_handler(IterationEvents.MODEL_COMPLETED, empty_labels_of_batch)
    report.attach(engine)
    engine.run()
    assert [row["truth_px"] for row in report.rows] == [400, 400, 400, 0]


def test_a_second_run_starts_anew(tmp_path):
    report = EvaluationReport(tmp_path / "out", samples=5)
    engine = evaluator(items(tmp_path), report)
    engine.run()
    engine.run()
    assert len(read_csv(tmp_path / "out" / "frames.csv")) == len(report.rows) == 4


def test_items_without_clip_exam_and_fold_are_scored(tmp_path):
    data = [{key: item[key] for key in ("image", "label", "sector")} for item in items(tmp_path)]
    evaluator(data, EvaluationReport(tmp_path / "out", samples=5)).run()
    assert {frame["clip"] for frame in read_csv(tmp_path / "out" / "frames.csv")} == {""}
    assert "frames, as no clip is known" in (tmp_path / "out" / "summary.md").read_text()


def test_a_missing_key_is_named_with_its_frame(tmp_path):
    engine = evaluator(items(tmp_path), EvaluationReport(tmp_path / "out"), probability="odds")
    with pytest.raises(ValueError, match="fold9_process_img/hit.png: neither batch nor output has probability"):
        engine.run()
    assert not (tmp_path / "out").exists()


def test_a_frame_that_cannot_be_scored_is_named(tmp_path):
    data = items(tmp_path)
    data[1]["sector"] = save_columns(range(3), tmp_path / "small.png")
    Image.open(data[1]["sector"]).crop((0, 0, 20, 20)).save(data[1]["sector"])
    engine = evaluator(data, EvaluationReport(tmp_path / "out"))
    engine.data_loader = DataLoader(engine.data_loader.dataset, batch_size=1)
    with pytest.raises(ValueError, match="fold9_process_img/half.png: sector must be one channel in the size"):
        engine.run()


def test_an_evaluator_that_does_not_decollate_is_refused(tmp_path):
    engine = evaluator(items(tmp_path), EvaluationReport(tmp_path / "out"), decollate=False)
    with pytest.raises(ValueError, match="must decollate"):
        engine.run()


@pytest.fixture
def rows(tmp_path) -> list[dict]:
    report = EvaluationReport(tmp_path / "first", samples=5)
    evaluator(items(tmp_path), report).run()
    return report.rows


def test_a_write_that_fails_half_way_leaves_the_old_report_and_no_partial_file(tmp_path, rows, monkeypatch):
    out = tmp_path / "first"
    before = {path.name: path.read_text() for path in out.iterdir()}
    write_text = Path.write_text

    def full_disk(path, text, *args, **kwargs):
        if "summary.md" in path.name:
            write_text(path, text[:10])
            raise OSError(28, "No space left on device")
        return write_text(path, text, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="cannot be written .No space left on device.; free space") as caught:
        write_report(out, rows, summarise(rows, "another", samples=5))
    assert caught.value.filename == str(out)
    assert {path.name: path.read_text() for path in out.iterdir()} == before


def test_a_folder_that_is_a_file_is_refused(tmp_path, rows):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(OSError, match="cannot be written"):
        write_report(tmp_path / "taken", rows, summarise(rows, samples=5))
    assert (tmp_path / "taken").read_text() == "mine"


def test_metrics_of_the_evaluator_itself_stay(tmp_path):
    metric = MeanDice(output_transform=from_engine(["pred", "label"]))
    engine = evaluator(items(tmp_path), EvaluationReport(tmp_path / "out", samples=5), key_val_metric={"dice": metric})
    engine.run()
    assert engine.state.metrics["dice"] == pytest.approx(5 / 9)
    assert engine.state.metrics["mean_dice"] == pytest.approx(5 / 9, abs=1e-4)
