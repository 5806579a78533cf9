# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The launcher of the study's tests."""

from __future__ import annotations

import logging

import monai
import pytest
from study_launcher import Launcher


@pytest.fixture
def launcher():
    level = logging.getLogger().level
    yield Launcher()
    logging.getLogger().setLevel(level)
    monai.utils.set_determinism(seed=None)
