# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A label server in a process of its own, and folders for it."""

from __future__ import annotations

import functools
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pe_monai.data import PhantomFrame, phantom_clip, phantom_frame

STUB = Path(__file__).with_name("stub_label.py")


@dataclass
class Server:
    """A server of its own process.

    Attributes:
        url: where it answers.
        folder: its studies.
        process: to kill it.
        log: what it printed.
    """

    url: str
    folder: Path
    process: subprocess.Popen
    log: Path


@contextmanager
def serve(folder: Path, log: Path, *options: str, **environment: str) -> Iterator[Server]:
    """Start our server on a free port and wait until it answers."""
    # STUB="": with the interactive network that ships, not the predictable one
    start = [str(STUB)] if environment.pop("STUB", "stub") else ["-m", "pe_monai"]
    command = [sys.executable, *start, "label", "--studies", str(folder), *options]
    with answering(command, folder, log, **environment) as server:
        yield server


@contextmanager
def answering(command: list[str], folder: Path, log: Path, **environment: str) -> Iterator[Server]:
    """Any server on a free port, from when it answers to its end and that of all it started."""
    import requests

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port)], stdout=output, stderr=subprocess.STDOUT, env=env, start_new_session=True
        )
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(600):
                if process.poll() is not None:
                    raise RuntimeError(log.read_text()[-2000:])
                try:
                    requests.get(url, timeout=5)
                    break
                except requests.ConnectionError:
                    time.sleep(0.1)
            yield Server(url, folder, process, log)
        finally:
            with suppress(ProcessLookupError):  # a test may have ended it
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


def fill(folder: Path) -> Path:
    """Three stills and a clip of six frames."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (first, *others) in _pictures().items():
        first.save(folder / name, **({"save_all": True, "append_images": others} if others else {}))
    return folder


@functools.cache
def _pictures() -> dict[str, list[Image.Image]]:
    clip = phantom_clip(seed=3, frames=6, thickness_mm=14)
    frames = {f"still{name}_001.png": [phantom_still(number)] for number, name in enumerate("abc")} | {"beat.tif": clip}
    return {name: [Image.fromarray(frame.image) for frame in one] for name, one in frames.items()}


def png(array: np.ndarray) -> bytes:
    """A picture as a client sends it."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


def phantom_still(number: int) -> PhantomFrame:
    """A still of :func:`fill` with its truth: 0, 1 or 2."""
    return phantom_frame(seed=40 + number, thickness_mm=(18, 0, 10)[number])


def still(number: int) -> np.ndarray:
    """Truth of a still of :func:`fill`."""
    return phantom_still(number).mask > 0


def chromium() -> Any:
    """A headless browser of 1280 x 720; skips the test where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and driver):
        pytest.skip("chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,720", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def keep(driver: Any, name: str) -> None:
    """A picture to look at, where a folder for it is named."""
    if folder := os.environ.get("PE_MONAI_SCREENSHOTS"):
        driver.save_screenshot(str(Path(folder) / f"{name}.png"))
