# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Score a bundle on a data set: a thin front to 'python -m monai.bundle run evaluating'."""

from __future__ import annotations

import argparse
from pathlib import Path

from pe_monai.cli.bundle_command import add_bundle_arguments, run_bundle

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
    print((output / "summary.md").read_text(encoding="utf-8"))
    return 0
