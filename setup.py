# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the packages lie; everything else about the distribution is in pyproject.toml."""

from tempfile import TemporaryDirectory

from setuptools import find_packages, setup

# setuptools keeps its build folder, so that a later wheel would carry what has been deleted or retrained since
with TemporaryDirectory(prefix="pe_monai-build-") as build_base:
    setup(
        packages=[*find_packages(include=["pe_monai", "pe_monai.*"]), "pe_monai.bundle", "pe_monai.configs"],
        package_dir={"pe_monai.bundle": "bundle", "pe_monai.configs": "configs"},
        options={"build": {"build_base": build_base}},
    )
