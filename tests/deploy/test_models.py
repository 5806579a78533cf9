# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The model of a package: found where packages have it, and the bundle it came from, to the bit."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from pe_monai.data import phantom_frame
from pe_monai.deploy.models import check_hash, find_model, unpack_model
from pe_monai.deploy.package_config import expected_hash
from pe_monai.errors import BundleError, DeployError, WeightsError
from pe_monai.predictor import Predictor
from pe_monai.weights import record_hash


def test_model_is_found(models, small_bundle, tmp_path):
    assert find_model(models) == find_model(models / "pe") == find_model(models / "pe" / "model.ts")
    assert find_model(small_bundle) == small_bundle
    with pytest.raises(BundleError, match="neither model.ts nor NAME/model.ts"):
        find_model(tmp_path)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.ts").touch()
    with pytest.raises(BundleError, match="several models \\(one, two\\)"):
        find_model(tmp_path)


def test_unpacked_model_is_the_bundle(models, small_bundle, tmp_path):
    whole, unpacked = (
        Predictor(path, device="cpu") for path in (small_bundle, unpack_model(find_model(models), tmp_path / "pe"))
    )
    assert unpacked.weights_sha256 == whole.weights_sha256 and unpacked.settings == whole.settings
    frame = phantom_frame(3, thickness_mm=15).image
    one, other = (predictor.predict([frame])[0] for predictor in (whole, unpacked))
    assert one.mask.any() and not one.mask.all()
    np.testing.assert_array_equal(one.probability, other.probability)
    np.testing.assert_array_equal(one.mask, other.mask)


def test_models_that_cannot_be_used(models, tmp_path):
    (tmp_path / "text.ts").write_text("no model")
    with pytest.raises(WeightsError, match="text.ts: is no TorchScript"):
        unpack_model(tmp_path / "text.ts", tmp_path / "a")
    torch.jit.script(torch.nn.ReLU()).save(str(tmp_path / "bare.ts"))
    with pytest.raises(BundleError, match="bare.ts: has no inference.json"):
        unpack_model(tmp_path / "bare.ts", tmp_path / "b")
    other = tmp_path / "other.ts"
    extra = {"inference.json": '{"network": "$torch.nn.Linear(1, 1)", "imports": ["$import torch"]}'}
    torch.jit.script(torch.nn.ReLU()).save(str(other), _extra_files=extra)
    with pytest.raises(WeightsError, match="not those of its own network_def"):
        unpack_model(other, tmp_path / "c")


def test_model_that_was_changed(models, tmp_path):
    copy = tmp_path / "model.ts"
    shutil.copy(find_model(models), copy)
    digest = record_hash(copy)
    assert check_hash(copy) == check_hash(copy, digest) == digest
    with pytest.raises(WeightsError, match="the package's configuration says 000"):
        check_hash(copy, "0" * 64)
    copy.write_bytes(copy.read_bytes() + b"\0")
    with pytest.raises(WeightsError, match="model.ts.sha256 says"):
        unpack_model(copy, tmp_path / "pe")


def test_configuration_names_the_model(tmp_path):
    config = tmp_path / "app.config"
    assert expected_hash(None) is None and expected_hash(config) is None
    config.write_text("model:\n  sha256: abc\n")
    assert expected_hash(config) == "abc"
    config.write_text("- 1")
    assert expected_hash(config) is None
    config.write_text("a: [")
    with pytest.raises(DeployError, match="is no YAML"):
        expected_hash(config)
