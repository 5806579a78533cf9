# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The networks that are timed beside ours."""

from __future__ import annotations

import pytest
import torch

from benchmarks import networks


@pytest.mark.slow
def test_every_runtime_computes_the_whole_batch():
    """MONAI's FlexibleUNet keeps the number of images that it is converted with."""
    pytest.importorskip("openvino")
    network = networks._peers()["FlexibleUNet resnet18"].eval()
    images = torch.rand(3, 1, 64, 64)
    works = networks._runtimes(network, images, [])
    assert {"torch fp32", "openvino fp32"} <= set(works)
    for work in works.values():
        assert work().shape == images.shape
