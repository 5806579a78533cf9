# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Learning from the saved labels: the bundle's own training, and a judgement before its result is used."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.train import TrainTask

from pe_monai.data import write_picture
from pe_monai.errors import DatasetError, FrameError, find_user_error
from pe_monai.label.datastore import FrameDatastore
from pe_monai.label.groups import group_of, split_groups
from pe_monai.label.models import Models
from pe_monai.label.studies import STATE
from pe_monai.measure import dice
from pe_monai.predictor import Predictor
from pe_monai.scratch import scratch_root

MAX_EPOCHS, LEARNING_RATE, BATCH_SIZE = 10, 2e-4, 16
MOST_EPOCHS = 500
NICENESS = 10


@dataclass(frozen=True)
class Sample:
    """A frame with its label.

    Attributes:
        pixels: the frame, uint8 (H, W) or (H, W, 3).
        mask: the label, (H, W) bool.
        files: what the bundle's training reads, by "image" and "label".
    """

    pixels: np.ndarray
    mask: np.ndarray
    files: dict[str, str]


def read_settings(request: Mapping[str, Any]) -> tuple[int, float]:
    """Epochs, from 1 to 500, and learning rate that a request for a training asks for.

    Raises:
        FrameError: one of them is no such number.
    """
    epochs, rate = request.get("max_epochs", MAX_EPOCHS), request.get("learning_rate", LEARNING_RATE)
    if isinstance(epochs, bool) or not isinstance(epochs, int) or not 1 <= epochs <= MOST_EPOCHS:
        raise FrameError(f"max_epochs: give a whole number from 1 to {MOST_EPOCHS}.")
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate <= 1:
        raise FrameError("learning_rate: give a number above 0, at most 1.")
    return epochs, float(rate)


class Training(TrainTask):
    """Train the version in use further on the labels, by ``train.json`` of its bundle; run in a process.

    The result is kept and used only if its outlines of the validation frames are better, as the server would draw them.
    Frames of one clip are never on both sides (:mod:`pe_monai.label.groups`).

    Args:
        models: what is trained further.
    """

    def __init__(self, models: Models) -> None:
        super().__init__("Learn from the saved labels; the new model is used only if it is better")
        self.models = models

    def config(self) -> dict[str, Any]:
        return {"max_epochs": MAX_EPOCHS, "learning_rate": LEARNING_RATE}

    def stats(self) -> dict[str, Any]:
        version = self.models.version
        return {"version": version.name, **version.info}

    def __call__(self, request: dict[str, Any], datastore: FrameDatastore) -> dict[str, Any]:
        os.nice(NICENESS)  # who outlines frames meanwhile goes first
        runs = datastore.studies.root / STATE / "training"
        shutil.rmtree(runs, ignore_errors=True)  # of a training that was killed
        if "#" in str(runs):  # which MONAI's configs take for a separator
            runs = Path(tempfile.mkdtemp(prefix="training-", dir=scratch_root()))
        try:
            return self._train(request, datastore, runs)
        except Exception as e:
            known = find_user_error(e)
            if known is None or known is e:
                raise
            raise DatasetError(str(known)) from e  # MONAI's own message says less, and comes last
        finally:
            shutil.rmtree(runs, ignore_errors=True)

    def _train(self, request: dict[str, Any], datastore: FrameDatastore, run: Path) -> dict[str, Any]:
        name, before = self.models.predictor()
        training, validation = split_groups(self._samples(datastore, run / "data", before))
        if not training:
            raise DatasetError("fewer than two usable labels; label frames of at least two clips, then train.")
        print(f"{len(training)} frames to learn from, {len(validation)} to judge by", flush=True)
        epochs, learning_rate = read_settings(request)
        weights = run / "model.pt"
        start = shutil.copyfile(before.weights_path, run / "start.pt")
        run_bundle(
            self.models.bundle,
            bundle_root=str(self.models.bundle),
            output_dir=str(run),
            ckpt_path=str(weights),
            initial_weights=str(start),
            max_epochs=epochs,
            patience=epochs,
            learning_rate=learning_rate,
            batch_size=min(BATCH_SIZE, len(training)),
            cache_workers=1,
            **{
                "device": f"$torch.device('{before.device}')",
                "train#dataset#data": [sample.files for sample in training],
                "validate#dataset#data": [sample.files for sample in validation],
            },
        )
        old = mean_dice(before, validation)
        new = mean_dice(
            Predictor(self.models.bundle, str(before.device), overrides={"ckpt_path": str(weights)}), validation
        )
        result = {
            "old_dice": round(old, 4),
            "new_dice": round(new, 4),
            "frames": len(training),
            "judged": len(validation),
        }
        if new > old:
            name = self.models.add(weights, {**result, "before": name}).name
        return {**result, "version": name, "replaced": new > old}

    def _samples(self, datastore: FrameDatastore, folder: Path, predictor: Predictor) -> list[tuple[str, Sample]]:
        samples = []
        for number, image_id in enumerate(datastore.get_labeled_images()):
            frame = datastore.frame(image_id)
            try:
                pixels, mask = datastore.studies.pixels(frame), datastore.labels.read(frame)
                predictor.predict([pixels])  # a frame without a sector would end the training
            except FrameError as e:
                print(f"{image_id}: left out ({e})", flush=True)
                continue
            if mask is None:
                continue
            files = {
                "image": str(write_picture(pixels, folder / f"{number}-image.png")),
                "label": str(write_picture(mask.astype(np.uint8) * 255, folder / f"{number}-label.png")),
            }
            samples.append((group_of(frame), Sample(pixels, mask, files)))
        return samples


def run_bundle(bundle: Path, **overrides: Any) -> None:
    """Run ``training`` of a bundle's ``train.json``, as ``python -m monai.bundle run`` does."""
    from monai.bundle import run

    run(
        run_id="training",
        config_file=str(bundle / "configs" / "train.json"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=str(bundle / "configs" / "logging.conf"),
        **overrides,
    )


def mean_dice(predictor: Predictor, samples: Sequence[Sample]) -> float:
    """Mean Dice of the outlines of frames; 1 where both outline and label are empty."""
    return float(np.mean([dice(predictor.predict([sample.pixels])[0].mask, sample.mask) for sample in samples]))
