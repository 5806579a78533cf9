# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What PyTorch's CPU kernels are slow at in training: the gradients of reflection padding and of bilinear doubling, and
batch normalisation of channels that fill no vector register.

The first two took a fifth of a training step in bfloat16, the third a fifth of that of a network of 24 channels. What
comes out is PyTorch's up to rounding.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# Numbers that a vector register takes at once: of float32 in the widest, of bfloat16 in the narrowest, and the most
_LANES, _MOST_LANES = 16, 32


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


class FoldedBatchNorm(torch.autograd.Function):
    """Batch normalisation in training of (B, C, H, W) in channels-last layout; once differentiable.

    PyTorch goes through a pixel's channels in whole registers and takes what is left over one by one. Neighbouring
    pixels folded into the channels leave nothing over; a channel's statistics are then those of its places put together
    (Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979).

    ``apply`` takes the images, weight and bias (C,), the layer's ``eps``, and how many pixels are folded, by which W is
    divisible; it returns the normalised images, and the mean and the biased variance of each channel.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float, fold: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        channels = x.shape[1]
        folded = _fold(x, fold)
        running = weight.new_zeros(2, fold * channels)  # of no use but that the statistics come in their type
        means, variances = torch.batch_norm_update_stats(folded, running[0], running[1], 0.0)
        means, variances = means.view(fold, channels), variances.view(fold, channels)
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        y = _normalised(folded, mean, variance, weight, bias, eps, fold)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps, ctx.fold = eps, fold
        ctx.mark_non_differentiable(mean, variance)
        return _unfold(y, fold).data, mean, variance  # no view, as an activation that works in place takes none

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        eps, fold = ctx.eps, ctx.fold
        folded = _fold(x, fold)
        of_y = _fold(grad.contiguous(memory_format=torch.channels_last), fold)
        tiled = [values.repeat(fold) for values in (weight, mean, variance)]
        _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            of_y, folded, *tiled, None, None, False, eps, [False, True, True]
        )
        of_weight, of_bias = of_weight.view(fold, -1).sum(0), of_bias.view(fold, -1).sum(0)
        # x gives through y, which is linear in it, and through the statistics; rounded once, so that these match
        slope = (weight * (variance + eps).rsqrt()).to(x.dtype)
        share = -slope.to(weight.dtype) / (x.numel() // x.shape[1])
        of_x = _normalised(folded, mean, variance, share * of_weight, share * of_bias, eps, fold)
        of_x.addcmul_(of_y, slope.repeat(fold)[:, None, None])
        return _unfold(of_x, fold), of_weight, of_bias, None, None


def run_layer(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What a layer makes of (B, C, H, W): batch normalisation by :class:`FoldedBatchNorm` where that is cheaper."""
    if not isinstance(layer, nn.BatchNorm2d) or not layer.training or not are_cheaper(x):
        return layer(x)
    running_mean, running_variance, fold = layer.running_mean, layer.running_var, _pixels_to_fold(x)
    if fold == 1 or not layer.affine or running_mean is None or running_variance is None:
        return layer(x)
    y, mean, variance = FoldedBatchNorm.apply(x, layer.weight, layer.bias, layer.eps, fold)
    count = x.numel() // x.shape[1]
    with torch.no_grad():
        batches = layer.num_batches_tracked.add_(1)
        momentum = 1 / batches.item() if layer.momentum is None else layer.momentum
        running_mean.lerp_(mean, momentum)
        running_variance.lerp_(variance * (count / (count - 1)), momentum)
    return y


def _pixels_to_fold(x: torch.Tensor) -> int:
    """How many neighbouring pixels of (B, C, H, W) have channels that fill registers together; 1 where it is no use."""
    channels, width = x.shape[1], x.shape[3]
    fold = _MOST_LANES // math.gcd(channels, _MOST_LANES)
    fits = channels % _LANES > 0 and width % fold == 0 and x.is_contiguous(memory_format=torch.channels_last)
    return fold if fits else 1


def _fold(x: torch.Tensor, fold: int) -> torch.Tensor:
    """(B, C, H, W) in channels-last layout as (B, fold * C, H, W / fold), of the same memory."""
    batch, channels, height, width = x.shape
    return x.permute(0, 2, 3, 1).view(batch, height, width // fold, fold * channels).permute(0, 3, 1, 2)


def _unfold(x: torch.Tensor, fold: int) -> torch.Tensor:
    """The inverse of :func:`_fold`."""
    batch, channels, height, width = x.shape
    return x.permute(0, 2, 3, 1).view(batch, height, width * fold, channels // fold).permute(0, 3, 1, 2)


def _normalised(
    folded: torch.Tensor,
    mean: torch.Tensor,
    variance: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    eps: float,
    fold: int,
) -> torch.Tensor:
    """Folded images by the given statistics, weight and bias of each channel (C,)."""
    mean, variance, weight, bias = (value.repeat(fold) for value in (mean, variance, weight, bias))
    return F.batch_norm(folded, mean, variance, weight, bias, eps=eps)
