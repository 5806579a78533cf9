# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The shipped folders are found in a checkout and in an installed package, and missed with a remedy."""

import pytest

from pe_monai import paths


def make(root) -> None:
    for name in ("bundle/configs/inference.json", "configs/paper.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}")


def test_checkout_has_the_bundle():
    assert (paths.bundle_dir() / "configs" / "metadata.json").is_file()


def test_folder_beside_the_package_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "pe_monai")
    make(tmp_path)
    assert paths.bundle_dir() == tmp_path / "bundle"
    assert paths.configs_dir() == tmp_path / "configs"


def test_folder_inside_the_package_comes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "pe_monai")
    make(tmp_path)
    make(tmp_path / "pe_monai")
    assert paths.bundle_dir() == tmp_path / "pe_monai" / "bundle"
    assert paths.configs_dir() == tmp_path / "pe_monai" / "configs"


def test_missing_folder_is_named_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path / "pe_monai")
    (tmp_path / "bundle").mkdir()
    with pytest.raises(FileNotFoundError, match="pe_monai/bundle/configs/inference.json.*install pe_monai again"):
        paths.bundle_dir()
