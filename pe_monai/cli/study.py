# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Train recipes under several protocols, score them alike and set them beside the paper's numbers."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

EXAMPLES = """examples:
  pe_monai study --data Pericardial-Effusion-experimental-data -o study
  pe_monai study --data DATA -o study --rows table1 ablations --protocols clip exam paper --budget full
  pe_monai study --data DATA -o study --rows paper_improved,paper_improved+positives_only --protocols clip
  pe_monai study --data DATA -o peers --rows peers --protocols clip --set max_epochs=15

Call it again to go on after a kill, or to add rows and protocols: what is done is not done again."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", help="data set's folder (default: the environment's PE_MONAI_DATA)")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="folder of weights, masks and the report")
    parser.add_argument(
        "--rows",
        nargs="+",
        default=["table1"],
        metavar="ROW",
        help="recipes: bundle, overlays of configs/ joined by +, or the groups table1, ablations, empty_frames, peers "
        "(default: table1)",
    )
    parser.add_argument(
        "--protocols", nargs="+", default=["clip"], metavar="NAME", help="clip, exam, paper (default: clip)"
    )
    parser.add_argument(
        "--budget",
        default="small",
        help="small (minutes on two cores), full (a GPU), none, or a JSON file (default: small)",
    )
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="ID=VALUE", help="values for ids of the config, for all rows"
    )


def run(options: argparse.Namespace) -> int:
    from pe_monai.cli.bundle_command import find_dataset, parse_settings
    from pe_monai.errors import BundleError
    from pe_monai.experiment.rows import find_budget, find_rows
    from pe_monai.experiment.study import Plan, run_study

    data = find_dataset(options.data)
    rows, protocols = find_rows(_split(options.rows)), tuple(dict.fromkeys(_split(options.protocols)))
    if not (rows and protocols):
        raise BundleError("nothing to run; name a row with --rows and a protocol with --protocols.")
    plan = Plan(
        rows=rows,
        protocols=protocols,
        dataset=data,
        output=Path(options.output),
        budget=find_budget(options.budget),
        settings=parse_settings(options.set),
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the training that runs, too
    outcome = run_study(plan, say=lambda line: print(line, flush=True))
    for error in outcome.errors:
        print(f"pe_monai study: {error}", file=sys.stderr)
    if outcome.page is None:
        return 2
    print(f"report in {outcome.page}")
    return 1 if outcome.errors else 0


def _split(given: list[str]) -> list[str]:
    """Names separated by spaces or commas."""
    return [name for text in given for name in text.split(",") if name]
