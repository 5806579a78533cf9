# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Copies of the shipped bundle with a small network, and the commands to run them in a Python of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import monai
import torch
from monai.bundle import ConfigParser
from torch import nn

from pe_monai.data import phantom_frame
from pe_monai.paths import bundle_dir, configs_dir

CHANNELS = [4, 8, 16]
SPATIAL_SIZE = [64, 96]


def python_environment() -> dict[str, str]:
    """Environment in which a Python of its own finds this package, on one thread."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def bundle_command(run_id: str, configs: Sequence[str], **overrides: object) -> list[str]:
    """``python -m monai.bundle run`` as the README gives it, to be run inside a bundle's folder."""
    command = [sys.executable, "-m", "monai.bundle", "run", run_id]
    command += ["--meta_file", "configs/metadata.json", "--config_file", str(list(configs))]
    command += ["--logging_file", "configs/logging.conf"]
    for name, value in overrides.items():
        command += [f"--{name}", str(value)]
    return command


def run_python(command: Sequence[str], cwd: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, its output caught."""
    return subprocess.run(
        command, cwd=cwd, env=python_environment(), capture_output=True, text=True, timeout=timeout, check=False
    )


def copy_bundle(folder: Path, channels: Sequence[int] = CHANNELS, spatial_size: Sequence[int] = SPATIAL_SIZE) -> Path:
    """The shipped bundle without its weights, its network made small."""
    shutil.copytree(bundle_dir(), folder, ignore=shutil.ignore_patterns("models"))
    shutil.copytree(configs_dir(), folder.parent / "configs", dirs_exist_ok=True)
    for name in ("train", "inference"):
        file = folder / "configs" / f"{name}.json"
        config = json.loads(file.read_text(encoding="utf-8"))
        config["network_def"]["channels"] = list(channels)
        config["spatial_size"] = list(spatial_size)
        file.write_text(json.dumps(config, indent=4), encoding="utf-8")
    return folder


def random_network(bundle: Path, seed: int = 0) -> nn.Module:
    """The bundle's network with random weights, its last layer set so that it marks about a quarter of a phantom."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    torch.manual_seed(seed)
    network = parser.get_parsed_content("network").cpu()
    images = []
    for number in range(4):
        frame = torch.from_numpy(phantom_frame(number).image).permute(2, 0, 1)
        item = {"image": monai.data.MetaTensor(frame.permute(0, 2, 1).permute(1, 2, 0))}
        images.append(parser.get_parsed_content("preprocessing")(item, start=1)["image"].as_tensor())
    batch = torch.stack(images)
    with torch.no_grad():
        network.train()
        for _ in range(60):  # the running statistics of the batch norms come to fit the images
            network(batch)
        network.eval()
        inside = network(batch)[batch > 0]
        network.head.weight /= inside.std()
        network.head.bias /= inside.std()
        network.head.bias -= network(batch)[batch > 0].quantile(0.75)
    return network
