# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Building blocks of :class:`pe_monai.networks.ImprovedUNet`, all on tensors of shape (B, C, H, W)."""

from __future__ import annotations

import torch
from monai.networks.blocks import ADN, SimpleASPP
from torch import nn
from torch.nn import functional as F

from pe_monai.networks import gradients


class Convolution(nn.Conv2d):
    """A 3x3 convolution that keeps H and W (stride 1) or halves them, rounding up (stride 2).

    Under CPU autocast PyTorch pads in float32 and converts to bfloat16 and back around it, at a sixth of the cost of a
    training step; padding needs no precision, so it is done in the type the tensor has.
    """

    def __init__(self, in_channels: int, out_channels: int, padding_mode: str, bias: bool, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride=stride, padding=1, padding_mode=padding_mode, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        if self.padding_mode == "zeros":
            return F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        if not torch.jit.is_scripting() and self.padding_mode == "reflect" and gradients.are_cheaper(x):
            return gradients.reflect_convolution(x, self.weight, self.bias, self.stride)
        return F.conv2d(_pad(x, self.padding_mode), self.weight, self.bias, self.stride)


def _pad(x: torch.Tensor, mode: str) -> torch.Tensor:
    if not torch.jit.is_scripting():
        kind = x.device.type
        if torch.is_autocast_enabled(kind):
            with torch.autocast(kind, enabled=False):
                return F.pad(x.to(torch.get_autocast_dtype(kind)), [1, 1, 1, 1], mode=mode)
    return F.pad(x, [1, 1, 1, 1], mode=mode)


class Normalised(ADN):
    """MONAI's normalisation, dropout and activation, run as :func:`pe_monai.networks.gradients.run_layer` does.

    Args:
        ordering: of "N", "D" and "A".
        channels: of the images.
        norm: as in :class:`ConvBlock`.
        act: as in :class:`ConvBlock`.
        dropout: as in :class:`ConvBlock`.
    """

    def __init__(
        self, ordering: str, channels: int, norm: tuple | str | None, act: tuple | str, dropout: float = 0
    ) -> None:
        super().__init__(
            ordering,
            in_channels=channels,
            act=act,
            norm=norm,
            norm_dim=2,
            dropout=dropout or None,
            dropout_dim=2,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) to the same shape."""
        for layer in self:
            if torch.jit.is_scripting():
                x = layer(x)
            else:
                x = gradients.run_layer(layer, x)
        return x


class ConvBlock(nn.Sequential):
    """Twice: 3x3 convolution, normalisation, channel dropout, activation; H and W are kept.

    The order is the one of Gong et al. 2024: Conv2d with reflection padding, BatchNorm2d, Dropout2d, LeakyReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        padding_mode: ``"reflect"`` (the paper), ``"zeros"`` (the standard U-Net), or another of ``torch.nn.Conv2d``.
        norm: name and arguments of a MONAI normalisation layer, or None.
        act: name and arguments of a MONAI activation.
        dropout: probability that a channel is dropped, in [0, 1).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        padding_mode: str,
        norm: tuple | str | None,
        act: tuple | str,
        dropout: float,
    ) -> None:
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            layers += [
                Convolution(channels, out_channels, padding_mode, bias=norm is None),
                Normalised("NDA", out_channels, norm, act, dropout),
            ]
        super().__init__(*layers)


class Downsample(nn.Sequential):
    """Halves H and W: a learned, strided 3x3 convolution with normalisation and activation, or max pooling.

    Args:
        channels: channels of the input and the output.
        mode: ``"conv"`` (the paper) or ``"maxpool"`` (the standard U-Net).
        padding_mode: as in :class:`ConvBlock`; the strided convolution only.
        norm: as in :class:`ConvBlock`; the strided convolution only.
        act: as in :class:`ConvBlock`; the strided convolution only.
    """

    def __init__(self, channels: int, mode: str, padding_mode: str, norm: tuple | str | None, act: tuple | str) -> None:
        if mode == "maxpool":
            super().__init__(nn.MaxPool2d(2))
            return
        super().__init__(
            Convolution(channels, channels, padding_mode, bias=norm is None, stride=2),
            Normalised("NA", channels, norm, act),
        )


class Upsample(nn.Module):
    """Doubles H and W and changes the channels: interpolation and a 1x1 convolution, or a transposed convolution.

    The 1x1 convolution comes before the interpolation. Both are linear and act on different axes, and the weights of
    an interpolation sum to one, so the result is that of the paper's order at a quarter of the cost.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        mode: ``"bilinear"`` or ``"nearest"`` interpolation (the paper says "interpolate"), or ``"deconv"`` for the
            standard U-Net's 2x2 transposed convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.project = (
            nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
            if mode == "deconv"
            else nn.Conv2d(in_channels, out_channels, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, H, W) to (B, out_channels, 2H, 2W)."""
        x = self.project(x)
        if self.mode == "deconv":
            return x
        if self.mode == "nearest":
            return F.interpolate(x, scale_factor=2.0, mode="nearest")
        if not torch.jit.is_scripting() and gradients.are_cheaper(x):
            return gradients.BilinearDouble.apply(x)
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class MultiScale(nn.Module):
    """The multi-scale feature block: parallel dilated convolutions (MONAI's ``SimpleASPP``) added to their input.

    The paper names a "multi-scale feature extraction module" and does not describe it; this is our reading. The four
    branches (1x1, and 3x3 dilated by 1, 2 and 4) see from 1 to 9 positions of the bottleneck; the sum keeps the block
    an optional refinement.

    Args:
        channels: channels of the input and the output, a multiple of four.
        norm: as in :class:`ConvBlock`.
        act: as in :class:`ConvBlock`.
    """

    def __init__(self, channels: int, norm: tuple | str | None, act: tuple | str) -> None:
        super().__init__()
        self.aspp = SimpleASPP(2, channels, channels // 4, dilations=(1, 1, 2, 4), norm_type=norm, acti_type=act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) to the same shape."""
        return x + self.aspp(x)
