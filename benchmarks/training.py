# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What an epoch of the bundle costs beside a bare loop on tensors in memory: python -m benchmarks.training."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import torch
from monai.bundle import ConfigParser

from benchmarks.timing import in_turns, table
from pe_monai.cli.arguments import positive
from pe_monai.data import load_datalist, write_phantom_dataset
from pe_monai.devices import usable_device
from pe_monai.errors import DeviceError
from pe_monai.inferers import FrameInferer
from pe_monai.networks import gradients
from pe_monai.paths import bundle_dir, configs_dir


def main() -> None:
    """Print a table of ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--data", metavar="DATA", help="data set's folder (default: phantoms)")
    parser.add_argument("--frames", type=positive, default=128, metavar="N", help="frames of an epoch (default: 128)")
    parser.add_argument("--batch-size", type=positive, metavar="N", help="frames of a step (default: the bundle's)")
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="turns of each (default: 5)")
    parser.add_argument("--threads", type=positive, default=1, metavar="N", help="of PyTorch (default: 1)")
    parser.add_argument("--device", type=_device, default="cpu", help="cpu or cuda (default: cpu)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or write_phantom_dataset(Path(folder) / "phantoms", folds=(1, 8), clips_per_fold=24)
        items = load_datalist("clip", "training", data)
        items = (items * (1 + options.frames // len(items)))[: options.frames]
        device = options.device
        bundle = _bundle(items, f"{folder}/plain", device, options.batch_size)
        batched = _bundle(items, f"{folder}/batched", device, options.batch_size, "batched")
        rivals = {
            "bare loop, bf16 and channels-last": _bare(bundle, options.frames, device, fast=True),
            "the bundle's epoch, its checkpoint and logs included": bundle.get_parsed_content("train#trainer").run,
            "the same with configs/batched.json": batched.get_parsed_content("train#trainer").run,
            "bare loop, fp32, PyTorch's own layout and gradients": _bare(bundle, options.frames, device, fast=False),
        }
        rivals = {name: _to_the_end(run, device) for name, run in rivals.items()}
        times = in_turns(rivals, options.rounds, options.frames)
    size = bundle.get_parsed_content("batch_size")
    first = next(iter(times.values()))
    rows = [[name, t.wall, t.wall / first.wall, t.cpu] for name, t in times.items()]
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{options.threads} threads"
    print(f"{options.frames} frames, {size} a step, {where}. Medians of rivals run in turns.\n")
    print(table(["training", "ms a frame", "ratio", "CPU ms a frame"], rows))


def _device(name: str) -> torch.device:
    try:
        return usable_device(name)
    except DeviceError as e:
        raise argparse.ArgumentTypeError(str(e)) from e


def _to_the_end(run: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """A GPU is still at work when what asked for the work returns."""

    def wait() -> None:
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return wait


def _bundle(
    items: list[dict], folder: str, device: torch.device, batch_size: int | None, *overlays: str
) -> ConfigParser:
    """The bundle's training of one epoch over some frames, from the cache, without a validation."""
    parser = ConfigParser()
    files = [bundle_dir() / "configs" / "train.json", *(configs_dir() / f"{name}.json" for name in overlays)]
    parser.read_config([str(file) for file in files])
    parser.update(
        {
            "bundle_root": str(bundle_dir()),
            "output_dir": f"{folder}/run",
            "ckpt_path": f"{folder}/model.pt",
            "device": str(device),
            "max_epochs": 1,
            "train#dataset#data": items,
            "validate#dataset#data": items[:1],
            "train#handlers": [{"_target_": "pe_monai.training.StopOnNan"}],
            "lr_scheduler": {"_target_": "torch.optim.lr_scheduler.ConstantLR", "optimizer": "@optimizer"},
        }
        | ({"batch_size": batch_size} if batch_size else {})
    )
    return parser


def _bare(bundle: ConfigParser, frames: int, device: torch.device, fast: bool) -> Callable[[], None]:
    """Forward, backward and step alone, with the bundle's network, loss and optimizer settings."""
    network = bundle.get_parsed_content("network_def", instantiate=True)
    network = network.to(device, memory_format=torch.channels_last if fast else torch.contiguous_format).train()
    loss, batch = bundle.get_parsed_content("loss"), bundle.get_parsed_content("batch_size")
    optimizer = torch.optim.AdamW(network.parameters(), lr=bundle.get_parsed_content("learning_rate"))
    size = bundle.get_parsed_content("spatial_size")
    image, label = (torch.rand(batch, 1, *size, device=device) for _ in range(2))
    label = (label > 0.97).float()
    infer = FrameInferer() if fast else (lambda inputs, net: net(inputs))

    def run() -> None:
        with nullcontext() if fast else mock.patch.object(gradients, "are_cheaper", lambda x: False):
            for _ in range(frames // batch):
                optimizer.zero_grad()
                with torch.autocast("cuda", torch.bfloat16, enabled=fast and device.type == "cuda"):
                    value = loss(infer(image, network), label)
                value.backward()
                optimizer.step()

    return run


if __name__ == "__main__":
    sys.exit(main())
