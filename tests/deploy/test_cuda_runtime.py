# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The CUDA runtime: the package's, else the system's, else a message that says what to install."""

from __future__ import annotations

from importlib import metadata
from types import SimpleNamespace

import pytest

from pe_monai.deploy import cuda_runtime
from pe_monai.errors import DeployError


@pytest.fixture
def loaded(monkeypatch):
    """What was loaded; libraries whose name is in the set are missing."""
    tried, missing = [], set()

    def load(name, mode):
        tried.append(name)
        if name in missing:
            raise OSError(name)

    monkeypatch.setattr(cuda_runtime.ctypes, "CDLL", load)
    return tried, missing


def installed(monkeypatch, *names: str) -> None:
    files = [SimpleNamespace(name=name.rpartition("/")[2], locate=lambda name=name: name) for name in names]
    monkeypatch.setattr(cuda_runtime.metadata, "files", lambda package: files)


def test_the_package_comes_first(monkeypatch, loaded):
    installed(monkeypatch, "lib/libcudart_static.a", "lib/libcudart.so.13")
    assert cuda_runtime.load_cuda_runtime() == "lib/libcudart.so.13" and loaded[0] == ["lib/libcudart.so.13"]


def test_then_the_system(monkeypatch, loaded):
    def absent(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(cuda_runtime.metadata, "files", absent)
    assert cuda_runtime.load_cuda_runtime() == "libcudart.so.13"


def test_then_a_message(monkeypatch, loaded):
    installed(monkeypatch, "lib/libcudart.so.13")
    loaded[1].update(("lib/libcudart.so.13", "libcudart.so.13"))
    with pytest.raises(DeployError, match="pip install 'nvidia-cuda-runtime==13"):
        cuda_runtime.load_cuda_runtime()
