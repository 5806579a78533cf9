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


@pytest.fixture
def clip(tmp_path):
    """Seven frames of noise without a pixel size."""
    first, *rest = map(Image.fromarray, np.random.default_rng(0).integers(0, 200, (7, *SIZE), np.uint8))
    first.save(tmp_path / "a.tif", save_all=True, append_images=rest)
    return open_clip(tmp_path / "a.tif")


@pytest.fixture
def segment(clip, tmp_path):
    """Outline the clip, with a pixel size given or not."""
    predictor = SimpleNamespace(predict_clip=predict)
    return lambda spacing: segment_clip(clip, predictor, StudyOptions(spacing=spacing), tmp_path)


@pytest.mark.parametrize(
    "spacing,grade", [(None, "none: pixel size unknown"), ((0.5, 0.5), "none: the thickness to grade is 0 mm")]
)
def test_why_there_is_no_grade(segment, spacing, grade):
    seen = segment(spacing)
    assert seen.measurement.largest_frame == 3 and seen.measurement.grade is None
    assert dict(describe_clip(seen, "a").results)["Grade"] == grade


@pytest.mark.parametrize("given,is_ignored", [(None, False), ((0.4, 0.30001), False), ((0.5, 0.5), True)])
def test_a_given_pixel_size_never_overrides_the_files_own(clip, segment, given, is_ignored):
    clip.spacing = (0.4, 0.3)
    seen = segment(given)
    assert seen.spacing == seen.measurement.frames[2].spacing == (0.4, 0.3) and seen.spacing_from == "file"
    notes = " ".join(describe_clip(seen, "a").notes)
    assert ("A pixel size of 0.5 x 0.5 mm was given and not used" in notes) == is_ignored
    assert ("was given" in notes) == is_ignored
