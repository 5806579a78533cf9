# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One study under all protocols: its tables against the scores of the frames on disk, and a page that stands alone."""

from __future__ import annotations

import csv
import html.parser
import math
from pathlib import Path

import numpy as np
import pytest
from study_launcher import SETTINGS

from pe_monai.data import write_phantom_dataset
from pe_monai.evaluation import read_rows
from pe_monai.experiment.rows import find_budget, find_rows
from pe_monai.experiment.study import Plan, run_study

PROTOCOLS = ("clip", "exam", "paper")
BASE, CHANGED = "paper_improved", "paper_improved+positives_only"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_phantom_dataset(tmp_path_factory.mktemp("protocols") / "data", clips_per_fold=7)


@pytest.fixture
def study(data, tmp_path, launcher) -> Path:
    plan = Plan(find_rows([BASE, CHANGED]), PROTOCOLS, data, tmp_path / "study", find_budget("small"), SETTINGS)
    outcome = run_study(plan, launch=launcher)
    assert outcome.errors == []
    return plan.output


def table(study: Path, name: str) -> list[dict[str, str]]:
    with (study / "tables" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def number(text: str) -> float:
    return float(text) if text else math.nan


class Resources(html.parser.HTMLParser):
    """Whatever a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "data") and value]


@pytest.mark.slow
def test_tables_are_what_the_frames_say_under_every_protocol(study):
    frames = {
        (protocol, row): read_rows(study / "runs" / protocol / row / "scores" / "frames.csv")
        for protocol in PROTOCOLS
        for row in (BASE, CHANGED)
    }
    column = {
        key: {
            name: np.array([row[name] for row in rows])
            for name in ("truth_px", "pred_px", "dice", "hd95", "surface_dice")
        }
        for key, rows in frames.items()
    }

    def mean(key, name, chosen):
        return np.nanmean(column[key][name][chosen]) if chosen.any() else math.nan

    for line in table(study, "positives"):
        key = line["protocol"], line["row"]
        positive = column[key]["truth_px"] >= 249
        assert int(line["frames"]) == positive.sum() > 0
        for title, name in (("mean Dice", "dice"), ("HD95, px", "hd95"), ("surface Dice at 2 px", "surface_dice")):
            assert number(line[title]) == pytest.approx(mean(key, name, positive), abs=5e-5, rel=1e-5)
    for line in table(study, "sizes"):
        key = line["protocol"], line["row"]
        truth = column[key]["truth_px"]
        groups = (truth > 0) & (truth < 249), (truth >= 249) & (truth <= 1000), truth > 1000
        for title, chosen in zip(("under 249 px", "249 to 1,000 px", "over 1,000 px"), groups, strict=True):
            assert int(line[f"frames, {title}"]) == chosen.sum()
            assert number(line[title]) == pytest.approx(mean(key, "dice", chosen), abs=5e-5, nan_ok=True)
    negatives = table(study, "negatives")
    assert {line["protocol"] for line in negatives} == {"clip", "exam"}  # paper has none
    for line in negatives:
        key = line["protocol"], line["row"]
        empty = column[key]["truth_px"] == 0
        assert number(line["with any false region, %"]) == pytest.approx((column[key]["pred_px"][empty] > 0).mean())
        assert number(line["mean false area, px"]) == pytest.approx(column[key]["pred_px"][empty].mean(), rel=1e-5)

    for line in table(study, "ablations"):
        assert (line["row"], line["change"]) == (CHANGED, "trained on frames with effusion only")
        one, other = (column[line["protocol"], row] for row in (CHANGED, BASE))
        positive = one["truth_px"] >= 249
        difference = (one["dice"] - other["dice"])[positive].mean()
        assert number(line["mean Dice"]) == pytest.approx(difference, abs=5e-5)
    assert len(table(study, "ablations")) == len(PROTOCOLS)
    for line in table(study, "leakage"):
        dice = {p: mean((p, line["row"]), "dice", column[p, line["row"]]["truth_px"] >= 249) for p in PROTOCOLS}
        for protocol in PROTOCOLS:
            assert number(line[f"mean Dice, {protocol}"]) == pytest.approx(dice[protocol], abs=5e-5)
        assert number(line["paper less clip"]) == pytest.approx(dice["paper"] - dice["clip"], abs=5e-5)
        assert (
            number(line["paper less clip, low"])
            <= number(line["paper less clip"])
            <= number(line["paper less clip, high"])
        )

    page = Resources()
    page.feed((study / "study.html").read_text(encoding="utf-8"))
    assert sum(link.startswith("data:image/") for link in page.found) == 3 + 6  # panels and figures
    assert all(link.startswith(("data:image/", "#")) for link in page.found)
