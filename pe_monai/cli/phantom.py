# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Write a synthetic data set in the layout of the published one: seeded phantom frames with known effusions."""

from __future__ import annotations

import argparse

EXAMPLES = """examples:
  pe_monai phantom phantom_data
  pe_monai phantom phantom_data --folds 1 2 3 4 --clips 20 --background black --seed 7"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", metavar="OUT", help="folder to write; must be absent or empty")
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2, 3], metavar="K", help="folds (default: 1 2 3)")
    parser.add_argument("--clips", type=int, default=12, metavar="N", help="clips in each fold (default: 12)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed writes the same files (default: 0)")
    parser.add_argument("--background", choices=("green", "black"), default="green", help="default: green")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(224, 320), metavar=("HEIGHT", "WIDTH"), help="default: 224 320"
    )
    parser.add_argument(
        "--thickness",
        type=float,
        nargs=2,
        default=(2, 40),
        metavar=("FROM", "TO"),
        help="effusions' thickness in mm; thick ones are learned sooner (default: 2 40)",
    )


def run(options: argparse.Namespace) -> int:
    from pe_monai.data import index_dataset, write_phantom_dataset
    from pe_monai.errors import DatasetError

    try:
        root = write_phantom_dataset(
            options.output,
            folds=tuple(options.folds),
            clips_per_fold=options.clips,
            seed=options.seed,
            background=options.background,
            size=tuple(options.size),
            thickness_range_mm=tuple(options.thickness),
        )
    except ValueError as e:
        raise DatasetError(str(e)) from e
    print(f"{len(index_dataset(root))} frames in {root}")
    return 0
