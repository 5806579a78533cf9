# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Many clients at once get right answers, a large folder opens at once; PE_MONAI_LOAD is the number of requests."""

from __future__ import annotations

import io
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from label_service import fill, serve
from PIL import Image

pytestmark = pytest.mark.slow
pytest.importorskip("monailabel", reason="MONAI Label is not installed; see constraints-label.txt")
requests = pytest.importorskip("requests")
REQUESTS = int(os.environ.get("PE_MONAI_LOAD", "160"))
CLIENTS = 16


def test_sixteen_clients_get_what_offline_gives(tmp_path):
    import torch

    from pe_monai.interactive import Click, InteractivePredictor
    from pe_monai.predictor import Predictor

    torch.set_num_threads(1)
    folder = fill(tmp_path / "studies")
    names = sorted(path.stem for path in folder.glob("*.png"))
    automatic, interactive = Predictor(device="cpu"), InteractivePredictor(device="cpu")
    frames = {name: np.asarray(Image.open(folder / f"{name}.png")) for name in names}
    wanted = {}
    for name in names:
        first = automatic.predict([frames[name]])[0]
        wanted[name, "effusion"] = first.mask
        rows, columns = np.nonzero(first.sector)
        places = [(int(rows[k]), int(columns[k])) for k in (len(rows) // 3, len(rows) // 2)]
        wanted[name, "clicks"] = places
        clicks = [Click(*places[0], True), Click(*places[1], False)]
        wanted[name, "effusion_interactive"] = interactive.predict(frames[name], clicks, first.mask).mask
    with serve(folder, tmp_path / "log.txt", STUB="") as server:

        def ask(number):
            name = names[number % len(names)]
            model = ("effusion", "effusion_interactive")[number // len(names) % 2]
            (y1, x1), (y2, x2) = wanted[name, "clicks"]
            params = {"foreground": [[x1, y1]], "background": [[x2, y2]]} if model != "effusion" else {}
            started = time.perf_counter()
            answer = requests.post(
                f"{server.url}/infer/{model}?image={name}&output=image",
                data={"params": json.dumps(params)},
                timeout=300,
            )
            seconds = time.perf_counter() - started
            if answer.status_code != 200:
                return answer.status_code, seconds
            mask = np.asarray(Image.open(io.BytesIO(answer.content))) > 0
            return 0 if np.array_equal(mask, wanted[name, model]) else -1, seconds

        with ThreadPoolExecutor(CLIENTS) as clients:
            results = list(clients.map(ask, range(REQUESTS)))
    times = 1000 * np.array([seconds for _, seconds in results])
    print(f"{REQUESTS} requests, ms: " + ", ".join(f"p{p} {np.percentile(times, p):.0f}" for p in (50, 90, 95, 99)))
    assert {code for code, _ in results} == {0}


def test_a_folder_of_ten_thousand_frames_opens_in_seconds(tmp_path):
    folder = fill(tmp_path / "studies")
    source = folder / "stilla_001.png"
    for number in range(10_000):
        os.link(source, folder / f"frame_{number:05d}.png")
    with serve(folder, tmp_path / "log.txt") as server:
        started = time.perf_counter()
        frames = requests.get(f"{server.url}/effusion/frames?refresh=true", timeout=60).json()["frames"]
        seconds = time.perf_counter() - started
    print(f"listed anew in {seconds:.2f} s")
    assert len(frames) == 10_009 and seconds < 10
