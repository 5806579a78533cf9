# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn

from pe_monai.errors import WeightsError
from pe_monai.networks import ImprovedUNet
from pe_monai.training import grow_start
from pe_monai.weights import save_weights


def settled(**settings) -> ImprovedUNet:
    """A network whose normalisation has seen frames and whose weights are no longer those of the start."""
    network = ImprovedUNet(channels=(4, 8, 16), dropout=0, **settings)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.InstanceNorm2d)):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network


@pytest.mark.parametrize(
    "settings",
    [{}, {"norm": ("instance", {"affine": True})}, {"upsample": "deconv", "downsample": "maxpool"}, {"norm": None}],
)
@pytest.mark.parametrize("channels", [(4, 8, 16), (4, 24, 32), (6, 9, 20)])
@pytest.mark.parametrize("training", [True, False])
def test_a_grown_network_answers_as_the_one_it_comes_from(tmp_path, settings, channels, training):
    torch.manual_seed(0)
    small = settled(in_channels=1, **settings).train(training)
    save_weights(small, tmp_path / "small.pt")
    large = ImprovedUNet(in_channels=3, channels=channels, dropout=0, **settings).train(training)
    grow_start(large, tmp_path / "small.pt")
    frames = torch.rand(2, 3, 40, 56)
    torch.testing.assert_close(large(frames), small(frames[:, :1]), atol=1e-5, rtol=1e-5)


def test_what_is_new_learns(tmp_path):
    torch.manual_seed(0)
    save_weights(settled(), tmp_path / "small.pt")
    large = ImprovedUNet(channels=(4, 24, 32), dropout=0)
    grow_start(large, tmp_path / "small.pt")
    optimizer = torch.optim.SGD(large.parameters(), 0.1)
    for _ in range(2):  # what comes out of the new channels has no weight before the first step
        optimizer.zero_grad()
        large(torch.rand(2, 1, 32, 32)).square().mean().backward()
        optimizer.step()
    gradient = large.encoders[0][0].weight.grad
    assert gradient[:8].abs().sum() > 0 and gradient[8:].abs().sum() > 0


def test_what_cannot_grow_is_refused_by_name(tmp_path):
    save_weights(settled(), tmp_path / "small.pt")
    for settings, reason in (
        ({"channels": (4, 8)}, "only one of them has"),
        ({"channels": (4, 6, 16)}, r"encoders.0.0.weight is \(8, 4, 3, 3\) there and \(6, 4, 3, 3\) here"),
    ):
        with pytest.raises(WeightsError, match=f"small.pt: .*cannot grow.*{reason}"):
            grow_start(ImprovedUNet(**settings), tmp_path / "small.pt")
    with pytest.raises(WeightsError, match="absent.pt: no such"):
        grow_start(ImprovedUNet(channels=(4, 8, 16)), tmp_path / "absent.pt")
    network = ImprovedUNet(channels=(4, 8, 16))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    grow_start(network, None)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
