# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Padding, doubling and batch normalisation in training: PyTorch's own, in its layout, wherever a step takes them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pe_monai.networks import ImprovedUNet, gradients
from pe_monai.networks.blocks import Normalised

SIZES = [(2, 2), (3, 2), (3, 5), (8, 11)]


@pytest.mark.parametrize("size", SIZES)
def test_gradient_of_doubling(size):
    x = torch.rand(2, 3, *size, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(gradients.BilinearDouble.apply, (x,))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
@pytest.mark.parametrize("size", SIZES)
def test_gradients_of_a_convolution(size, stride, bias):
    x = torch.rand(2, 3, *size, dtype=torch.double, requires_grad=True)
    weight = torch.rand(4, 3, 3, 3, dtype=torch.double, requires_grad=True)
    offset = torch.rand(4, dtype=torch.double, requires_grad=True) if bias else None
    assert torch.autograd.gradcheck(gradients.reflect_convolution, (x, weight, offset, stride))
    assert torch.autograd.gradcheck(gradients.reflect_convolution, (x, weight.detach(), offset, stride))
    assert torch.autograd.gradcheck(gradients.reflect_convolution, (x.detach(), weight, offset, stride))


@pytest.mark.parametrize("shape", [(2, 3, 2, 64), (1, 24, 1, 4), (3, 8, 5, 8)])
def test_gradients_of_batch_normalisation(shape):
    x = _channels_last(torch.rand(shape, dtype=torch.double)).requires_grad_()
    weight, bias = (torch.rand(shape[1], dtype=torch.double, requires_grad=True) for _ in range(2))
    fold = gradients._pixels_to_fold(x)
    assert fold == {3: 32, 24: 4, 8: 4}[shape[1]]

    def normalise(*tensors: torch.Tensor) -> torch.Tensor:
        return gradients.FoldedBatchNorm.apply(*tensors, 1e-3, fold)[0]

    assert torch.autograd.gradcheck(normalise, (x, weight, bias))
    assert torch.autograd.gradcheck(normalise, (x.detach(), weight, bias))


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_batch_normalisation_is_that_of_the_layer(dtype, momentum):
    ours, theirs = nn.BatchNorm2d(24, momentum=momentum), nn.BatchNorm2d(24, momentum=momentum)
    nn.init.uniform_(ours.weight, 0.5, 2)
    nn.init.uniform_(ours.bias, -1, 1)
    theirs.load_state_dict(ours.state_dict())
    for _ in range(2):
        x, given = (_channels_last(torch.randn(4, 24, 6, 8).to(dtype)) for _ in range(2))
        x = x * 3 + 5
        grads = []
        for layer, function in ((ours, gradients.run_layer), (theirs, lambda layer, x: layer(x))):
            image = x.detach().requires_grad_()
            y = function(layer, image)
            y.backward(given)
            grads.append((y.detach(), image.grad))
        for one, other in zip(*grads, strict=True):
            assert one.dtype == dtype
            assert one.is_contiguous(memory_format=torch.channels_last)
            rounding = 1e-5 if dtype == torch.float32 else 1e-2
            assert (one - other).float().norm() < rounding * other.float().norm()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad, rtol=1e-4, atol=1e-4)


def _is_folded(layer: nn.BatchNorm2d, x: torch.Tensor) -> bool:
    y = gradients.run_layer(layer, x)
    return y.grad_fn is not None and "Folded" in y.grad_fn.name()


def test_batch_normalisation_that_gains_nothing_is_left_to_the_layer():
    layer = nn.BatchNorm2d(24)
    x = _channels_last(torch.rand(2, 24, 4, 8)).requires_grad_()
    assert _is_folded(layer, x)
    assert not _is_folded(layer, x.detach())
    assert not _is_folded(layer, x.contiguous())
    assert not _is_folded(layer, _channels_last(torch.rand(2, 24, 4, 6)).requires_grad_())
    assert not _is_folded(nn.BatchNorm2d(48), _channels_last(torch.rand(2, 48, 4, 8)).requires_grad_())
    assert not _is_folded(nn.BatchNorm2d(24, affine=False), x)
    assert not _is_folded(nn.BatchNorm2d(24, track_running_stats=False), x)
    assert not _is_folded(layer.eval(), x)


def test_an_activation_may_work_in_place_on_what_was_normalised():
    block = Normalised("NA", 24, "batch", ("leakyrelu", {"inplace": True}))
    x = _channels_last(torch.rand(2, 24, 4, 8)).requires_grad_()
    block(x).sum().backward()
    assert x.grad.shape == x.shape


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _convolve(x: torch.Tensor) -> torch.Tensor:
    return gradients.reflect_convolution(x, torch.ones(4, 4, 3, 3, dtype=x.dtype), None, (1, 1))


@pytest.mark.parametrize("function", [_convolve, gradients.BilinearDouble.apply])
def test_bfloat16_in_channels_last_stays_so(function):
    x = torch.rand(2, 4, 6, 8).to(torch.bfloat16, memory_format=torch.channels_last).requires_grad_()
    y = function(x)
    y.backward(torch.ones_like(y))
    assert x.grad.dtype == torch.bfloat16
    assert x.grad.is_contiguous(memory_format=torch.channels_last)


def test_gradient_that_comes_in_is_left_as_it_was():
    x = torch.rand(1, 4, 6, 8, requires_grad=True)
    given = torch.rand(1, 4, 6, 8)
    before = given.clone()
    _convolve(x).backward(given)
    assert torch.equal(given, before)


def test_network_learns_what_it_would_without(monkeypatch):
    torch.manual_seed(0)
    # an activation whose slope jumps would make much of a rounding on the way to it
    net = ImprovedUNet(channels=(8, 16, 32), act="elu").to(memory_format=torch.channels_last)
    x = torch.rand(2, 1, 48, 64).to(memory_format=torch.channels_last)
    used = []
    functions = (gradients.ReflectConvolution, gradients.BilinearDouble, gradients.FoldedBatchNorm)
    for function in functions:
        backward = function.backward
        monkeypatch.setattr(
            function,
            "backward",
            staticmethod(lambda ctx, *grads, f=function, b=backward: used.append(f) or b(ctx, *grads)),
        )

    def gradient(bf16: bool) -> torch.Tensor:
        net.zero_grad()
        torch.manual_seed(1)  # for the dropout
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            net(x).float().square().mean().backward()
        return torch.cat([p.grad.flatten() for p in net.parameters()])

    ours, ours_bf16 = gradient(False), gradient(True)
    assert set(functions) == set(used)
    monkeypatch.setattr(gradients, "_pixels_to_fold", lambda x: 1)
    not_folded_bf16 = gradient(True)
    used.clear()
    monkeypatch.setattr(gradients, "are_cheaper", lambda x: False)
    theirs, theirs_bf16 = gradient(False), gradient(True)
    assert not used
    assert (ours - theirs).norm() < 1e-5 * theirs.norm()
    assert (not_folded_bf16 - theirs_bf16).norm() < 3e-2 * theirs_bf16.norm()
    # what is folded is rounded elsewhere on the way forward, so it need only be as near to the truth as PyTorch's
    assert (ours_bf16 - theirs).norm() < 1.1 * (theirs_bf16 - theirs).norm() < 0.1 * theirs.norm()


def test_inference_and_tracing_take_none():
    x = torch.rand(1, 1, 4, 4, requires_grad=True)
    assert gradients.are_cheaper(x)
    assert not gradients.are_cheaper(x.detach())
    with torch.no_grad():
        assert not gradients.are_cheaper(x)
    traced = []
    torch.jit.trace(lambda y: traced.append(gradients.are_cheaper(y)) or y * 2, x, check_trace=False)
    assert traced == [False]
