# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Folding of batch normalisations into the convolutions before them."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pe_monai.networks.blocks import Normalised

_IDLE = (nn.Identity, nn.Dropout, nn.Dropout2d)


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A copy of a network for inference in which a convolution does the work of the batch norm that follows it.

    Pairs are found in each ``nn.Sequential``, nested ones included, as MONAI's blocks, ours and most others are built;
    dropout between the two, which does nothing in inference, does not part them. What is called elsewhere in a
    ``forward`` is left alone: ONNX Runtime and OpenVINO fold that themselves.

    Args:
        network: any network; it is left as it was.

    Returns:
        The copy, on the CPU and in evaluation mode; its outputs are equal but for rounding.
    """
    folded = copy.deepcopy(network).cpu().eval()
    places = Counter(id(child) for module in folded.modules() for child in module._modules.values())
    for sequence in [module for module in folded.modules() if _runs_in_order(module)]:
        steps = [step for step in _leaves(sequence) if not isinstance(step[2], _IDLE)]
        for (parent, name, conv), (norm_parent, norm_name, norm) in zip(steps, steps[1:], strict=False):
            if not isinstance(conv, (nn.Conv2d, nn.ConvTranspose2d)) or not isinstance(norm, nn.BatchNorm2d):
                continue
            # a module with two places may be called without the norm; a norm without statistics is no fixed factor
            if places[id(conv)] == places[id(norm)] == 1 and norm.track_running_stats:
                fused = fuse_conv_bn_eval(conv, norm, transpose=isinstance(conv, nn.ConvTranspose2d))
                if _agree(conv, norm, fused):
                    parent[name] = fused
                    norm_parent[norm_name] = nn.Identity()
    return folded


def _agree(conv: nn.Conv2d | nn.ConvTranspose2d, norm: nn.Module, fused: nn.Module) -> bool:
    """Whether a convolution with a ``forward`` of its own, which may know no bias, is right after folding."""
    if type(conv) in (nn.Conv2d, nn.ConvTranspose2d):
        return True
    with torch.no_grad():
        image = torch.linspace(-1, 1, conv.in_channels * 16 * 16).view(1, -1, 16, 16)
        expected = norm(conv(image))
        return torch.allclose(fused(image), expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def _runs_in_order(module: nn.Module | None) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward in (nn.Sequential.forward, Normalised.forward)


def _leaves(sequence: nn.Module) -> Iterator[tuple[dict, str, nn.Module]]:
    """Modules in the order they run in, each with where it is kept."""
    for name, module in sequence.named_children():
        if _runs_in_order(module):
            yield from _leaves(module)
        else:
            yield sequence._modules, name, module
