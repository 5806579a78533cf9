# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Show the main job without any data: synthetic frames through the shipped weights, then a short training on them."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from pe_monai.cli.bundle_command import run_bundle

EXAMPLES = """examples:
  pe_monai demo
  pe_monai demo -o my_demo --no-training"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", default="demo", metavar="OUT", help="folder to write (default: demo)")
    parser.add_argument("--no-training", action="store_true", help="only segment")
    parser.set_defaults(bundle=None, config=["phantom"], set=[])


def run(options: argparse.Namespace) -> int:
    from pe_monai.cli import main
    from pe_monai.data import phantom_frame, write_phantom_dataset, write_picture

    output = Path(options.output)
    data = output / "phantom"
    if not data.is_dir():
        print(f"1. a synthetic data set: {data}")
        write_phantom_dataset(data, clips_per_fold=24, thickness_range_mm=(10, 40))
    frames = output / "frames"
    for number in range(6):
        frame = phantom_frame(100 + number, background=("green", "black")[number % 2], size=(448, 640))
        write_picture(frame.image, frames / f"phantom-{number}.png")
    print("2. six synthetic frames through the shipped weights, which were trained on real ones")
    code = main(["segment", str(frames), "-o", str(output / "results")])
    print(f"   look at {output / 'results' / 'overlays'}")
    if options.no_training or code:
        return code
    training = output / "training"
    print(f"3. a short training of the bundle on the synthetic data set: {training}")
    options.data = str(data)
    run_bundle(
        options,
        ["train.json"],
        "training",
        output_dir=str(training.resolve()),
        ckpt_path=str(training.resolve() / "model.pt"),
    )
    print("   Dice on the fold that was not trained on, epoch by epoch (frames with effusion):")
    with (training / "metrics.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            dice = float(row["val_dice_positives"])
            print(f"   {row['epoch']:>3}  {dice:.3f}  {'#' * round(40 * dice)}")
    return 0
