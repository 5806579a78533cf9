# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What the server keeps for the next request is bounded by its size, not by its number."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pe_monai.errors import WeightsError
from pe_monai.label import models, studies
from pe_monai.predictor import Prediction

SIDE = 100


@pytest.fixture(autouse=True)
def limit(monkeypatch):
    monkeypatch.setattr("pe_monai.kept.MOST_BYTES", 10 * SIDE**2)


def test_predictions(tmp_path):
    kept = models.Models(tmp_path)
    plane = np.zeros((SIDE, SIDE), bool)
    prediction = Prediction(plane, plane.astype(np.float32), plane, plane.astype(np.uint8), 0.0, 0.0, {})
    outlined = []
    kept._loaded = models.SHIPPED, SimpleNamespace(predict=lambda frames: outlined.append(1) or [prediction])
    for key in (1, 1, 2, 2, 1):  # one has 7 bytes a pixel, so there is room for one
        kept.outline(plane, key)
    assert len(outlined) == 3


def test_decoded_frames(tmp_path):
    for number in range(30):
        Image.new("L", (SIDE, SIDE), number).save(tmp_path / f"{number}.png")
    folder = studies.Studies(tmp_path)
    for frame in folder.frames.values():
        assert folder.pixels(frame)[0, 0] == int(frame.id)
    assert len(folder._decoded) == 10


def test_who_has_a_damaged_version_is_told_how_to_go_back(tmp_path):
    (tmp_path / "0001-abc").mkdir()
    (tmp_path / "0001-abc" / "model.pt").write_bytes(b"cut off")
    (tmp_path / "current.json").write_text('{"name": "0001-abc"}')
    with pytest.raises(WeightsError, match=r"remove .*current\.json to go back"):
        models.Models(tmp_path, device="cpu").predictor()
    (tmp_path / "current.json").unlink()
    assert models.Models(tmp_path, device="cpu").predictor()[0] == "shipped"


def test_a_version_for_which_there_is_no_room_leaves_nothing(tmp_path, monkeypatch):
    def fill_up(path):
        assert path.is_file()
        raise OSError(28, "No space left on device")

    (tmp_path / "trained.pt").write_bytes(b"weights")
    monkeypatch.setattr(models, "record_hash", fill_up)
    with pytest.raises(OSError, match="No space left"):
        models.Models(tmp_path / "models").add(tmp_path / "trained.pt", {})
    assert not list((tmp_path / "models").iterdir())
