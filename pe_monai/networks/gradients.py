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


def reflect_convolution(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: tuple[int, ...]
) -> torch.Tensor:
    """:class:`ReflectConvolution`, under autocast in its type."""
    tensors = [x, weight, bias]
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        tensors = [None if tensor is None else tensor.to(dtype) for tensor in tensors]
    with torch.autocast("cpu", enabled=False):
        return ReflectConvolution.apply(*tensors, stride)


class ReflectConvolution(torch.autograd.Function):
    """A 3x3 convolution of (B, C, H, W), H and W from 2 up, padded by reflection; once differentiable.

    In one function, since the gradient of what was padded is then its own to change in place.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: tuple[int, ...]
    ) -> torch.Tensor:
        padded = F.pad(x, [1, 1, 1, 1], mode="reflect")
        ctx.save_for_backward(padded, weight)
        ctx.stride = stride
        return F.conv2d(padded, weight, bias, stride)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        padded, weight = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[:3])
        of_padded, of_weight, of_bias = torch.ops.aten.convolution_backward(
            grad, padded, weight, [len(weight)], ctx.stride, [0, 0], [1, 1], False, [0, 0], 1, wanted
        )
        if of_padded is None:
            return None, of_weight, of_bias, None
        # the rim's gradient belongs to the second and the last but one row and column
        of_padded[:, :, 2] += of_padded[:, :, 0]
        of_padded[:, :, -3] += of_padded[:, :, -1]
        of_padded[..., 2] += of_padded[..., 0]
        of_padded[..., -3] += of_padded[..., -1]
        return of_padded[:, :, 1:-1, 1:-1], of_weight, of_bias, None


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
