# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What people are shown of frames in which no sector stands out."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pe_monai.data.clip_files import open_clip
from pe_monai.predictor import Prediction
from pe_monai.studies.options import StudyOptions
from pe_monai.studies.segmented import segment_clip

SIZE = (120, 160)
LETTERS = (slice(4, 14), slice(10, 150, 4))


def predict(frames):
    """A sector that is the whole screen, as of a picture that no heart probe made."""
    for frame in frames:
        mask = np.zeros(SIZE, bool)
        mask[60:70, 60:90] = True
        whole = np.ones(SIZE, bool)
        yield Prediction(mask, mask.astype(np.float32), whole, frame[..., None], 1.0, 0.0, {})


@pytest.mark.parametrize("moves", [False, True])
def test_letters_are_not_shown(tmp_path, moves):
    rng = np.random.default_rng(0)
    frames = np.zeros((4, *SIZE), np.uint8)
    frames[:, 40:100, 40:120] = rng.integers(40, 200, (4 if moves else 1, 60, 80))
    frames[(slice(None), *LETTERS)] = 255
    first, *rest = map(Image.fromarray, frames)
    first.save(tmp_path / "a.tif", save_all=True, append_images=rest)
    clip, predictor = open_clip(tmp_path / "a.tif"), SimpleNamespace(predict_clip=predict)
    seen = segment_clip(clip, predictor, StudyOptions(), tmp_path)
    assert seen.unclear == {1, 2, 3, 4} and (seen.moving is not None) == moves
    picture = seen.draw(2)
    letters, tissue = picture[LETTERS], picture[80:90, 60:90]
    assert tissue.any() == moves
    if moves:
        assert not letters.any()
    else:  # but for the words that it is withheld
        assert not (picture[14:] == 255).all(axis=-1).any() and picture[60:70, 60:90].any()
    assert seen.draw(2, whole=True)[LETTERS].min() == 255
    shown = segment_clip(clip, predictor, StudyOptions(include_identifiers=True), tmp_path)
    assert shown.draw(2)[LETTERS].min() == 255
