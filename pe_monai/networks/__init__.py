# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Networks of the project; every improvement over the standard U-Net is a switch."""

from pe_monai.networks.blocks import ConvBlock, Downsample, MultiScale, Upsample
from pe_monai.networks.improved_unet import ImprovedUNet
from pe_monai.networks.lite_backbone import LiteBackbone

__all__ = ["ConvBlock", "Downsample", "ImprovedUNet", "LiteBackbone", "MultiScale", "Upsample"]
