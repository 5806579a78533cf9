# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A running label server; what needs MONAI Label skips where it is not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest
from label_service import Server, fill, serve


@pytest.fixture(scope="session")
def label_server(tmp_path_factory) -> Iterator[Server]:
    """A server of its own for tests that share a folder."""
    if importlib.util.find_spec("monailabel") is None:
        pytest.skip("MONAI Label is not installed; see constraints-label.txt")
    root = tmp_path_factory.mktemp("label")
    with serve(fill(root / "studies"), root / "log.txt") as server:
        yield server
