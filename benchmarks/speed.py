# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Compare networks and runtimes for speed, size and Dice: python -m benchmarks.speed -o OUT [--data DATA]."""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.networks import compare_networks
from benchmarks.timing import write_csv
from benchmarks.whole_path import REFERENCE, compare_paths, predictors
from pe_monai.cli.arguments import positive
from pe_monai.data import load_datalist, phantom_frame, write_picture
from pe_monai.inferers import has_fast_bf16
from pe_monai.report.sheet import choose_frames
from pe_monai.runtimes import read_manifest
from pe_monai.runtimes.accuracy import read_labels

SINGLE = ", no mirroring"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="folder of speed.md, tables as CSV, and speed.png"
    )
    parser.add_argument("--data", metavar="DATA", help="data set's folder (default: phantoms, and no Dice)")
    parser.add_argument("--bundle", metavar="DIR", help="MONAI bundle (default: the one that ships)")
    parser.add_argument("--exports", nargs="*", default=[], metavar="DIR", help="folders that 'pe_monai export' wrote")
    parser.add_argument("--threads", type=positive, metavar="N", help="threads of every runtime (default: one a core)")
    parser.add_argument("--rounds", type=positive, default=7, metavar="N", help="turns of each rival (default: 7)")
    parser.add_argument("--frames", type=positive, default=64, metavar="N", help="frames of the path (default: 64)")
    parser.add_argument("--calibrate", type=int, default=20, metavar="N", help="images to quantize with; 0: no int8")
    parser.add_argument("--workers", type=positive, default=2, metavar="N", help="processes sharing the path; 1: none")
    parser.add_argument("--no-flip", action="store_true", help="also the whole path without averaging mirrored frames")
    parser.add_argument("--only", choices=("networks", "path"), help="one part alone")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)

    files, labels = _frames(options, output)
    rivals = predictors(options.bundle, options.exports)
    plain = rivals["torch fp32"]
    text = f"{_machine()}\n"
    if options.only != "path":
        step = max(1, len(files) // max(options.calibrate, 8))
        images = [plain.prepare(file) for file in files[::step]]
        calibration = [image.numpy() for image in images[: options.calibrate]]
        text += "\nThe network alone, batches of 8, filled up to multiples of 32 pixels:\n\n"
        networks = compare_networks(plain.network, torch.cat(images[:8]), calibration, options.rounds)
        write_csv(networks, output / "networks.csv")
        text += networks
    if options.only != "networks":
        amp = {"amp": False}
        shared = {"torch fp32": (options.bundle, "cpu", 8, amp, "torch")}
        for folder in options.exports:
            name = f"{read_manifest(folder)['format']} {read_manifest(folder)['precision']} (exported)"
            shared[name] = (options.bundle, "cpu", 8, amp, folder)
        if options.no_flip:
            single = predictors(options.bundle, options.exports, flip=False)
            rivals |= {f"{name}{SINGLE}": predictor for name, predictor in single.items()}
            shared |= {
                f"{name}{SINGLE}": (*model[:3], {**amp, "flip": False}, model[4]) for name, model in shared.items()
            }
        if options.workers < 2:
            shared = {}
        paths, points = compare_paths(rivals, files, labels, options.rounds, shared, options.workers)
        write_csv(paths, output / "path.csv")
        text += f"\nA frame's file in, a mask's file out, {len(files)} frames"
        text += f"; mean Dice of {len(labels)} frames:\n\n" if labels else ":\n\n"
        text += paths
        if labels:
            _plot(points, output / "speed.png")
    (output / "speed.md").write_text(text, encoding="utf-8")
    print(text)


def _frames(options: argparse.Namespace, output: Path) -> tuple[list[Path], dict]:
    """Files to time, evenly spread over the validation frames, and the annotated ones; phantoms without a data set."""
    if options.data:
        items = load_datalist("clip", "validation", options.data)
        chosen = choose_frames(len(items), options.frames)
        return [Path(items[place]["image"]) for place in chosen], read_labels(items)
    files = []
    for seed in range(options.frames):
        path = output / "phantoms" / f"{seed}.png"
        files.append(write_picture(phantom_frame(seed, thickness_mm=4 + seed % 20).image, path))
    return files, {}


def _machine() -> str:
    bf16 = "faster" if has_fast_bf16() else "not faster"
    return (
        f"{platform.machine()}, {bf16} in bfloat16; {torch.get_num_threads()} threads; torch "
        f"{torch.__version__}, Python {platform.python_version()}. Medians of rivals run in turns."
    )


def _plot(points: dict[str, tuple[float, float]], path: Path) -> None:
    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    # numbers, since the names of points side by side would cover each other
    for number, (name, (speed, dice)) in enumerate(points.items(), start=1):
        axes.plot(speed, dice, "s" if name == REFERENCE else "o", label=f"{number}  {name}")
        axes.annotate(str(number), (speed, dice), textcoords="offset points", xytext=(4, 4), fontsize=8)
    figure.legend(loc="outside right upper", fontsize=7, frameon=False)
    axes.set_xlabel("frames a second, file to file")
    axes.set_ylabel("mean Dice")
    axes.margins(0.2)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    sys.exit(main())
