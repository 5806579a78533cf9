# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A larger network starts as the smaller one it grows from."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import nn

from pe_monai.errors import WeightsError
from pe_monai.weights import plain_network, read_state

logger = logging.getLogger(__name__)


def grow_start(network: nn.Module, weights: str | Path | None) -> None:
    """Load the weights of a narrower :class:`pe_monai.networks.ImprovedUNet` into a wider one.

    At every place the old channels come first and take nothing from the new ones (those weights are zero), so the
    network's logits are the narrower one's until it trains, with batch or instance normalisation. The new channels keep
    their random start. The idea is that of Net2Net (Chen et al., ICLR 2016), with fresh channels in place of copies.

    Args:
        network: network of the same depth and layers, with as many channels or more at every place.
        weights: file with the narrower network's state_dict; None leaves the network as it is.

    Raises:
        WeightsError: the file is missing or damaged, or its network cannot grow into this one.
    """
    if weights is None:
        return
    old, new = read_state(weights), plain_network(network).state_dict()
    if old.keys() != new.keys():
        odd = sorted(old.keys() ^ new.keys())[0]
        raise WeightsError(f"{weights}: this network cannot grow into the present one: only one of them has {odd!r}.")
    for name, target in new.items():
        try:
            _place(name, old, new)
        except (ValueError, RuntimeError) as e:
            raise WeightsError(
                f"{weights}: this network cannot grow into the present one: {name} is "
                f"{tuple(old[name].shape)} there and {tuple(target.shape)} here."
            ) from e
    logger.info("growing from the weights in %s", weights)


def _place(name: str, old: dict[str, torch.Tensor], new: dict[str, torch.Tensor]) -> None:
    source, target = old[name], new[name]
    if source.ndim < 2:
        target[tuple(slice(size) for size in source.shape)] = source
        return
    if source.shape[2:] != target.shape[2:] or any(s > t for s, t in zip(source.shape, target.shape, strict=True)):
        raise ValueError(name)
    # a transposed convolution has its input first; the only one here is the 2x2 of upsample="deconv"
    if name.startswith("upsamples.") and source.shape[2] == 2:
        source, target = source.transpose(0, 1), target.transpose(0, 1)
    parts = _input_parts(name, source.shape[1], old), _input_parts(name, target.shape[1], new)
    target[: source.shape[0]] = 0
    for (first, last), (start, end) in zip(*parts, strict=True):
        if last - first > end - start:
            raise ValueError(name)
        target[: source.shape[0], start : start + last - first] = source[:, first:last]


def _input_parts(name: str, size: int, state: dict[str, torch.Tensor]) -> list[tuple[int, int]]:
    """Where the tensors lie that are concatenated to a convolution's input of ``size`` channels: first, end."""
    part = name.split(".")
    if part[0] == "decoders" and part[2] == "0":  # the skip connection and what comes up from below
        skip = size - state[f"upsamples.{part[1]}.project.bias"].shape[0]
        return [(0, skip), (skip, size)]
    if name.startswith("multi_scale.aspp.conv_k1."):  # the four branches
        return [(size * k // 4, size * (k + 1) // 4) for k in range(4)]
    return [(0, size)]
