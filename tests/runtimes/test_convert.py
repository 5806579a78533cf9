# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A converted network has PyTorch's logits, for batches and sizes other than that it was converted with."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from runtime_networks import NETWORKS, trained

from pe_monai.runtimes import fold_batch_norm
from pe_monai.runtimes.convert import to_onnx, to_openvino, to_torchscript
from pe_monai.runtimes.session import Session, onnx_session, openvino_session, torchscript_session

SIZES = [(1, 1, 128, 176), (3, 1, 57, 80)]


def convert(kind: str, network: torch.nn.Module, folder) -> Session:
    folded, sample = fold_batch_norm(network), torch.rand(2, 1, 64, 96)
    if kind == "torchscript":
        to_torchscript(folded).save(folder / "model.ts")
        return torchscript_session(folder / "model.ts", "fp32")
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}[kind])
    if kind == "onnx":
        return onnx_session(to_onnx(folded, sample).SerializeToString(), "fp32")
    return openvino_session(to_openvino(folded, sample), "fp32")


@pytest.mark.parametrize("kind", ["torchscript", "onnx", "openvino"])
@pytest.mark.parametrize("name", ["paper", "backbone"])
@torch.no_grad()
def test_logits(kind, name, tmp_path):
    network = trained(NETWORKS[name]())
    session = convert(kind, network, tmp_path)
    for size in SIZES:
        image = torch.rand(size)
        expected = network(image)
        assert (session(image) - expected).abs().max() <= 1e-4 * max(1, float(expected.abs().max()))


@torch.no_grad()
def test_bf16_torchscript_leaves_the_network_in_float32():
    network = trained(NETWORKS["paper"]())
    image = torch.rand(SIZES[0])
    found = to_torchscript(fold_batch_norm(network), bf16=True)(image)
    assert found.dtype == torch.float32 == next(network.parameters()).dtype
    torch.testing.assert_close(found.sigmoid(), network(image).sigmoid(), rtol=0, atol=0.05)


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs Linux and two cores"
)
@torch.no_grad()
def test_openvino_ties_no_thread_to_a_core(tmp_path):
    """Several processes would compute on the same first core, the others idle."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        session = convert("openvino", trained(NETWORKS["paper"]()), tmp_path)
    finally:
        torch.set_num_threads(threads)
    done, own, found = threading.Event(), [], set()

    def compute():
        own.append(threading.get_native_id())
        while not done.is_set():
            session(torch.rand(4, 1, 128, 176))

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(compute)
        try:
            for _ in range(100):
                time.sleep(0.01)
                found |= {len(os.sched_getaffinity(thread)) for thread in own}
        finally:
            done.set()
        running.result()
    assert found == {len(os.sched_getaffinity(0))}
