# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Score a bundle on a data set: a thin front to 'python -m monai.bundle run evaluating'."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pe_monai.cli.bundle_command import add_bundle_arguments, run_bundle
from pe_monai.paths import bundle_dir

EXAMPLES = """examples:
  pe_monai evaluate --data Pericardial-Effusion-experimental-data -o scores
  pe_monai evaluate --data DATA --split exam --section testing --weights my_training/model.pt -o scores"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle_arguments(parser)
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="folder of the scores")
    parser.add_argument("--split", default="clip", help="clip, exam, paper or a datalist file (default: clip)")
    parser.add_argument(
        "--section", choices=("training", "validation", "testing"), default="validation", help="default: validation"
    )
    parser.add_argument("--weights", metavar="FILE", help="weights to score (default: the bundle's)")
    parser.add_argument(
        "--record", action="store_true", help="write the scores into the bundle's metadata.json (eval_metrics)"
    )


def run(options: argparse.Namespace) -> int:
    overrides = {} if options.weights is None else {"ckpt_path": str(Path(options.weights).resolve())}
    output = Path(options.output).resolve()
    run_bundle(
        options,
        ["train.json", "evaluate.json"],
        "evaluating",
        output_dir=str(output),
        datalist=options.split,
        section=options.section,
        **overrides,
    )
    if options.record:
        record_scores(Path(options.bundle) if options.bundle else bundle_dir(), output / "summary.json")
    print((output / "summary.md").read_text(encoding="utf-8"))
    return 0


def record_scores(bundle: Path, summary: Path) -> None:
    """Put an evaluation's numbers, with its protocol, into ``eval_metrics`` of a bundle's metadata."""
    from pe_monai.data import write_whole
    from pe_monai.evaluation import eval_metrics

    scores = json.loads(summary.read_text(encoding="utf-8"))
    path = bundle / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata["eval_metrics"] = {"protocol": scores["protocol"], **eval_metrics(scores)}
    text = json.dumps(metadata, indent=4, ensure_ascii=False) + "\n"
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))
