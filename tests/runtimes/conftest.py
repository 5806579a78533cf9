# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A small bundle with random weights, and exports of it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pe_monai.predictor import Predictor
from pe_monai.runtimes.export import export_network
from pe_monai.weights import save_weights

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from small_bundle import copy_bundle, random_network  # noqa: E402


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory):
    bundle = copy_bundle(tmp_path_factory.mktemp("runtimes") / "bundle")
    (bundle / "models").mkdir()
    save_weights(random_network(bundle), bundle / "models" / "model.pt")
    return bundle


@pytest.fixture(scope="session")
def plain(small_bundle):
    return Predictor(small_bundle, "cpu", overrides={"amp": False})


@pytest.fixture(scope="session")
def export_once(plain, tmp_path_factory) -> Callable[[str], tuple[dict, Path]]:
    """Export in a format, once; what it returned and where it lies, alone in a folder; read only."""

    @functools.cache
    def export(kind: str) -> tuple[dict, Path]:
        folder = tmp_path_factory.mktemp(kind) / "export"
        return export_network(plain, kind, "fp32", folder), folder

    return export


@pytest.fixture(scope="session")
def exported(export_once) -> Path:
    return export_once("torchscript")[1]
