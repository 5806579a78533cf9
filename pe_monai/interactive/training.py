# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What the training of the interactive network needs beyond the bundle's."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import nn

from pe_monai.errors import WeightsError
from pe_monai.weights import read_state

logger = logging.getLogger(__name__)


def widen_start(network: nn.Module, weights: str | Path | None) -> None:
    """Load the weights of a network that sees the frame alone into one with further channels of input.

    The weights of the further channels are zero, so that it starts as the network it comes from, whatever they show.

    Args:
        network: network of the same architecture with more input channels, the frame's channels first.
        weights: file with a state_dict; None leaves the network as it is.

    Raises:
        WeightsError: the file is missing or damaged, or belongs to another architecture.
    """
    if weights is None:
        return
    state, wanted = read_state(weights), network.state_dict()
    for name, value in state.items():
        target = wanted.get(name)
        if target is None or target.ndim != 4 or value.ndim != 4 or target.shape[1] <= value.shape[1]:
            continue
        if target.shape[0] == value.shape[0] and target.shape[2:] == value.shape[2:]:
            missing = torch.zeros_like(target[:, value.shape[1] :])
            state[name] = torch.cat([value.to(target.device), missing], dim=1)
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as e:
        reason = " ".join(str(e).split())[:200]
        raise WeightsError(f"{weights}: these weights belong to another network than network_def ({reason}).") from e
    logger.info("starting from the weights in %s", weights)
