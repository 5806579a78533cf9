# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The bundle's network and its peers in every runtime: size, multiply-adds and time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch
from monai.bundle import ConfigParser
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import in_turns, table
from pe_monai.inferers import FrameInferer, has_fast_bf16
from pe_monai.paths import configs_dir
from pe_monai.runtimes import Session, fold_batch_norm
from pe_monai.runtimes.convert import to_onnx, to_openvino
from pe_monai.runtimes.quantize import quantize
from pe_monai.runtimes.session import onnx_session, openvino_session

PEERS = {"BasicUNet": "basic_unet", "FlexibleUNet resnet18": "flexible_unet", "smp Unet resnet18": "smp_unet"}
REFERENCE = "torch fp32"


def compare_networks(own: nn.Module, images: torch.Tensor, calibration: Sequence[np.ndarray], rounds: int) -> str:
    """Table of networks and runtimes, timed in turns on one batch of images.

    Args:
        own: the bundle's network.
        images: (B, 1, H, W), what the network is given of frames.
        calibration: images to quantize with, each (1, 1, H, W); without any int8 is left out.
        rounds: how often each is timed.
    """
    networks = {"ours": own, **_peers()}
    # some peers take nothing else; all of them see the same
    images = _to_multiple(images)
    calibration = [_to_multiple(torch.from_numpy(image)).numpy() for image in calibration]
    rivals: dict[tuple[str, str], Callable[[], object]] = {}
    for name, network in networks.items():
        for runtime, work in _runtimes(network, images, calibration).items():
            rivals[name, runtime] = work
    times = in_turns({"|".join(key): work for key, work in rivals.items()}, rounds, len(images))
    reference = times[f"ours|{REFERENCE}"].wall
    rows = []
    for name, network in networks.items():
        parameters, operations = _size(network, images[:1])
        for place, (rival, runtime) in enumerate(key for key in rivals if key[0] == name):
            taken = times[f"{rival}|{runtime}"]
            size = [f"{parameters / 1e6:.2f}", f"{operations / 1e9:.2f}"] if place == 0 else ["", ""]
            rows.append([name if place == 0 else "", *size, runtime, taken.wall, reference / taken.wall])
    head = ["network", "parameters (M)", "multiply-adds (G)", "runtime", "ms a frame", "speed, ours in torch fp32 = 1"]
    return table(head, rows)


def _peers() -> dict[str, nn.Module]:
    found = {}
    for name, config in PEERS.items():
        parser = ConfigParser()
        parser.read_config(str(configs_dir() / f"{config}.json"))
        try:
            found[name] = parser.get_parsed_content("network_def").eval()
        except Exception as e:  # a package that is not installed, in MONAI's wrapping
            print(f"{name}: left out ({' '.join(str(e).split())[:100]})", file=sys.stderr)
    return found


def _runtimes(
    network: nn.Module, images: torch.Tensor, calibration: Sequence[np.ndarray]
) -> dict[str, Callable[[], object]]:
    """What computes the images once, by runtime and precision; those that are not installed are left out."""
    network = network.eval()
    sessions = {}
    folded = fold_batch_norm(network)
    try:
        # with all images, since MONAI's FlexibleUNet keeps the number of those that it is converted with
        model = to_openvino(folded, images)
        precisions = ("fp32", "bf16") if has_fast_bf16() else ("fp32",)
        sessions |= {f"openvino {precision}": openvino_session(model, precision) for precision in precisions}
        if calibration:
            sessions["openvino int8"] = openvino_session(quantize(model, calibration), "int8")
    except Exception as e:  # not installed, or a peer that cannot be converted
        print(f"openvino: left out ({' '.join(str(e).split())[:100]})", file=sys.stderr)
    try:
        sessions["onnx fp32"] = onnx_session(to_onnx(folded, images).SerializeToString(), "fp32")
    except Exception as e:  # some peers have no export of dynamic size
        print(f"onnx: left out ({' '.join(str(e).split())[:100]})", file=sys.stderr)
    inferers = {REFERENCE: FrameInferer(amp=False)}
    if has_fast_bf16():
        inferers["torch bf16"] = FrameInferer(amp=True)
    works: dict[str, Callable[[], object]] = {}
    for name, inferer in inferers.items():
        works[name] = torch.inference_mode()(lambda inferer=inferer: inferer(images, network))
    for name, session in sessions.items():
        if not _agrees(session, network, images):
            print(f"{name}: left out, since it does not compute what PyTorch does", file=sys.stderr)
            continue
        works[name] = lambda session=session: session(images)
    return works


@torch.inference_mode()
def _agrees(session: Session, network: nn.Module, images: torch.Tensor) -> bool:
    expected = network(images)
    found = session(images)
    return found.shape == expected.shape and bool((found - expected).abs().mean() <= 0.1 * expected.std())


def _to_multiple(images: torch.Tensor, factor: int = 32) -> torch.Tensor:
    height, width = images.shape[2:]
    return nn.functional.pad(images, [0, -width % factor, 0, -height % factor])


def _size(network: nn.Module, image: torch.Tensor) -> tuple[int, int]:
    """Parameters, and multiply-adds for one image."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode(False), torch.no_grad():
        network.float()(image.clone())
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2
