# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Thickness measured in the shipped network's masks.

`pytest -m slow -s tests/measure/test_through_network.py` prints the agreement with the truth. The network never saw a
phantom, so its error there is that of a new machine; fold 8 is what it was selected on.
"""

from __future__ import annotations

import numpy as np
import pytest

from pe_monai.data import index_dataset, phantom_frame
from pe_monai.evaluation.agreement import agreement
from pe_monai.measure import measure_frame
from pe_monai.paths import bundle_dir

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def predictor():
    if not (bundle_dir() / "models" / "model.pt").is_file():
        pytest.skip("no models/model.pt in the bundle: train with 'pe_monai train' first")
    from pe_monai.predictor import Predictor

    return Predictor(device="cpu")


def show(name: str, found: dict) -> None:
    def text(estimate: dict) -> str:
        return " ".join("-" if estimate[end] is None else f"{estimate[end]:.2f}" for end in ("value", "low", "high"))

    limits = found["bland_altman"]
    print(f"\n{name}: {found['pairs']} frames of {found['clips']} clips (value, low, high)")
    print(f"  mean absolute error {text(found['mae'])}; bias {text(limits['bias'])}; sd {text(limits['sd'])}")
    print(f"  limits of agreement {text(limits['lower'])} to {text(limits['upper'])}")
    print(f"  ICC(2,1) {text(found['icc_2_1'])}; ICC(3,1) {text(found['icc_3_1'])}")
    if found["grades"]:
        print(f"  same grade {text(found['grades']['same'])}; confusion {found['grades']['confusion']}")


def test_phantoms(predictor):
    rng = np.random.default_rng(5)
    got, wanted, reliable = [], [], []
    for seed in range(100):
        thickness = float(np.exp(rng.uniform(*np.log((2, 40))))) if seed % 5 else 0.0
        depth = float(rng.uniform(max(11.5, 9 + thickness / 4), 20.5))
        frame = phantom_frame(
            5000 + seed, thickness_mm=thickness, depth_cm=depth, background=("green", "black")[seed % 2]
        )
        seen = predictor.predict([frame.image])[0]
        measured = measure_frame(seen.mask, seen.sector, frame.spacing, seen.probability, seen.frame)
        got.append(measured.thickness_mm)
        wanted.append(frame.thickness_mm)
        reliable.append(measured.reliable)
    got, wanted, reliable = map(np.array, (got, wanted, reliable))
    show("phantom, all frames, mm", agreement(got, wanted))
    show("phantom, with effusion, mm", agreement(got[wanted > 0], wanted[wanted > 0]))
    show("phantom, judged reliable, mm", found := agreement(got[reliable], wanted[reliable]))
    assert found["mae"]["value"] < 10


@pytest.mark.realdata
def test_published_frames(predictor, real_root):
    from PIL import Image

    got, wanted, clips, reliable = [], [], [], []
    for item in [item for item in index_dataset(real_root) if item.fold == 8][::3]:
        seen = predictor.predict([np.asarray(Image.open(real_root / item.image).convert("RGB"))])[0]
        truth = np.asarray(Image.open(real_root / item.label).convert("RGB"))[..., 1] > 127
        measured = measure_frame(seen.mask, seen.sector, None, seen.probability, seen.frame)
        got.append(measured.thickness_px)
        wanted.append(measure_frame(truth, seen.sector).thickness_px)
        clips.append(item.clip)
        reliable.append(measured.reliable)
    got, wanted, clips, reliable = map(np.array, (got, wanted, clips, reliable))
    show("fold 8, all frames, pixels", agreement(got, wanted, clips, scale=None))
    show("fold 8, judged reliable, pixels", found := agreement(got[reliable], wanted[reliable], clips[reliable], None))
    assert found["icc_2_1"]["value"] > 0.8
