# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Train the bundle's network: a thin front to 'python -m monai.bundle run training'."""

from __future__ import annotations

import argparse
from pathlib import Path

from pe_monai.cli.bundle_command import add_bundle_arguments, run_bundle

EXAMPLES = """examples:
  pe_monai train --data Pericardial-Effusion-experimental-data -o my_training
  pe_monai train --data phantom_data -o quick --config phantom
  pe_monai train --data DATA -o my_training --resume
  pe_monai train --data DATA -o wide --set max_epochs=60 network_def#channels=[24,48,96,192,384]"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle_arguments(parser)
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="folder of weights, checkpoint and logs")
    parser.add_argument("--resume", action="store_true", help="go on from OUT's checkpoint")
    parser.add_argument("--split", default="clip", help="clip, exam, paper or a datalist file (default: clip)")


def run(options: argparse.Namespace) -> int:
    from pe_monai.errors import WeightsError

    output = Path(options.output).resolve()
    weights = output / "model.pt"
    before = None if options.resume else _written(weights)
    run_bundle(
        options,
        ["train.json"],
        "training",
        output_dir=str(output),
        ckpt_path=str(weights),
        datalist=options.split,
        resume=options.resume,
    )
    if _written(weights) in (None, before):
        raise WeightsError(
            f"{output}: no epoch was validated, so no weights were kept; set val_interval to at most max_epochs."
            + (f" {weights.name} is of an earlier training." if before else "")
        )
    print(f"weights in {weights}")
    return 0


def _written(path: Path) -> int | None:
    """When a file was written, in nanoseconds; None if there is none."""
    return path.stat().st_mtime_ns if path.is_file() else None
