# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Gradients of padding and doubling: PyTorch's own, in its layout, wherever a step takes them."""

from __future__ import annotations

import pytest
import torch

from pe_monai.networks import ImprovedUNet, gradients

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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_network_learns_what_it_would_without(dtype, monkeypatch):
    torch.manual_seed(0)
    net = ImprovedUNet(channels=(8, 16, 32))
    x = torch.rand(2, 1, 48, 64)
    used = []
    for function in (gradients.ReflectConvolution, gradients.BilinearDouble):
        backward = function.backward
        monkeypatch.setattr(
            function,
            "backward",
            staticmethod(lambda ctx, grad, f=function, b=backward: used.append(f) or b(ctx, grad)),
        )

    def gradient() -> torch.Tensor:
        net.zero_grad()
        torch.manual_seed(1)  # for the dropout
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            net(x).float().square().mean().backward()
        return torch.cat([p.grad.flatten() for p in net.parameters()])

    ours = gradient()
    assert {gradients.ReflectConvolution, gradients.BilinearDouble} == set(used)
    used.clear()
    monkeypatch.setattr(gradients, "are_cheaper", lambda x: False)
    theirs = gradient()
    assert not used
    assert (ours - theirs).norm() < (1e-5 if dtype == torch.float32 else 3e-2) * theirs.norm()


def test_inference_and_tracing_take_none():
    x = torch.rand(1, 1, 4, 4, requires_grad=True)
    assert gradients.are_cheaper(x)
    assert not gradients.are_cheaper(x.detach())
    with torch.no_grad():
        assert not gradients.are_cheaper(x)
    traced = []
    torch.jit.trace(lambda y: traced.append(gradients.are_cheaper(y)) or y * 2, x, check_trace=False)
    assert traced == [False]
