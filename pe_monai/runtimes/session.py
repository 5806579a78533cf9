# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Sessions: a network compiled once for a runtime and kept warm, called like the PyTorch network it stands for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pe_monai.errors import ExportError, one_line
from pe_monai.runtimes.convert import INPUT, require, to_onnx, to_openvino
from pe_monai.runtimes.fold import fold_batch_norm

logger = logging.getLogger(__name__)

RUNTIMES = ("auto", "torch", "onnx", "openvino")


class Session:
    """Images (B, C, H, W) to logits (B, K, H, W), float32, on the CPU; calls from several threads take turns.

    Args:
        name: runtime and precision, such as "openvino int8".
        compute: the same on arrays.

    Attributes:
        files: SHA-256 of the exported files by name; empty for a network that was converted in memory.
    """

    def __init__(self, name: str, compute: Callable[[np.ndarray], np.ndarray]) -> None:
        self.name = name
        self.files: dict[str, str] = {}
        self._compute = compute
        self._lock = threading.Lock()

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of a batch.

        Raises:
            ExportError: the runtime cannot take images of this size.
        """
        array = np.ascontiguousarray(images.numpy(), dtype=np.float32)
        try:
            with self._lock:
                return torch.from_numpy(self._compute(array))
        except Exception as e:  # each runtime raises errors of its own
            raise ExportError(
                f"{self.name}: images of {array.shape[2]} x {array.shape[3]} pixels with {array.shape[1]} channels "
                f"cannot be computed ({one_line(e)}); use the runtime torch, or export the network again."
            ) from e


def openvino_session(model: Any, precision: str) -> Session:
    """Compile an OpenVINO model (or the path of one) for the CPU, on as many threads as PyTorch has."""
    openvino = require("openvino")
    compiled = openvino.Core().compile_model(
        model,
        "CPU",
        {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            # each of several processes would tie its threads to the same first cores
            "ENABLE_CPU_PINNING": False,
        },
    )
    return Session(f"openvino {precision}", lambda images: compiled(images, share_inputs=True)[0])


def onnx_session(model: bytes | str, precision: str) -> Session:
    """Load an ONNX model, as bytes or by its path, into ONNX Runtime, on as many threads as PyTorch has."""
    onnxruntime = require("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; a model of dynamic size is full of warnings
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return Session(f"onnx {precision}", lambda images: session.run(None, {INPUT: images})[0])


def torchscript_session(path: str | Path, precision: str) -> Session:
    """Load a TorchScript file."""
    module = torch.jit.load(path, map_location="cpu").eval()

    def compute(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            return module(torch.from_numpy(images)).numpy()

    return Session(f"torchscript {precision}", compute)


def start_session(
    runtime: str, network: nn.Module, sample: torch.Tensor, device: torch.device, bf16: bool = False
) -> Session | None:
    """Convert a network in memory, so that nothing on disk can be out of step with its weights, and compile it.

    Args:
        runtime: one of ``RUNTIMES``; "auto" takes OpenVINO on a CPU where it is installed, otherwise PyTorch.
        network: the network, its weights loaded.
        sample: a batch such as it will be given.
        device: where it is to run.
        bf16: whether to compute in bfloat16; ONNX Runtime cannot, and computes in float32.

    Returns:
        The session, or None where PyTorch is to run the network itself.

    Raises:
        ExportError: the runtime is unknown, not installed or for CPUs alone, or the network cannot be converted.
    """
    if runtime not in RUNTIMES:
        raise ExportError(f"runtime {runtime!r} is unknown; give one of {', '.join(RUNTIMES)} or an exported folder.")
    if runtime == "torch" or runtime == "auto" and device.type != "cpu":
        return None
    if device.type != "cpu":
        raise ExportError(f"the runtime {runtime} computes on the CPU; add --device cpu, or use the runtime torch.")
    try:
        if runtime == "onnx":
            require("onnxruntime")
            model = to_onnx(fold_batch_norm(network), sample)
            session = onnx_session(model.SerializeToString(), "fp32")
        else:
            session = openvino_session(to_openvino(fold_batch_norm(network), sample), "bf16" if bf16 else "fp32")
        session(sample)
    except Exception as e:
        error = e if isinstance(e, ExportError) else ExportError(f"the network cannot be converted for {runtime}: {e}")
        if runtime != "auto":
            raise error from e
        logger.warning("runtime auto: PyTorch is used, since %s", error)
        return None
    return session
