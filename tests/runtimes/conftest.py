# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A small bundle with random weights, and an export of it."""

from __future__ import annotations

import sys
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
def exported(plain, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "torchscript"
    export_network(plain, "torchscript", "fp32", folder)
    return folder
