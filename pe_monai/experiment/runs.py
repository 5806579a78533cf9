# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One row under one protocol: trained and scored by MONAI's bundle runner, skipped when done, resumed when cut."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pe_monai.errors import BundleError
from pe_monai.experiment.datalists import Datalist
from pe_monai.experiment.rows import Row, settings_hash
from pe_monai.paths import bundle_dir
from pe_monai.weights import hash_file, sha256_of
from pe_monai.whole import write_text_whole

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

Launch = Callable[[list[str], Path], int]
# the frames that are tested are the protocol's, whatever a training selects its epoch on
OF_TRAINING = ("train#", "validate#dataset")
# what the study sets for each run
OF_STUDY = (
    "bundle_root",
    "dataset_dir",
    "datalist",
    "section",
    "output_dir",
    "masks_dir",
    "ckpt_path",
    "resume",
    "temperature",
)
TEMPERATURE = 1.0  # of every row: the bundle's was fitted to the weights that ship
_ERROR_LINE = re.compile(r"[A-Za-z_][\w.]*(Error|Exception): \S")


class RunError(RuntimeError):
    """A training or an evaluation ended with an error; the rest of the study goes on."""


@dataclass(frozen=True)
class Run:
    """A row under a protocol.

    Attributes:
        row: the recipe.
        datalist: the frames.
        folder: of all that it leaves.
        budget: overlay of the budget.
        settings: further values by id of the config.
        dataset: folder of the data set.
    """

    row: Row
    datalist: Datalist
    folder: Path
    budget: Path | None
    settings: Mapping[str, Any]
    dataset: Path

    @property
    def weights(self) -> Path:
        """The weights of the best epoch."""
        return self.folder / "model.pt"

    @property
    def masks(self) -> Path:
        """Folder of the masks of the test frames."""
        return self.folder / "masks"

    @property
    def scores(self) -> Path:
        """Folder of the test's report."""
        return self.folder / "scores"

    def train(self, launch: Launch) -> bool:
        """Train, or go on where a training was cut; False if that was done before.

        Raises:
            RunError: the training ended with an error.
        """
        if self.is_trained:
            return False
        files = self.row.configs("train.json", budget=self.budget)
        wanted = self._hash(files)
        marker, started = self.folder / "trained.json", self.folder / "started.json"
        is_cut = _read(started).get("hash") == wanted
        stale = [marker, self.folder / "scored.json"]
        if not is_cut:  # a kill before the first epoch would let the next start go on with other settings' training
            stale += [self.weights, hash_file(self.weights), self.folder / "last.pt", self.folder / "metrics.csv"]
        for path in stale:
            path.unlink(missing_ok=True)
        _write(started, {"hash": wanted})
        begin = time.monotonic()
        self._run(launch, "training", files, {"output_dir": self.folder, "ckpt_path": self.weights, "resume": is_cut})
        seconds = round(time.monotonic() - begin, 1)
        if not self.weights.is_file():
            raise RunError(
                f"{self.row.name}, {self.datalist.protocol}: no epoch was validated, so none was kept; set "
                "val_interval to at most max_epochs."
            )
        _write(marker, {"hash": wanted, "seconds": seconds, "resumed": is_cut, "weights": sha256_of(self.weights)})
        return True

    def score(self, launch: Launch) -> bool:
        """Score the test frames and write their masks; False if that was done before.

        Raises:
            RunError: the evaluation ended with an error.
        """
        if self.is_scored:
            return False
        files = self.row.configs("train.json", "evaluate.json", budget=self.budget)
        wanted = self._hash(files, weights=sha256_of(self.weights))
        places = {"output_dir": self.scores, "masks_dir": self.masks, "ckpt_path": self.weights}
        self._run(launch, "evaluating", files, {**places, "section": "testing", "temperature": TEMPERATURE})
        _write(self.folder / "scored.json", {"hash": wanted})
        return True

    @property
    def is_trained(self) -> bool:
        """Whether the training was brought to its end under these very settings."""
        wanted = self._hash(self.row.configs("train.json", budget=self.budget))
        return _read(self.folder / "trained.json").get("hash") == wanted and self.weights.is_file()

    @property
    def is_scored(self) -> bool:
        """Whether the weights that are there were scored under these very settings, and the masks are still there."""
        if not (self.weights.is_file() and (self.scores / "summary.json").is_file()):
            return False
        if sum(path.is_file() for path in self.masks.rglob("*")) < self.datalist.frames["testing"]:
            return False
        files = self.row.configs("train.json", "evaluate.json", budget=self.budget)
        wanted = self._hash(files, weights=sha256_of(self.weights))
        return _read(self.folder / "scored.json").get("hash") == wanted

    @property
    def training_time(self) -> tuple[float, bool]:
        """Seconds that the training took, and whether that is only its last part, since it had been cut."""
        marker = _read(self.folder / "trained.json")
        return float(marker.get("seconds", 0)), bool(marker.get("resumed"))

    def _settings_of(self, run_id: str) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.settings.items()
            if run_id == "training" or not name.startswith(OF_TRAINING)
        }

    def _hash(self, files: list[Path], **more: str) -> str:
        return settings_hash(files, {**self.settings, "datalist": self.datalist.sha256, **more})

    def _run(self, launch: Launch, run_id: str, files: list[Path], places: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        bundle = bundle_dir()
        values = {
            "bundle_root": bundle,
            "dataset_dir": self.dataset,
            "datalist": self.datalist.path,
            **self._settings_of(run_id),
            **places,
        }
        command = [sys.executable, "-m", "monai.bundle", "run", run_id]
        command += ["--config_file", json.dumps([str(file) for file in files])]
        command += ["--meta_file", str(bundle / "configs" / "metadata.json")]
        command += ["--logging_file", str(bundle / "configs" / "logging.conf")]
        for name, value in values.items():
            command += [f"--{name}", str(value)]
        log = self.folder / f"{run_id}.log"
        if launch(command, log) != 0:
            raise RunError(f"{self.row.name}, {self.datalist.protocol}: {run_id} failed: {reason_of(log)} ({log})")


def launch_logged(command: list[str], log: Path) -> int:
    """Run a command to its end, its output in a file, and return its exit code."""
    with log.open("w", encoding="utf-8") as file:
        return subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, close_fds=False, check=False
        ).returncode


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Lock a folder against a second study. A training inherits the lock, and keeps it where its study was killed.

    Raises:
        BundleError: another one is at work there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as e:
                raise BundleError(
                    f"{folder}: another study, or a training it started, is at work there; wait for its end."
                ) from e
            os.set_inheritable(file.fileno(), True)  # the trainings hold the lock too
        yield


def _read(marker: Path) -> dict[str, Any]:
    try:
        return json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _write(marker: Path, content: Mapping[str, Any]) -> None:
    write_text_whole(marker, json.dumps(content))


def reason_of(log: Path) -> str:
    """Why a command failed: this package's own word, the error at the bottom of the chain, or the last line."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "no log"
    errors = [line for line in lines if _ERROR_LINE.match(line)]  # Python prints the bottom of a chain first
    errors = [line for line in reversed(errors) if line.startswith("pe_monai.errors.")] or errors
    return next((line.strip()[:300] for line in (*errors, *reversed(lines)) if line.strip()), "no output")
