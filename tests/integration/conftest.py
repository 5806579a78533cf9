# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What the tests of the real commands share: small bundles, frames, and a process left as it was."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import monai
import pytest
from small_bundle import copy_bundle, random_network

from pe_monai.data import phantom_frame, write_picture
from pe_monai.paths import bundle_dir
from pe_monai.weights import save_weights


@pytest.fixture(autouse=True)
def _as_before():
    """Undo what a run of a bundle sets in its process: seeds, handlers of the log, filters of warnings."""
    before = {logger: list(logger.handlers) for logger in _loggers()}
    level = logging.getLogger().level
    with warnings.catch_warnings():
        yield
    for logger in _loggers():  # their handlers write to a stdout that is closed when the test is over
        logger.handlers[:] = before.get(logger, [])
    logging.getLogger().setLevel(level)
    monai.utils.set_determinism(seed=None)


def _loggers() -> list[logging.Logger]:
    named = logging.getLogger().manager.loggerDict.values()
    return [logging.getLogger(), *(logger for logger in named if isinstance(logger, logging.Logger))]


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory) -> Path:
    """A whole bundle with a small random network; read only."""
    bundle = copy_bundle(tmp_path_factory.mktemp("tiny") / "bundle")
    save_weights(random_network(bundle), bundle / "models" / "model.pt")
    return bundle


@pytest.fixture(scope="session")
def shipped_bundle() -> Path:
    """The bundle that ships, weights included."""
    bundle = bundle_dir()
    if not (bundle / "models" / "model.pt").is_file():
        pytest.skip(f"no models/model.pt in {bundle}: train with 'pe_monai train' first")
    return bundle


@pytest.fixture(params=["tiny", "shipped"])
def bundle(request) -> Path:
    """Each bundle in turn."""
    return request.getfixturevalue(f"{request.param}_bundle")


@pytest.fixture(scope="session")
def frame_folder(tmp_path_factory) -> Path:
    """Four phantom frames as PNG, of two sizes, green and black; read only."""
    folder = tmp_path_factory.mktemp("frames")
    for number in range(4):
        size, background = ((224, 320), (150, 200))[number // 2], ("green", "black")[number % 2]
        frame = phantom_frame(number + 1, size=size, background=background, thickness_mm=14)
        write_picture(frame.image, folder / f"frame{number}.png")
    return folder
