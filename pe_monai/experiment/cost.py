# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a network costs: parameters, multiply-adds, and frames a second on this machine's CPU, side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from pe_monai.experiment.rows import read_stack
from pe_monai.experiment.runs import Run
from pe_monai.inferers import FrameInferer

ROUNDS = 15
WARM_UP = 3


@dataclass(frozen=True)
class Cost:
    """What a row's network costs for one frame at the size it was trained at.

    Attributes:
        size: (height, width) of its input.
        parameters: number of them.
        multiply_adds: of a forward pass; convolutions and matrix products, as PyTorch counts them.
        frames_per_second: network alone, one frame at a time, median of all rounds.
    """

    size: tuple[int, int]
    parameters: int
    multiply_adds: int
    frames_per_second: float


def measure_costs(runs: Sequence[Run]) -> list[Cost]:
    """Measure the networks of several runs on the CPU, in turns, so that what else the machine does hits all alike.

    Each runs as the bundle runs it: channels-last, bfloat16 where the CPU gains by it.

    Args:
        runs: their rows, budgets and settings say which networks.
    """
    built = [_build(run) for run in runs]
    inferer = FrameInferer()
    times: list[list[float]] = [[] for _ in built]
    with torch.inference_mode():
        for turn in range(WARM_UP + ROUNDS):
            for place, (network, frame) in enumerate(built):
                begin = time.perf_counter()
                inferer(frame, network)
                if turn >= WARM_UP:
                    times[place].append(time.perf_counter() - begin)
    return [
        Cost(
            size=tuple(frame.shape[2:]),
            parameters=sum(weights.numel() for weights in network.parameters()),
            multiply_adds=_multiply_adds(network, frame),
            frames_per_second=1 / median(taken),
        )
        for (network, frame), taken in zip(built, times, strict=True)
    ]


def _build(run: Run) -> tuple[torch.nn.Module, torch.Tensor]:
    parser = read_stack(run.row.configs("train.json", budget=run.budget))
    for name, value in run.settings.items():
        parser[name] = value
    parser["device"] = "$torch.device('cpu')"
    network = parser.get_parsed_content("network").eval()
    height, width = parser.get_parsed_content("spatial_size")
    return network, torch.rand(1, parser["network_def"]["in_channels"], height, width)


def _multiply_adds(network: torch.nn.Module, frame: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(frame)
    return counter.get_total_flops() // 2
