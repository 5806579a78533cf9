# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The bundle, unchanged, in MONAI Label's own `monaibundle` app, asked over HTTP."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from label_service import Server, answering, phantom_still, png, still
from PIL import Image

from pe_monai.paths import bundle_dir
from pe_monai.predictor import Predictor

pytest.importorskip("monailabel", reason="MONAI Label is not installed; see constraints-label.txt")
requests = pytest.importorskip("requests")
pytestmark = pytest.mark.slow
MODEL = "effusion_bundle"


@pytest.fixture(scope="module")
def stock(tmp_path_factory) -> Iterator[Server]:
    """As docs/label.md says, with a copy of the bundle and three stills."""
    root = tmp_path_factory.mktemp("stock")
    (root / "studies").mkdir()
    for number in range(3):
        Image.fromarray(phantom_still(number).image).save(root / "studies" / f"still{number}.png")
    monailabel = Path(sys.executable).with_name("monailabel")
    path = f"{monailabel.parent}:{os.environ['PATH']}"
    shims = subprocess.run([sys.executable, "-m", "pe_monai.label.shims"], capture_output=True, text=True, check=True)
    environment = {"PATH": path, "PYTHONPATH": shims.stdout.strip()}
    subprocess.run(
        [monailabel, "apps", "--download", "--name", "monaibundle", "--output", root],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
    )
    shutil.copytree(bundle_dir(), root / "monaibundle" / "model" / MODEL)
    start = [str(monailabel), "start_server", "--app", str(root / "monaibundle"), "--studies", str(root / "studies")]
    start += ["--host", "127.0.0.1", "--conf", "models", MODEL, "--conf", "zoo_source", "local"]
    with answering(start, root / "studies", root / "log.txt", **environment) as server:
        yield server


@pytest.fixture(scope="module")
def offline() -> list[np.ndarray]:
    """Masks of the stills by the predictor."""
    return [prediction.mask for prediction in Predictor().predict([phantom_still(n).image for n in range(3)])]


def test_it_offers_the_automatic_network_alone(stock):
    model = requests.get(f"{stock.url}/info/", timeout=60).json()["models"][MODEL]
    assert model["type"] == "segmentation" and model["dimension"] == 2
    assert model["config"]["model_filename"] == ["model.pt"]


def test_a_frame_has_the_outline_of_the_predictor(stock, offline):
    for number, mask in enumerate(offline):
        answer = requests.post(
            f"{stock.url}/infer/{MODEL}", params={"image": f"still{number}", "output": "image"}, timeout=120
        )
        assert answer.status_code == 200, answer.text
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))) > 0, mask)
    assert offline[0].any()


def test_a_jpeg_has_it_too(stock):
    file = io.BytesIO()
    Image.fromarray(phantom_still(0).image).save(file, format="JPEG")
    mask = Predictor().predict([np.asarray(Image.open(file).convert("RGB"))])[0].mask
    files = {"file": ("frame.jpg", file.getvalue())}
    answer = requests.post(f"{stock.url}/infer/{MODEL}?output=image", files=files, timeout=120)
    assert answer.status_code == 200, answer.text
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), mask)


def test_a_batch_has_them_too(stock, offline):
    started = requests.post(f"{stock.url}/batch/infer/{MODEL}", json={"multi_gpu": False}, timeout=60)
    assert started.status_code == 200, started.text
    _wait(f"{stock.url}/batch/infer/")
    for number, mask in enumerate(offline):
        kept = stock.folder / "labels" / "original" / f"still{number}.png"
        assert np.array_equal(np.asarray(Image.open(kept)) > 0, mask)


def test_it_trains_and_goes_on_answering(stock):
    for number in range(3):
        saved = requests.put(
            f"{stock.url}/datastore/label",
            params={"image": f"still{number}", "tag": "final"},
            files={"label": (f"still{number}.png", png(255 * still(number).astype(np.uint8)))},
            timeout=60,
        )
        assert saved.status_code == 200, saved.text
    started = requests.post(f"{stock.url}/train/{MODEL}", json={"max_epochs": 1, "multi_gpu": False}, timeout=60)
    assert started.status_code == 200, started.text
    _wait(f"{stock.url}/train/")
    assert requests.get(f"{stock.url}/train/", timeout=60).json()["status"] == "DONE"
    answer = requests.post(f"{stock.url}/infer/{MODEL}", params={"image": "still0", "output": "image"}, timeout=120)
    assert set(np.unique(np.asarray(Image.open(io.BytesIO(answer.content))))) <= {0, 1}


def _wait(task: str, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while (state := requests.get(task, timeout=60).json())["status"] in ("SUBMITTED", "RUNNING"):
        assert time.monotonic() < end, str(state)[-2000:]
        time.sleep(1)
