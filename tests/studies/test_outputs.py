# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of a clip."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
from PIL import Image

from pe_monai.data.clip_files import open_clip
from pe_monai.errors import FrameError
from pe_monai.predictor import Prediction
from pe_monai.studies.options import StudyOptions
from pe_monai.studies.outputs import write_files
from pe_monai.studies.segmented import segment_clip

SIZE = (60, 80)


def predict(frames):
    """No effusion, and a second frame that cannot be used."""
    for number, frame in enumerate(frames, start=1):
        nothing = np.zeros(SIZE, bool)
        seen = Prediction(nothing, nothing.astype(np.float32), ~nothing, frame[..., None], 0.0, 0.0, {})
        yield FrameError("is blank.") if number == 2 else seen


def test_a_frame_that_cannot_be_used_has_no_thickness(tmp_path):
    noise = np.random.default_rng(0).integers(0, 200, (3, *SIZE), np.uint8)
    first, *rest = map(Image.fromarray, noise)
    first.save(tmp_path / "a.tif", save_all=True, append_images=rest)
    clip, predictor = open_clip(tmp_path / "a.tif"), SimpleNamespace(predict_clip=predict)
    seen = segment_clip(clip, predictor, StudyOptions(spacing=(0.5, 0.5)), tmp_path)
    write_files(tmp_path, seen, StudyOptions(), {"clip": "a"}, {})
    with (tmp_path / "frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["thickness_mm"] for row in rows] == ["0.0000", "", "0.0000"]
    assert [row["status"] for row in rows] == ["ok", "error", "ok"] and rows[1]["error"] == "is blank."
