# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What the page says of a clip."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pe_monai.data.clip_files import open_clip
from pe_monai.predictor import Prediction
from pe_monai.studies.options import StudyOptions
from pe_monai.studies.section import describe_clip
from pe_monai.studies.segmented import segment_clip

SIZE = (60, 80)


def predict(frames):
    """Effusion in the third frame alone, and each as reliable as can be."""
    for number, frame in enumerate(frames, start=1):
        mask = np.zeros(SIZE, bool)
        mask[30:40, 20:60] = number == 3
        yield Prediction(mask, mask.astype(np.float32), np.ones(SIZE, bool), frame[..., None], 1.0, 0.0, {})


@pytest.mark.parametrize(
    "spacing,grade", [(None, "none: pixel size unknown"), ((0.5, 0.5), "none: the thickness to grade is 0 mm")]
)
def test_why_there_is_no_grade(tmp_path, spacing, grade):
    noise = np.random.default_rng(0).integers(0, 200, (7, *SIZE), np.uint8)
    first, *rest = map(Image.fromarray, noise)
    first.save(tmp_path / "a.tif", save_all=True, append_images=rest)
    clip, predictor = open_clip(tmp_path / "a.tif", spacing), SimpleNamespace(predict_clip=predict)
    seen = segment_clip(clip, predictor, StudyOptions(), tmp_path)
    assert seen.measurement.largest_frame == 3 and seen.measurement.grade is None
    assert dict(describe_clip(seen, "a").results)["Grade"] == grade
