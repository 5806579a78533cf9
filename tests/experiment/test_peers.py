# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What is said where the optional package of a peer cannot be used."""

from __future__ import annotations

import sys

import pytest

from pe_monai.errors import BundleError
from pe_monai.experiment.peers import SMP_ROW, require_smp
from pe_monai.experiment.rows import find_budget, find_rows, require_packages
from pe_monai.experiment.study import Plan, run_study


class Broken:
    """A finder in whose hands a package's import fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def find_spec(self, name: str, path=None, target=None):
        if name.partition(".")[0] == "segmentation_models_pytorch":
            raise self.error


@pytest.fixture
def break_smp(monkeypatch):
    def arrange(error: Exception) -> None:
        for name in [name for name in sys.modules if name.startswith("segmentation_models_pytorch")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(sys, "meta_path", [Broken(error), *sys.meta_path])

    return arrange


def test_an_absent_package_is_named_with_its_extra(break_smp):
    break_smp(ModuleNotFoundError("No module named 'segmentation_models_pytorch'"))
    with pytest.raises(BundleError, match=r"smp_unet: No module named.*pip install 'pe_monai\[peers\]'"):
        require_smp()


def test_a_torchvision_for_another_torch_is_named(break_smp):
    break_smp(RuntimeError("operator torchvision::nms does not exist"))
    with pytest.raises(BundleError, match=r"torchvision was not built for PyTorch .*nms does not exist.*CPU build"):
        require_packages(find_rows([SMP_ROW])[0])
    require_packages(find_rows(["basic_unet"])[0])


def test_the_study_says_it_before_it_trains_and_goes_on(break_smp, launcher, phantom_root, tmp_path):
    break_smp(RuntimeError("operator torchvision::nms does not exist"))
    rows = find_rows([SMP_ROW])
    outcome = run_study(Plan(rows, ("clip",), phantom_root, tmp_path, find_budget("small")), launch=launcher)
    assert launcher.asked == [] and outcome.page is None
    assert "built for PyTorch" in outcome.errors[0]
