# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Folding of batch normalisations into the convolutions before them."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A copy of a network for inference in which a convolution does the work of the batch norm that follows it.

    Pairs are found in each ``nn.Sequential``, nested ones included, as MONAI's blocks and ours are built.

    Args:
        network: any network; it is left as it was.

    Returns:
        The copy, on the CPU and in evaluation mode; its outputs are equal but for rounding.
    """
    folded = copy.deepcopy(network).cpu().eval()
    for sequence in [module for module in folded.modules() if isinstance(module, nn.Sequential)]:
        places = list(_leaves(sequence))
        for (parent, name, conv), (norm_parent, norm_name, norm) in zip(places, places[1:], strict=False):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                parent[name] = fuse_conv_bn_eval(conv, norm)
                norm_parent[norm_name] = nn.Identity()
    return folded


def _leaves(sequence: nn.Sequential) -> Iterator[tuple[dict, str, nn.Module]]:
    """Modules in the order they run in, each with where it is kept."""
    for name, module in sequence.named_children():
        if isinstance(module, nn.Sequential):
            yield from _leaves(module)
        else:
            yield sequence._modules, name, module
