# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The whole study: rows under protocols, trained and scored where that is not done yet, and the report of all of it."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pe_monai import __version__
from pe_monai.data import PROTOCOLS
from pe_monai.errors import BundleError, DatasetError
from pe_monai.experiment.cost import Cost, measure_costs
from pe_monai.experiment.datalists import Datalist, prepare_datalist
from pe_monai.experiment.figures import make_figures
from pe_monai.experiment.page import write_report
from pe_monai.experiment.panels import draw_panel
from pe_monai.experiment.result import Result, read_result
from pe_monai.experiment.rows import Row, find_rows, require_packages, unknown_ids, why_unvalidated
from pe_monai.experiment.runs import OF_STUDY, OF_TRAINING, TEMPERATURE, Launch, Run, RunError, launch_logged, only_one
from pe_monai.experiment.table import Column, Table
from pe_monai.experiment.tables import make_tables
from pe_monai.inferers import has_fast_bf16
from pe_monai.paths import configs_dir


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        rows: the recipes.
        protocols: names of the splits.
        dataset: folder of the data set.
        output: folder of all that the study writes.
        budget: overlay of the budget, None for the recipes' own.
        settings: further values by id of the config, for all rows.
    """

    rows: Sequence[Row]
    protocols: Sequence[str]
    dataset: Path
    output: Path
    budget: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        page: the HTML page; None if no run could be scored.
        results: of the runs that could be scored.
        errors: of those that could not.
        trained: runs that were trained, or trained on, now.
    """

    page: Path | None
    results: list[Result]
    errors: list[str]
    trained: int


def run_study(plan: Plan, say: Callable[[str], None] = print, launch: Launch = launch_logged) -> Outcome:
    """Run what is not done yet and write the report.

    A run that is done under the same settings is skipped, one that was cut goes on from its last whole epoch, one that
    fails is reported and the rest goes on. What earlier calls with the same budget and settings did in the folder is in
    the report, too.

    Args:
        plan: what to run.
        say: gets a line as a run begins or fails.
        launch: runs a command with its output in a file.

    Raises:
        BundleError: a setting is of no id that the rows have or of one that the study sets, or another study is at work
            in the folder.
        DatasetError: the data set is broken, or too small for a protocol.
    """
    _check_settings(plan)
    with only_one(plan.output):
        datalists = [_datalist(plan, protocol) for protocol in plan.protocols]
        runs = [_run(plan, row, datalist) for datalist in datalists for row in plan.rows]
        results: list[Result] = []
        errors: list[str] = []
        trained = 0
        for number, run in enumerate(runs, start=1):
            name = f"[{number}/{len(runs)}] {run.row.name}, {run.datalist.protocol}"
            say(f"{name}: {run.datalist.frames['training']:,} frames to train on, {run.folder}")
            try:
                require_packages(run.row)
                is_new = run.train(launch)
                is_scored = run.score(launch)
                results.append(read_result(run))
            except (RunError, BundleError) as e:
                errors.append(str(e))
                say(f"{name}: failed")
                continue
            trained += is_new
            dice = results[-1].summary["positives"]["mean"]["dice"]["value"]
            state = "trained and scored" if is_new else "scored" if is_scored else "was done before"
            say(f"{name}: {state}" + ("" if dice is None else f", mean Dice {dice:.3f}"))
        if not results:
            return Outcome(None, [], errors, trained)
        earlier = _earlier(plan, runs)
        for run in earlier:
            try:
                results.append(read_result(run))
            except RunError as e:
                errors.append(str(e))
        datalists = list({lst.protocol: lst for lst in (*datalists, *(run.datalist for run in earlier))}.values())
        return Outcome(_report(plan, datalists, results, errors), results, errors, trained)


def _check_settings(plan: Plan) -> None:
    """MONAI takes any id; a misspelt one would change nothing and stand in the report all the same."""
    for name in plan.settings:
        if name in OF_STUDY:
            raise BundleError(f"--set {name}: the study sets it for each run; leave it out.")
    for row in plan.rows:
        if unknown := unknown_ids(row.configs("train.json", "evaluate.json", budget=plan.budget), plan.settings):
            raise BundleError(f"--set {unknown[0]}: no such id in the configs of {row.name}; check its spelling.")
        if reason := why_unvalidated(row.configs("train.json", budget=plan.budget), plan.settings):
            raise BundleError(f"{row.name}: {reason}")


def _datalist(plan: Plan, protocol: str) -> Datalist:
    return prepare_datalist(plan.dataset, protocol, plan.output / "datalists" / f"{protocol}.json")


def _earlier(plan: Plan, runs: Sequence[Run]) -> list[Run]:
    """Runs that are not asked for now and were done before under the same settings."""
    known = {run.folder for run in runs}
    ready = {run.datalist.protocol: run.datalist for run in runs}
    found = []
    for protocol in PROTOCOLS:
        folders = sorted((plan.output / "runs" / protocol).glob("*"))
        folders = [folder for folder in folders if folder.resolve() not in known]
        if not folders:
            continue
        try:
            datalist = ready.get(protocol) or _datalist(plan, protocol)
        except DatasetError:
            continue  # of frames that changed: not to be set beside these
        for folder in folders:
            try:
                (row,) = find_rows([folder.name])
            except (BundleError, ValueError):
                continue  # of another version, likewise
            run = _run(plan, row, datalist)
            if run.is_trained and run.is_scored:
                found.append(run)
    return found


def _run(plan: Plan, row: Row, datalist: Datalist) -> Run:
    folder = plan.output / "runs" / datalist.protocol / row.name
    return Run(row, datalist, folder.resolve(), plan.budget, plan.settings, plan.dataset.resolve())


def _report(plan: Plan, datalists: Sequence[Datalist], results: Sequence[Result], errors: Sequence[str]) -> Path:
    by_row = {result.name: result.run for result in results}
    costs: dict[str, Cost] = dict(zip(by_row, measure_costs(list(by_row.values())), strict=True))
    protocols = dict.fromkeys(result.protocol for result in results)
    panels = {name: draw_panel([result for result in results if result.protocol == name]) for name in protocols}
    precision = ", bfloat16 in hardware" if has_fast_bf16() else ""
    facts = {
        "rows": "; ".join(f"{run.row.name} ({run.row.title})" for run in by_row.values()),
        "protocols": ", ".join(protocols),
        "budget": _budget_words(plan),
        "made with": f"pe_monai {__version__}, PyTorch {torch.__version__}, Python {platform.python_version()}, "
        f"{platform.machine()}, {torch.get_num_threads()} threads{precision}",
    }
    return write_report(
        plan.output,
        facts,
        make_tables(results, costs),
        _frames(datalists),
        make_figures(results),
        {name: panel for name, panel in panels.items() if panel is not None},
        {name: (_train_command(run.row, plan), _score_command(run.row, plan)) for name, run in by_row.items()},
        errors,
    )


def _frames(datalists: Sequence[Datalist]) -> Table:
    columns = [Column("protocol"), *(Column(name, 0) for name in ("training", "validation", "testing"))]
    columns += [Column("folds"), Column("SHA-256 of the frames")]
    rows = [
        [
            datalist.protocol,
            *(datalist.frames[section] for section in ("training", "validation", "testing")),
            "; ".join(f"{section} {folds}" for section, folds in datalist.folds.items()),
            datalist.sha256[:16],
        ]
        for datalist in datalists
    ]
    note = "The best epoch is chosen on the validation frames; every number above is of the test frames."
    return Table("frames", "Frames", note, columns, rows)


def _budget_words(plan: Plan) -> str:
    name = "the recipes' own" if plan.budget is None else plan.budget.stem
    return name + "".join(f", {key}={value}" for key, value in plan.settings.items())


def _score_command(row: Row, plan: Plan) -> str:
    overlays = [file.stem for file in row.overlays]
    if plan.budget is not None:
        overlays.append(str(plan.budget) if plan.budget.parent != configs_dir() else plan.budget.stem)
    values = {**plan.settings, "temperature": TEMPERATURE}
    settings = [shlex.quote(f"{key}={value}") for key, value in values.items() if not key.startswith(OF_TRAINING)]
    words = ["pe_monai evaluate --data external --split external/datalist.json --section testing"]
    words += [f"--config {shlex.join(overlays)}"] if overlays else []
    words += [f"--set {' '.join(settings)}"]
    weights = shlex.quote(str(plan.output / "runs" / "PROTOCOL" / row.name / "model.pt"))
    return " ".join([*words, f"--weights {weights} -o scores"])


def _train_command(row: Row, plan: Plan) -> str:
    overlays = [f"../configs/{file.name}" for file in row.overlays]
    if plan.budget is not None:
        overlays.append(str(plan.budget) if plan.budget.parent != configs_dir() else f"../configs/{plan.budget.name}")
    files = shlex.quote(json.dumps(["configs/train.json", *overlays], ensure_ascii=False))
    settings = "".join(f" --{key} {shlex.quote(str(value))}" for key, value in plan.settings.items())
    # elsewhere than MONAI's default place, where the weights that ship lie
    places = f"--output_dir runs/{row.name} --ckpt_path runs/{row.name}/model.pt"
    # not the protocol's name: where the published test folds are absent, it would select on the frames tested here
    datalist = shlex.quote(str(plan.output.resolve() / "datalists" / "PROTOCOL.json"))
    return f"python -m monai.bundle run training --config_file {files} --datalist {datalist} {places}{settings}"
