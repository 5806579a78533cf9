# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A PyTorch network as TorchScript, ONNX or OpenVINO model, for any batch, height and width."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
from torch import nn

from pe_monai.errors import ExportError

INPUT, OUTPUT = "image", "pred"


def require(module: str) -> ModuleType:
    """Import an optional package.

    Raises:
        ExportError: it is not installed; the message says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as e:
        remedy = "pip install 'pe_monai[runtimes]'"
        raise ExportError(f"{module} is not installed or does not load here ({e}); get it with: {remedy}") from e


def to_torchscript(network: nn.Module, bf16: bool = False) -> torch.jit.ScriptModule:
    """TorchScript, float32 in and out; with ``bf16`` it computes in bfloat16 between."""
    # a copy of weights in bfloat16 must not become that of the caller
    module = _Bf16(network) if bf16 else network
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # MONAI's bundles are exported as TorchScript
        return torch.jit.script(module.eval())


class _Bf16(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.to(torch.bfloat16)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.network(image.to(torch.bfloat16)).float()


def to_onnx(network: nn.Module, sample: torch.Tensor) -> Any:
    """ONNX model (``onnx.ModelProto``) with inputs ``image`` (B, C, H, W) and outputs ``pred``, all but C dynamic."""
    for module in ("onnx", "onnxscript"):
        require(module)
    sizes = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    with quiet():
        program = torch.onnx.export(
            network,
            (sample,),
            dynamo=True,
            dynamic_shapes=(sizes,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=18,
            verbose=False,
        )
    return program.model_proto


def to_openvino(network: nn.Module, sample: torch.Tensor) -> Any:
    """OpenVINO model with input ``image`` (B, C, H, W) and output ``pred``, all but C dynamic."""
    openvino = require("openvino")
    with quiet():
        model = openvino.convert_model(network, example_input=sample)
    model.inputs[0].get_tensor().set_names({INPUT})
    model.outputs[0].get_tensor().set_names({OUTPUT})
    model.reshape({INPUT: [-1, sample.shape[1], -1, -1]})
    return model


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence converters, which print, warn and log about their own work."""
    disabled = logging.root.manager.disable
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(disabled)
