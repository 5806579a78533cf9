# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Index a data set and write its splits (clip, exam, paper) as MONAI datalists with a hash of what they list."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pe_monai.cli.arguments import exit_code

EXAMPLES = """examples:
  pe_monai prepare Pericardial-Effusion-experimental-data -o splits
  pe_monai prepare phantom_data -o splits --protocols clip"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="DATASET", help="folder that holds data/fold1 and so on")
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="folder for clip.json, exam.json, paper.json"
    )
    parser.add_argument("--protocols", nargs="+", choices=("clip", "exam", "paper"), default=["clip", "exam", "paper"])
    parser.add_argument("--seed", type=int, default=2024, help="of the protocols exam and paper (default: 2024)")


def run(options: argparse.Namespace) -> int:
    from pe_monai.data import index_dataset, split_items, write_datalist
    from pe_monai.errors import DatasetError

    items = index_dataset(options.dataset)
    clips = {item.clip for item in items if item.clip}
    exams = {item.exam for item in items if item.exam}
    print(f"{len(items)} frames, {len(clips)} clips, {len(exams)} exam groups, folds {sorted({i.fold for i in items})}")
    refused = 0
    for protocol in options.protocols:
        try:
            split = split_items(options.dataset, protocol, options.seed)
        except DatasetError as e:  # such as no table of clips, without which the others can be written
            print(f"pe_monai prepare: {protocol}: {e}", file=sys.stderr)
            refused += 1
            continue
        path = Path(options.output) / f"{protocol}.json"
        digest = write_datalist(split, path, options.dataset, protocol)
        counts = ", ".join(f"{section} {len(listed)}" for section, listed in split.items())
        print(f"{path}: {counts}; sha256 {digest}")
    return exit_code(len(options.protocols) - refused, refused)
