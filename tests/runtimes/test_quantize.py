# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from runtime_networks import NETWORKS, trained

from pe_monai.runtimes import quantize as quantizing
from pe_monai.runtimes.convert import to_onnx, to_openvino
from pe_monai.runtimes.fold import fold_batch_norm
from pe_monai.runtimes.quantize import quantize

nncf = pytest.importorskip("nncf")
KINDS = {"openvino": (to_openvino, quantizing._OpenVino), "onnx": (to_onnx, quantizing._Onnx)}


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    """A bright layer of another depth in each frame, most of which is black, as in ultrasound."""
    rng = np.random.default_rng(0)
    frames = []
    for depth in range(6):
        frame = np.zeros((1, 1, 32, 48), np.float32)
        frame[..., 8 + depth : 14 + depth, 8:40] = rng.uniform(0.3, 1, (6, 32))
        frames.append(frame)
    return frames


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def model(kind):
    torch.manual_seed(0)
    return KINDS[kind][0](fold_batch_norm(trained(NETWORKS["paper"]())), torch.rand(2, 1, 32, 48))


def outputs(model, images) -> torch.Tensor:
    return torch.cat(quantizing._probabilities(model, images))


def test_ranges_are_chosen_by_what_the_network_then_says(model, images, monkeypatch):
    monkeypatch.setattr(quantizing, "STEPS", quantizing.STEPS[::3])
    expected = outputs(model, images)
    chosen = (outputs(quantize(model, images), images) - expected).abs().mean()
    assert outputs(model, images).equal(expected)  # the model that was given is left as it was
    monkeypatch.setattr(quantizing, "TENSORS", 0)
    by_values = (outputs(quantize(model, images), images) - expected).abs().mean()
    assert 0 < chosen < 0.95 * by_values


def test_a_step_is_set_and_black_stays_zero(kind, model, images, monkeypatch):
    monkeypatch.setattr(quantizing, "STEPS", (1.0,))
    quantized = quantize(model, images)
    tensors = KINDS[kind][1](quantized)
    steps = tensors.steps()
    assert len(steps) > quantizing.TENSORS and all(step > 0 for step in steps)
    for number, step in enumerate(steps):
        tensors.set_step(number, 1.1 * step)
    assert KINDS[kind][1](quantized).steps() == pytest.approx([1.1 * step for step in steps], rel=1e-4)
    if kind == "openvino":
        for low, high in KINDS[kind][1](quantized)._ranges:
            zero = -low / (high - low) * 255
            assert zero == pytest.approx(round(zero), abs=1e-3)


def test_steps_are_taken_in_turn_and_only_where_they_help(monkeypatch):
    class Tensors:
        def __init__(self) -> None:
            self.now = [1.0, 1.0, 1.0, 1.0]

        def steps(self) -> list[float]:
            return list(self.now)

        def set_step(self, number: int, step: float) -> None:
            self.now[number] = step

    tensors = Tensors()
    goals = [1.2, 1.0, 0.9, 2.0]
    quantizing._choose_steps(tensors, lambda: sum(abs(a - b) for a, b in zip(tensors.now, goals, strict=True)))
    assert tensors.now == pytest.approx([1.2, 1.0, 0.9, 1.0])
