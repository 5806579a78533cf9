# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Gradients that PyTorch's CPU kernels are slow at: of reflection padding and of bilinear doubling.

Together those took a fifth of a training step in bfloat16. The forward passes, and the gradients up to rounding, are
PyTorch's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def are_cheaper(x: torch.Tensor) -> bool:
    """Whether a training step in which ``x`` takes part gains by them: on a CPU, where nothing is being traced."""
    return (
        x.device.type == "cpu"
        and x.requires_grad
        and torch.is_grad_enabled()
        and not torch.jit.is_tracing()
        and not torch.compiler.is_compiling()
    )


class ReflectPad(torch.autograd.Function):
    """Reflection padding by one: (B, C, H, W) to (B, C, H + 2, W + 2), H and W from 2 up; once differentiable."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return F.pad(x, [1, 1, 1, 1], mode="reflect")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        # the rim's gradient belongs to the second and the last but one row and column
        folded = grad[:, :, 1:-1].clone()
        folded[:, :, 1] += grad[:, :, 0]
        folded[:, :, -2] += grad[:, :, -1]
        folded[..., 2] += folded[..., 0]
        folded[..., -3] += folded[..., -1]
        return folded[..., 1:-1]


class BilinearDouble(torch.autograd.Function):
    """Bilinear interpolation of (B, C, H, W) to (B, C, 2H, 2W), corners not aligned; once differentiable."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        # along an axis each value gives a quarter, three, three and a quarter to the four nearest of the result; those
        # beyond the border fall to its last one
        share = grad.new_tensor([0.25, 0.75, 0.75, 0.25])
        channels = grad.shape[1]
        kernel = torch.outer(share, share).expand(channels, 1, 4, 4).contiguous()
        return F.conv2d(F.pad(grad, [1, 1, 1, 1], mode="replicate"), kernel, stride=2, groups=channels)
