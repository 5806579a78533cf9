# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Compare a training by two processes of one thread with one by one process of two: python -m benchmarks.scaling."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.timing import table
from pe_monai.cli.arguments import positive
from pe_monai.data import write_phantom_dataset
from pe_monai.experiment.runs import reason_of
from pe_monai.paths import bundle_dir, configs_dir


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--data", metavar="DATA", help="data set's folder (default: phantoms)")
    parser.add_argument("--config", metavar="NAME", default="phantom", help="overlay in configs/ (default: phantom)")
    parser.add_argument("--epochs", type=positive, default=4, metavar="N", help="epochs that are timed (default: 4)")
    parser.add_argument("--rounds", type=positive, default=3, metavar="N", help="turns of each (default: 3)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or str(write_phantom_dataset(Path(folder) / "phantoms", folds=(1, 8), clips_per_fold=12))
        taken: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(options.rounds):
            for processes, times in taken.items():
                # what a start and an end cost is the same for every number of epochs
                short, long = (
                    _train(processes, options.config, data, epochs, folder) for epochs in (1, 1 + options.epochs)
                )
                times.append((long - short) / options.epochs)
    seconds = {processes: statistics.median(times) for processes, times in taken.items()}
    rows = [[f"{n} of {2 // n} threads", seconds[n], seconds[1] / seconds[n]] for n in seconds]
    print(table(["processes", "seconds an epoch, its validation included", "ratio"], rows))


def _train(processes: int, config: str, data: str, epochs: int, folder: str) -> float:
    """Seconds that a training takes; both see as many frames in a step."""
    configs = ["configs/train.json", str(configs_dir().resolve() / f"{config}.json")]
    start = [sys.executable, "-m"]
    if processes > 1:
        configs.append("configs/multi_gpu_train.json")
        start += ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
    command = [*start, "monai.bundle", "run", "training", "--meta_file", "configs/metadata.json"]
    command += ["--config_file", str(configs), "--dataset_dir", str(Path(data).resolve())]
    command += ["--output_dir", f"{folder}/{processes}", "--ckpt_path", f"{folder}/{processes}.pt"]
    command += ["--max_epochs", str(epochs), "--batch_size", str(4 // processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(2 // processes), "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), environment.get("PYTHONPATH", "")])
    started = time.perf_counter()
    run = subprocess.run(command, cwd=bundle_dir(), env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        log = Path(folder) / "failed.log"
        log.write_text(run.stderr, encoding="utf-8")
        sys.exit(f"a training by {processes} processes failed: {reason_of(log)}")
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
