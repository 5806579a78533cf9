# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether choosing what to label next by uncertainty pays: python -m benchmarks.active_learning --data DATA -o OUT.

A user who labels clip after clip is played on folds 1 to 7. Whenever the next number of labelled clips is reached, a
network is trained from scratch on them and scored on fold 8, which nothing is trained on or chosen by. Call it again to
go on after a kill, or with more seeds: rounds that OUT/rounds.csv holds are not done again.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monai.data import CacheDataset
from monai.utils import set_determinism
from torch import nn
from torch.utils.data import Subset

from benchmarks.learning_curves import STRATEGIES, draw, read_rounds, tables, write_rounds
from pe_monai import __version__
from pe_monai.cli.arguments import positive
from pe_monai.cli.bundle_command import parse_settings
from pe_monai.data import load_datalist, write_whole
from pe_monai.evaluation import EvaluationReport, eval_metrics, summarise
from pe_monai.experiment.rows import read_stack
from pe_monai.measure import frame_uncertainty
from pe_monai.paths import bundle_dir
from pe_monai.whole import write_text_whole

# a network that a CPU trains in a minute; nothing is tuned on fold 8, the threshold least of all
SMALL = {"spatial_size": [64, 88], "network_def#channels": [8, 16, 32, 64, 128], "threshold": 0.5}
FRAMES_AT_ONCE = 16  # they are of one size, in the published data set as in a phantom


class Bench:
    """All frames, each read once, and the bundle's training and evaluation on some of them.

    Args:
        data: folder of the data set.
        settings: values for ids of the bundle's configs.
        steps: of every training.
    """

    def __init__(self, data: str, settings: dict[str, Any], steps: int) -> None:
        self.settings, self.steps = settings, steps
        pool, tested = (load_datalist("clip", section, data) for section in ("training", "validation"))
        self.pool = [item["clip"] for item in pool]
        self.clips = sorted(set(self.pool))
        bundle = self._bundle()
        augmented, plain = (bundle.get_parsed_content(f"{part}#preprocessing") for part in ("train", "validate"))
        # read when first needed: none to draw what is done, and to learn from only the few that are labelled
        self.learned = CacheDataset(pool, augmented, runtime_cache="threads")
        self.judged = CacheDataset(pool + tested, plain, runtime_cache="threads")

    def learn(self, clips: Iterable[str], seed: int) -> nn.Module:
        """A network trained on the frames of some clips; the same steps whatever their number."""
        set_determinism(seed)
        handlers = [
            {"_target_": "pe_monai.training.StopOnNan"},
            {"_target_": "LrScheduleHandler", "lr_scheduler": "@lr_scheduler", "print_lr": False, "epoch_level": False},
        ]
        overrides = {
            "seed": seed,
            "max_epochs": 1,
            "train#trainer#epoch_length": self.steps,
            "lr_scheduler#total_steps": self.steps,
            "train#dataset": Subset(self.learned, self.places(clips)),
            "train#handlers": handlers,
            "train#writers": [],
            "train#state#is_writer": False,
            "train#state#transform": self.learned.transform,
        }
        bundle = self._bundle(**overrides)
        bundle.get_parsed_content("train#trainer").run()
        return bundle.get_parsed_content("network")

    def score(self, network: nn.Module) -> dict[str, float]:
        """The main numbers of the evaluation on fold 8."""
        with tempfile.TemporaryDirectory() as nothing:
            report = EvaluationReport(nothing)
            self._evaluate(network, range(len(self.pool), len(self.judged)), report.add)
        return eval_metrics(summarise(report.rows, samples=2))

    def uncertainty(self, network: nn.Module, clips: Iterable[str]) -> dict[str, float]:
        """Of each clip that of its least certain frame: the label app asks for that frame, then for no other of its
        clip before all clips have had their turn."""
        places, found = self.places(clips), []

        def judge(engine: Any) -> None:
            for inputs, outputs in zip(engine.state.batch, engine.state.output, strict=True):
                item = {**inputs, **outputs}
                planes = (item[key].cpu().numpy() for key in ("probability", "pred", "sector"))
                found.append(round(frame_uncertainty(*planes), 4))

        self._evaluate(network, places, judge)
        highest: dict[str, float] = {}
        for place, value in zip(places, found, strict=True):
            highest[self.pool[place]] = max(value, highest.get(self.pool[place], 0.0))
        return highest

    def places(self, clips: Iterable[str]) -> list[int]:
        """Numbers of the frames of clips of the pool."""
        chosen = set(clips)
        return [place for place, clip in enumerate(self.pool) if clip in chosen]

    def _evaluate(self, network: nn.Module, places: Sequence[int], handler: Callable[[Engine], None]) -> None:
        bundle = self._bundle(
            **{
                "network": network,
                "validate#dataset": Subset(self.judged, places),
                "validate#preprocessing": self.judged.transform,
                "validate#dataloader#batch_size": FRAMES_AT_ONCE,
                "validate#additional_metrics": {},
                "validate#handlers": [],
            }
        )
        evaluator = bundle.get_parsed_content("validate#evaluator")
        evaluator.add_event_handler(Events.ITERATION_COMPLETED, handler)
        evaluator.run()

    def _bundle(self, **overrides: Any) -> ConfigParser:
        parser = read_stack([bundle_dir() / "configs" / name for name in ("train.json", "evaluate.json")])
        parser.update({"bundle_root": str(bundle_dir()), **self.settings, **overrides})
        return parser


def play(bench: Bench, seed: int, counts: Sequence[int], rows: list[dict[str, Any]], keep: Callable[[], None]) -> None:
    """All rounds of a seed that ``rows`` lacks; both strategies begin with the same random clips.

    A row holds what is labelled and what is to be labelled next, so that any later round can start from it.
    """
    order = random.Random(seed).sample(bench.clips, len(bench.clips))
    for count, following in zip(counts, [*counts[1:], counts[-1]], strict=True):
        trained: tuple[list[str], nn.Module, dict[str, float]] | None = None
        for strategy in STRATEGIES:
            done = {row["clips"]: row for row in rows if (row["seed"], row["strategy"]) == (seed, strategy)}
            if count in done:
                continue
            before = done[max(done)] if done else {"labelled": [], "next": order[:count]}
            labelled = before["labelled"] + before["next"]
            if trained is None or trained[0] != labelled:
                network = bench.learn(labelled, seed)
                trained = labelled, network, bench.score(network)
            waiting = [clip for clip in order if clip not in set(labelled)]
            if strategy == "epistemic" and following > count:
                values = bench.uncertainty(trained[1], waiting)
                waiting.sort(key=values.__getitem__, reverse=True)
            identity = {"seed": seed, "strategy": strategy, "clips": count, "frames": len(bench.places(labelled))}
            rows.append({**identity, **trained[2], "labelled": labelled, "next": waiting[: following - count]})
            keep()
            print(f"seed {seed}, {strategy}, {count} clips: Dice {trained[2]['mean_dice']:.3f}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Play all seeds, then print the tables and draw the curves."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.active_learning", description=__doc__)
    parser.add_argument("--data", required=True, help="data set's folder")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help="folder of rounds and curves")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="(default: 0 1 2)")
    parser.add_argument("--clips", type=positive, nargs="+", default=[20, 40, 80, 160], metavar="N", help="labelled")
    parser.add_argument("--steps", type=positive, default=400, metavar="N", help="of each training (default: 400)")
    parser.add_argument("--set", nargs="+", default=[], metavar="ID=VALUE", help="values for ids of the configs")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    settings = {**SMALL, **parse_settings(options.set)}
    plan = {"clips": options.clips, "steps": options.steps, "settings": settings, "pe_monai": __version__}
    bench = Bench(options.data, settings, options.steps)
    if not 0 < options.clips[0] or sorted(set(options.clips)) != options.clips or options.clips[-1] > len(bench.clips):
        parser.error(f"--clips {options.clips}: give rising numbers from 1 to {len(bench.clips)}, the clips there are.")
    _check_plan(options.output / "plan.json", json.loads(json.dumps(plan)), parser)
    table = options.output / "rounds.csv"
    rows = read_rounds(table)
    for seed in options.seeds:
        play(bench, seed, options.clips, rows, lambda: write_rounds(table, rows))
    chosen = [row for row in rows if row["seed"] in options.seeds]
    print(tables(chosen))
    write_whole(options.output / "active_learning.svg", lambda partial: partial.write_bytes(draw(chosen)))


def _check_plan(path: Path, plan: dict[str, Any], parser: argparse.ArgumentParser) -> None:
    """Rounds of another plan must not be taken for rounds of this one."""
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != plan:
        parser.error(f"{path.parent}: holds rounds of another plan ({path.name}); name another folder.")
    write_text_whole(path, json.dumps(plan, indent=1))


if __name__ == "__main__":
    main()
