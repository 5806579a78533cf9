# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The backbone: its widths, its padding, and weights of a classifier taken over by their order."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from pe_monai.errors import WeightsError
from pe_monai.networks import ImprovedUNet, LiteBackbone
from pe_monai.networks.lite_backbone import SamePadConv
from pe_monai.training import warm_start

# features and parameters as in Google's EfficientNet-Lite, without the classifier's head; compared once with timm's
KNOWN = {
    "efficientnet_lite0": ((16, 24, 40, 112, 320), 2_958_848),
    "efficientnet_lite1": ((16, 24, 40, 112, 320), 3_723_520),
    "efficientnet_lite2": ((16, 24, 48, 120, 352), 4_357_952),
}


def classifier_state(name: str = "efficientnet_lite0", channels: int = 3) -> dict[str, torch.Tensor]:
    """A classifier's state: the same tensors by other names, and a head behind them."""
    torch.manual_seed(3)
    state = {
        f"layer.{n}": torch.rand_like(v.float())
        for n, v in enumerate(LiteBackbone(name, channels).state_dict().values())
    }
    return {**state, "head.weight": torch.rand(1280, 320, 1, 1)}


@pytest.mark.parametrize("name", KNOWN)
def test_widths_and_parameters(name):
    backbone = LiteBackbone(name, 3)
    assert (backbone.channels, sum(p.numel() for p in backbone.parameters())) == KNOWN[name]
    sizes = [tuple(feature.shape[1:]) for feature in backbone.eval()(torch.rand(1, 3, 64, 96))]
    assert sizes == [(c, 64 >> level, 96 >> level) for level, c in enumerate(backbone.channels, start=1)]


@pytest.mark.parametrize(("kernel", "stride", "pads"), [(3, 2, (0, 1)), (5, 2, (1, 2)), (3, 1, (1, 1)), (5, 1, (2, 2))])
def test_padding_is_tensorflows(kernel, stride, pads):
    conv = SamePadConv(2, 2, kernel, stride, groups=2)
    x = torch.rand(1, 2, 12, 16)
    expected = F.conv2d(F.pad(x, [*pads, *pads]), conv.weight, None, stride, groups=2)
    assert torch.equal(conv(x), expected)


def test_a_grey_stem_sees_grey_frames_as_the_rgb_stem_does():
    state = classifier_state()
    rgb, grey = LiteBackbone("efficientnet_lite0", 3), LiteBackbone("efficientnet_lite0", 1)
    rgb.take_imagenet(state)
    grey.take_imagenet(state)
    frame = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(grey.levels[0][0](frame), rgb.levels[0][0](frame.expand(1, 3, 32, 32)))
    assert torch.equal(grey.levels[4][0].layers[0].weight, rgb.levels[4][0].layers[0].weight)


def test_training_starts_from_a_classifier(tmp_path):
    torch.save(classifier_state(), tmp_path / "classifier.pth")
    network = ImprovedUNet(channels=(4, 4, 8, 8, 8), backbone="efficientnet_lite0")
    warm_start(network, backbone_weights=tmp_path / "classifier.pth")
    taken = network.backbone.levels[1][0].layers[0].weight
    assert torch.equal(
        taken, classifier_state()[f"layer.{list(network.backbone.state_dict()).index('levels.1.0.layers.0.weight')}"]
    )


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(classifier_state("efficientnet_lite2"), tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="other.pth: these are not the weights of this backbone"):
        warm_start(ImprovedUNet(channels=(4, 4, 8, 8, 8), backbone="efficientnet_lite0"), None, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="no backbone for it"):
        warm_start(ImprovedUNet(channels=(4, 8)), None, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="no such weights file"):
        warm_start(ImprovedUNet(channels=(4, 4, 8, 8, 8), backbone="efficientnet_lite0"), None, tmp_path / "none.pth")


@pytest.mark.parametrize("choice", [{"backbone": "resnet18"}, {"backbone": "efficientnet_lite0", "channels": (8, 16)}])
def test_bad_choices(choice):
    with pytest.raises(ValueError, match=next(iter(choice)) if len(choice) == 1 else "channels must be five"):
        ImprovedUNet(**choice)
