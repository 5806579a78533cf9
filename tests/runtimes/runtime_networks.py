# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Small networks of every kind that is exported."""

from __future__ import annotations

from unittest.mock import patch

import torch
from monai.networks.nets import BasicUNet
from torch import nn

from pe_monai.networks import ImprovedUNet
from pe_monai.networks.lite_backbone import BACKBONES


def shallow_backbone() -> ImprovedUNet:
    """Of blocks that repeat one another it has two at most, since the ONNX exporter takes a second for each."""
    with patch.dict(BACKBONES, efficientnet_lite0=(1.0, 0.3)):
        return ImprovedUNet(channels=(8, 8, 16, 16, 32), backbone="efficientnet_lite0")


NETWORKS = {
    "paper": lambda: ImprovedUNet(channels=(4, 8, 16)),
    "transposed": lambda: ImprovedUNet(channels=(4, 8, 16), upsample="deconv", padding_mode="zeros", multi_scale=False),
    "backbone": shallow_backbone,
    "monai": lambda: BasicUNet(2, 1, 1, features=(4, 4, 8, 8, 16, 4), norm="batch"),
}


def trained(network):
    """The network with batch norms as a training leaves them: none has mean 0, variance 1, scale 1 and shift 0."""
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value, low, high in (
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2),
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.5, 0.5),
            ):
                value.uniform_(low, high)
    return network.eval()
