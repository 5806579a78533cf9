# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""int8 by NNCF's post-training quantization, its first ranges chosen by what the network then says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch

from pe_monai.runtimes.convert import INPUT, quiet, require
from pe_monai.runtimes.session import onnx_session, openvino_session

STEPS = tuple(round(0.86 + 0.02 * number, 2) for number in range(24))
TENSORS = 3
FRAMES = 24


def quantize(model: Any, images: Sequence[np.ndarray]) -> Any:
    """An ONNX or OpenVINO model with int8 weights and activations.

    NNCF takes the range of each tensor from the values it has. Much of a frame is black, where the tensors in front are
    constants, and whatever these lose by rounding is added up over all of that area: with ranges a few percent wider or
    narrower a network kept its Dice or lost 0.14 of it. So the ranges of the first tensors are the ones, of 24 for
    each in turn, with which the probabilities of the images stay closest to the unquantized network's.

    Args:
        model: what :func:`pe_monai.runtimes.convert.to_onnx` or ``to_openvino`` returned; it is not changed.
        images: what the network sees of frames it was trained on, each (1, C, H, W) float32.

    Raises:
        ExportError: NNCF or the model's runtime is not installed.
    """
    nncf = require("nncf")
    is_onnx = _is_onnx(model)
    judges = images[:: max(1, len(images) // FRAMES)][:FRAMES]
    with quiet():
        data = nncf.Dataset(list(images), (lambda image: {INPUT: image}) if is_onnx else None)
        # NNCF's correction of biases takes what a frame outside the sector is, zero, for a typical input of a layer: it
        # lowered the probabilities of effusion, at 2 points of Dice on frames the network had not seen
        plain = nncf.AdvancedQuantizationParameters(disable_bias_correction=True)
        mixed = nncf.QuantizationPreset.MIXED
        quantized = nncf.quantize(model, data, subset_size=len(images), preset=mixed, advanced_parameters=plain)
        expected = _probabilities(model, judges)
        tensors = _Onnx(quantized) if is_onnx else _OpenVino(quantized)
        _choose_steps(tensors, lambda: _error(quantized, judges, expected))
    return quantized


class _Tensors(Protocol):
    """The tensors of a quantized model in the order of its graph; those of equal range count as one."""

    def steps(self) -> list[float]: ...

    def set_step(self, number: int, step: float) -> None: ...


def _choose_steps(tensors: _Tensors, error: Callable[[], float]) -> None:
    lowest = error()
    for number, step in islice(enumerate(tensors.steps()), TENSORS):
        best = step
        for factor in STEPS:
            tensors.set_step(number, step * factor)
            found = error()
            if found < lowest:
                lowest, best = found, step * factor
        tensors.set_step(number, best)


def _is_onnx(model: Any) -> bool:
    return type(model).__module__.startswith("onnx")


def _probabilities(model: Any, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
    is_onnx = _is_onnx(model)
    session = onnx_session(model.SerializeToString(), "int8") if is_onnx else openvino_session(model, "int8")
    return [session(torch.from_numpy(image)).sigmoid() for image in images]


def _error(model: Any, images: Sequence[np.ndarray], expected: Sequence[torch.Tensor]) -> float:
    found = _probabilities(model, images)
    return float(np.mean([float((one - other).abs().mean()) for one, other in zip(found, expected, strict=True)]))


class _OpenVino:
    def __init__(self, model: Any) -> None:
        self._groups: dict[tuple[float, float], list[Any]] = {}
        for node in model.get_ordered_ops():
            is_quantizer = node.get_type_name() == "FakeQuantize"
            if is_quantizer and _source(node, 0).get_type_name() not in ("Constant", "Convert"):  # those are weights
                low, high = (float(_source(node, place).get_data().item()) for place in (1, 2))
                self._groups.setdefault((low, high), []).append(node)
        self._ranges = list(self._groups)

    def steps(self) -> list[float]:
        return [(high - low) / 255 for low, high in self._ranges]

    def set_step(self, number: int, step: float) -> None:
        low, high = self._ranges[number]
        zero = round(-low / (high - low) * 255)  # a black pixel stays exactly zero
        for node in self._groups[low, high]:
            for place, value in zip((1, 2, 3, 4), (-zero * step, (255 - zero) * step) * 2, strict=True):
                shape = _source(node, place).get_data().shape
                constant = require("openvino").opset13.constant(np.full(shape, value, np.float32))
                node.input(place).replace_source_output(constant.output(0))


def _source(node: Any, place: int) -> Any:
    return node.input(place).get_source_output().get_node()


class _Onnx:
    def __init__(self, model: Any) -> None:
        numpy_helper = require("onnx").numpy_helper
        self._constants = {constant.name: constant for constant in model.graph.initializer}
        self._groups: dict[tuple[float, int], list[str]] = {}
        for node in model.graph.node:
            if node.op_type == "QuantizeLinear" and node.input[0] not in self._constants:
                step, zero = (numpy_helper.to_array(self._constants[name]).item() for name in node.input[1:3])
                self._groups.setdefault((step, zero), []).append(node.input[1])

    def steps(self) -> list[float]:
        return [step for step, _ in self._groups]

    def set_step(self, number: int, step: float) -> None:
        for name in list(self._groups.values())[number]:
            constant = self._constants[name]
            array = np.full(tuple(constant.dims), step, np.float32)
            constant.CopyFrom(require("onnx").numpy_helper.from_array(array, name))
