# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The models that outline frames for the server: the shipped one, and those that were trained here since."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from pe_monai.errors import BundleError, WeightsError, one_line
from pe_monai.interactive import Click, InteractivePredictor
from pe_monai.kept import drop_oldest
from pe_monai.paths import bundle_dir
from pe_monai.predictor import Prediction, Predictor
from pe_monai.weights import record_hash
from pe_monai.whole import write_text_whole

SHIPPED = "shipped"


@dataclass(frozen=True)
class Version:
    """A state of the automatic model.

    Attributes:
        name: "shipped", or the number and the first digits of the hash of one trained here.
        weights: its file.
        info: what its training said.
    """

    name: str
    weights: Path
    info: dict[str, Any]


class Models:
    """The automatic and the interactive model, loaded once, and the history of the automatic one.

    ``FOLDER/NAME/model.pt`` are the versions trained here, ``FOLDER/current.json`` names the one in use. Another
    process may change that file; the next frame is then outlined by the new version.

    Args:
        folder: where versions are kept.
        bundle: folder of the bundle; the one that ships by default.
        device: such as "cpu"; the bundle's choice by default.
    """

    def __init__(self, folder: Path, bundle: str | Path | None = None, device: str | None = None) -> None:
        self.folder = folder
        self.bundle = Path(bundle) if bundle else bundle_dir()
        self.device = device or None
        self.clicks_missing = ""
        self._interactive: InteractivePredictor | None = None
        self._loaded: tuple[str, Predictor] | None = None
        self._loading = threading.RLock()
        # as many at a time as there are cores, each on one of them: more only wait for one another
        self._slots = threading.BoundedSemaphore(os.cpu_count() or 1)
        self._cache: OrderedDict[tuple[Hashable, str], Prediction] = OrderedDict()

    @property
    def version(self) -> Version:
        """The version in use."""
        try:
            current = json.loads((self.folder / "current.json").read_text(encoding="utf-8"))
            weights = self.folder / Path(current["name"]).name / "model.pt"
            if weights.is_file():
                return Version(str(current["name"]), weights, dict(current))
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return Version(SHIPPED, self.bundle / "models" / "model.pt", {})

    def predictor(self, version: Version | None = None) -> tuple[str, Predictor]:
        """The automatic model, and the name of its version.

        Raises:
            WeightsError: its weights are missing or damaged.
        """
        version = version or self.version
        with self._loading:
            if self._loaded is None or self._loaded[0] != version.name:
                overrides = {} if version.name == SHIPPED else {"ckpt_path": str(version.weights)}
                try:
                    self._loaded = version.name, Predictor(self.bundle, self.device, overrides=overrides)
                except WeightsError as e:
                    if version.name == SHIPPED:
                        raise
                    back = f"remove {self.folder / 'current.json'} to go back to the shipped model"
                    raise WeightsError(f"{e} To go on, {back}, or name an older one there.") from e
            return self._loaded

    def outline(self, pixels: np.ndarray, key: Hashable = None) -> tuple[str, Prediction]:
        """Outline a frame.

        Args:
            pixels: uint8 (H, W) or (H, W, 3).
            key: under which the result is kept for the next call; None for frames that come once.

        Returns:
            The version's name and what it sees.

        Raises:
            FrameError: the frame shows no sector.
        """
        name, predictor = self.predictor()
        if key is not None and (known := self._cache.get((key, name))) is not None:
            return name, known
        with self._slots:
            prediction = predictor.predict([pixels])[0]
        if key is not None:
            with self._loading:
                self._cache[key, name] = prediction
                drop_oldest(self._cache, _bytes)
        return name, prediction

    def correct(
        self, pixels: np.ndarray, clicks: Sequence[Click], prior: np.ndarray | None, key: Hashable = None
    ) -> Prediction:
        """Outline a frame by clicks.

        Args:
            pixels: uint8 (H, W) or (H, W, 3).
            clicks: inside and outside the effusion.
            prior: mask to correct, (H, W) bool; None to begin with the outline of the version in use.
            key: of that outline, see :meth:`outline`.

        Raises:
            FrameError: a click lies outside the frame.
            WeightsError: the interactive model is not there.
        """
        predictor = self._load_interactive()
        if prior is None:
            prior = self.outline(pixels, key)[1].mask
        with self._slots:
            return predictor.predict(pixels, clicks, prior)

    def has_clicks(self) -> bool:
        """Whether the interactive model is there."""
        try:
            self._load_interactive()
        except WeightsError:
            return False
        return True

    def add(self, weights: Path, info: dict[str, Any]) -> Version:
        """Keep weights as a new version and use it; older versions stay.

        Args:
            weights: file of a state_dict of the bundle's network.
            info: what to note about it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(p.name[:4]) for p in self.folder.iterdir() if p.name[:4].isdecimal()), default=0)
        for left in self.folder.glob(".partial-*"):  # of a server that was killed
            shutil.rmtree(left, ignore_errors=True)
        partial = self.folder / f".partial-{os.getpid()}"
        partial.mkdir()
        try:
            shutil.copy(weights, partial / "model.pt")
            digest = record_hash(partial / "model.pt")
            name = f"{number:04d}-{digest[:8]}"
            trained = datetime.now(timezone.utc).isoformat(timespec="seconds")
            current = {**info, "name": name, "sha256": digest, "trained": trained}
            text = json.dumps(current, indent=2) + "\n"
            (partial / "info.json").write_text(text, encoding="utf-8")
            partial.replace(self.folder / name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)  # half of it would take the room of labels
        write_text_whole(self.folder / "current.json", text)
        return self.version

    def _load_interactive(self) -> InteractivePredictor:
        with self._loading:
            if self._interactive is None:
                if self.clicks_missing:
                    raise WeightsError(self.clicks_missing)
                try:
                    self._interactive = InteractivePredictor(device=self.device)
                except (FileNotFoundError, BundleError, WeightsError) as e:
                    self.clicks_missing = (
                        f"the interactive model is not there ({one_line(e, 200)}); use brush and eraser."
                    )
                    raise WeightsError(self.clicks_missing) from e
            return self._interactive


def _bytes(prediction: Prediction) -> int:
    return sum(plane.nbytes for plane in (prediction.mask, prediction.probability, prediction.sector, prediction.frame))
