# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The networks that are timed beside ours."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch


@pytest.mark.slow
def test_every_runtime_computes_the_whole_batch(monkeypatch):
    """MONAI's FlexibleUNet keeps the number of images that it is converted with."""
    pytest.importorskip("openvino")
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2])
    networks = importlib.import_module("benchmarks.networks")
    network = networks._peers()["FlexibleUNet resnet18"].eval()
    images = torch.rand(3, 1, 64, 64)
    works = networks._runtimes(network, images, [])
    assert {"torch fp32", "openvino fp32"} <= set(works)
    for work in works.values():
        assert work().shape == images.shape
