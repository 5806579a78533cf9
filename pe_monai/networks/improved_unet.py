# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The improved U-Net of Gong et al. 2024 for pericardial effusion, with a switch for each of its improvements."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks import ADN
from torch import nn
from torch.nn import functional as F

from pe_monai.networks.blocks import ConvBlock, Downsample, MultiScale, Upsample
from pe_monai.networks.lite_backbone import BACKBONES, LiteBackbone

PADDING_MODES = ("reflect", "zeros", "replicate", "circular")
DOWNSAMPLINGS = ("conv", "maxpool")
UPSAMPLINGS = ("bilinear", "nearest", "deconv")


class ImprovedUNet(nn.Module):
    """U-Net with the improvements of Gong et al., J. Clin. Ultrasound Med. 2024(12), each of which can be switched off.

    Input (B, in_channels, H, W), output logits (B, out_channels, H, W); any H and W from 16 up, odd ones too: the input
    is filled with zeros (the neutral value outside the sector) below and to the right until every level divides evenly.

    With ``padding_mode="zeros", act="relu", downsample="maxpool", upsample="deconv", multi_scale=False, dropout=0`` it
    is the standard U-Net (with the batch normalisation usual today; ``norm=None`` for the one of 2015).

    Args:
        spatial_dims: 2; kept for MONAI's conventions.
        in_channels: channels of the input: 1 for the grey sector, 3 for RGB frames as in the paper.
        out_channels: channels of the output: 1 for the effusion, 3 for RGB masks as in the paper.
        channels: channels of each level from full resolution to the bottleneck; at least two levels.
        dropout: probability that a channel is dropped after each normalisation, in [0, 1).
        padding_mode: padding of the 3x3 convolutions: "reflect" (the paper), "zeros", "replicate" or "circular".
        norm: MONAI normalisation layer, a name or (name, arguments), or None: "batch" (the paper), "instance",
            ("group", {"num_groups": 8}).
        act: MONAI activation, a name or (name, arguments): "leakyrelu" (the paper), "relu".
        downsample: "conv" (the paper: strided 3x3 convolution) or "maxpool".
        upsample: "bilinear" or "nearest" interpolation with a 1x1 convolution (the paper), or "deconv".
        multi_scale: whether the multi-scale block refines the bottleneck.
        backbone: "efficientnet_lite0", "efficientnet_lite1" or "efficientnet_lite2" in place of the paper's encoder
            below full resolution, so that weights from ImageNet can be its start (:class:`LiteBackbone`); ``channels``
            are then the five widths from full resolution to a 16th, and ``downsample`` has no part in it.

    Raises:
        ValueError: an argument has no meaning here; the message names it, the value and what is possible.

    Example:
        >>> net = ImprovedUNet(in_channels=1, out_channels=1, channels=(8, 16, 32))
        >>> net(torch.rand(2, 1, 57, 80)).shape
        torch.Size([2, 1, 57, 80])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 1,
        channels: Sequence[int] = (16, 32, 64, 128, 256),
        dropout: float = 0.1,
        padding_mode: str = "reflect",
        norm: tuple | list | str | None = "batch",
        act: tuple | list | str = ("leakyrelu", {"negative_slope": 0.01, "inplace": True}),
        downsample: str = "conv",
        upsample: str = "bilinear",
        multi_scale: bool = True,
        backbone: str | None = None,
    ) -> None:
        super().__init__()
        if spatial_dims != 2:
            raise ValueError(f"spatial_dims must be 2 (ultrasound frames are flat), got {spatial_dims}.")
        for name, count in (("in_channels", in_channels), ("out_channels", out_channels)):
            if not _is_count(count):
                raise ValueError(f"{name} must be a positive integer, got {count!r}.")
        channels = tuple(channels) if isinstance(channels, Sequence) else (channels,)
        if len(channels) < 2 or not all(_is_count(c) for c in channels):
            raise ValueError(f"channels must be two or more positive integers, one a level, got {channels!r}.")
        if backbone is not None and backbone not in BACKBONES:
            raise ValueError(f"backbone must be one of {', '.join(BACKBONES)} or None, got {backbone!r}.")
        if backbone is not None and len(channels) != 5:
            raise ValueError(
                f"with a backbone channels must be five, from full resolution to a 16th, got {channels!r}."
            )
        if multi_scale and backbone is None and channels[-1] % 4:
            raise ValueError(f"with multi_scale the last of channels must be a multiple of 4, got {channels[-1]}.")
        if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
            raise ValueError(f"dropout must be a number in [0, 1), got {dropout!r}.")
        for name, choice, choices in (
            ("padding_mode", padding_mode, PADDING_MODES),
            ("downsample", downsample, DOWNSAMPLINGS),
            ("upsample", upsample, UPSAMPLINGS),
        ):
            if choice not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {choice!r}.")
        # JSON has no tuples; MONAI's layer factories take nothing else
        norm = tuple(norm) if isinstance(norm, list) else norm
        act = tuple(act) if isinstance(act, list) else act
        if act is None:
            raise ValueError("act must name an activation, got None.")
        try:
            for width in channels:
                ADN("NA", in_channels=width, act=act, norm=norm, norm_dim=2)
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise ValueError(f"norm={norm!r} or act={act!r} is no layer that MONAI can build here: {e}") from e

        self.encoders = nn.ModuleList()
        self.downsamples = nn.ModuleList()
        self.upsamples = nn.ModuleList()
        self.decoders = nn.ModuleList()
        self.stem = ConvBlock(in_channels, channels[0], padding_mode, norm, act, dropout)
        self.backbone = LiteBackbone(backbone, in_channels) if backbone is not None else None
        if self.backbone is not None:
            widths, skips = channels, (channels[0], *self.backbone.channels[:-1])
            before = self.backbone.channels[-1]
        else:
            widths, skips = channels[:-1], channels[:-1]
            before = channels[0]
            for width in channels[1:]:
                self.downsamples.append(Downsample(before, downsample, padding_mode, norm, act))
                self.encoders.append(ConvBlock(before, width, padding_mode, norm, act, dropout))
                before = width
        self.factor = 2 ** len(widths)
        self.multi_scale = MultiScale(before, norm, act) if multi_scale else nn.Identity()
        for width, skip in zip(reversed(widths), reversed(skips), strict=True):
            self.upsamples.append(Upsample(before, width, upsample))
            self.decoders.append(ConvBlock(skip + width, width, padding_mode, norm, act, dropout))
            before = width
        self.head = nn.Conv2d(before, out_channels, 1)

    def _fill(self, size: int) -> int:
        # how much is missing to a multiple of `factor` that leaves the bottleneck two positions or more, since one
        # position cannot be reflected; plain integer arithmetic, so that TorchScript and ONNX keep it dynamic; not
        # 1 // steps, since ONNX Runtime takes (1 / a) * b for b / a, of integers too
        steps = (size + self.factor - 1) // self.factor
        return (steps + 2 // (steps + 1)) * self.factor - size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits for a batch of frames.

        Args:
            x: (B, in_channels, H, W), grey values in [0, 1], zero outside the sector.

        Returns:
            Logits of shape (B, out_channels, H, W).
        """
        height, width = x.shape[2], x.shape[3]
        x = F.pad(x, [0, self._fill(width), 0, self._fill(height)])
        full = self.stem(x)
        skips: list[torch.Tensor] = []
        if self.backbone is not None:
            skips = [full] + self.backbone(x)
            x = skips.pop()
        else:
            x = full
        for down, encoder in zip(self.downsamples, self.encoders):  # noqa: B905 (TorchScript's zip has no strict)
            skips.append(x)
            x = encoder(down(x))
        x = self.multi_scale(x)
        for up, decoder in zip(self.upsamples, self.decoders):  # noqa: B905 (TorchScript's zip has no strict)
            x = decoder(torch.cat([skips.pop(), up(x)], dim=1))
        return self.head(x)[:, :, :height, :width]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
