# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Folding takes the batch norms away and leaves the outputs; where it could not, it leaves the network alone."""

from __future__ import annotations

import copy

import pytest
import torch
from runtime_networks import NETWORKS, trained
from torch import nn
from torch.nn import functional as F

from pe_monai.runtimes import fold_batch_norm


def norms(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_a_network_without_its_norms_computes_the_same(name):
    network = trained(NETWORKS[name]())
    before, image = copy.deepcopy(network.state_dict()), torch.rand(2, 1, 64, 96)
    folded = fold_batch_norm(network)
    assert norms(network) > 0 == norms(folded)
    torch.testing.assert_close(folded(image), network(image), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


class NoBias(nn.Conv2d):
    def forward(self, x):
        return F.conv2d(x, self.weight, None, padding=self.padding)


class Backwards(nn.Sequential):
    def forward(self, x):
        return self[0](self[1](x))


def shared():
    conv = nn.Conv2d(2, 2, 1)
    return nn.Sequential(conv, nn.BatchNorm2d(2), conv)


@pytest.mark.parametrize(
    ("build", "left"),
    [
        (lambda: nn.Sequential(nn.Conv2d(2, 2, 3), nn.Dropout2d(0.5), nn.BatchNorm2d(2)), 0),
        (lambda: nn.Sequential(nn.Sequential(nn.Conv2d(2, 2, 3)), nn.Sequential(nn.BatchNorm2d(2), nn.ReLU())), 0),
        (lambda: nn.Sequential(nn.ConvTranspose2d(2, 3, 2, stride=2), nn.BatchNorm2d(3)), 0),
        (lambda: nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.BatchNorm2d(4)), 0),
        (lambda: nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU(), nn.BatchNorm2d(2)), 1),
        (lambda: nn.Sequential(NoBias(2, 2, 3), nn.BatchNorm2d(2)), 1),
        (lambda: Backwards(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)), 1),
        (shared, 1),
    ],
)
@torch.no_grad()
def test_only_what_can_be_folded(build, left):
    network, image = trained(build()), torch.rand(1, 2, 12, 12)
    folded = fold_batch_norm(network)
    assert norms(folded) == left
    torch.testing.assert_close(folded(image), network(image), rtol=1e-4, atol=1e-5)
