# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Which frame to label next: the first, a random one, or the one whose outline is likely to be most wrong."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterable
from typing import Any

from fastapi import HTTPException
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy

from pe_monai.errors import FrameError
from pe_monai.label.datastore import FrameDatastore
from pe_monai.label.groups import group_of
from pe_monai.label.models import Models
from pe_monai.predictor import Prediction

SAMPLE = 12
SAVE_EVERY_S = 10.0


class First(Strategy):
    """The first frame without a label."""

    def __init__(self) -> None:
        super().__init__("The first frame without a label")

    def __call__(self, request: dict[str, Any], datastore: FrameDatastore) -> dict[str, Any]:
        return first_usable(datastore.get_unlabeled_images(), datastore)


class Random(Strategy):
    """A random frame without a label. Frames of a clip that has a label come last: they resemble it."""

    def __init__(self) -> None:
        super().__init__("A random frame without a label")

    def __call__(self, request: dict[str, Any], datastore: FrameDatastore) -> dict[str, Any]:
        waiting = datastore.get_unlabeled_images()
        random.shuffle(waiting)
        frames, done = datastore.studies.frames, labelled_groups(datastore)
        waiting = [image_id for image_id in waiting if image_id in frames]  # it may have been listed anew meanwhile
        waiting.sort(key=lambda image_id: group_of(frames[image_id]) in done)
        return first_usable(waiting, datastore)


class Epistemic(Strategy):
    """The frame whose outline is likely to be most wrong, by the expected error that the probabilities tell
    (:func:`pe_monai.measure.frame_uncertainty`). Frames of a clip that has a label come last: they resemble it.

    Frames are judged by the scoring task; of those it has not seen yet, a few are judged when asked.

    Args:
        models: what outlines them.
    """

    def __init__(self, models: Models) -> None:
        super().__init__("The frame whose outline is likely to be most wrong")
        self.models = models

    def __call__(self, request: dict[str, Any], datastore: FrameDatastore) -> dict[str, Any]:
        waiting = datastore.get_unlabeled_images()
        version = self.models.version.name
        scores = {k: v for k, v in datastore.read_scores().items() if v.get("version") == version}
        unseen = [image_id for image_id in waiting if image_id not in scores]
        fresh = judge(random.sample(unseen, min(SAMPLE, len(unseen))), datastore, self.models)
        if fresh:
            scores.update(fresh)
            datastore.write_scores(scores)
        frames = datastore.studies.frames
        done = labelled_groups(datastore)
        ranked = [
            (group_of(frames[image_id]) not in done, scores[image_id]["uncertainty"], image_id)
            for image_id in waiting
            if image_id in frames  # the folder may have been listed anew meanwhile
            and scores.get(image_id, {}).get("uncertainty") is not None
        ]
        if not ranked:
            return first_usable(waiting, datastore)
        _, uncertainty, image_id = max(ranked)
        return {"id": image_id, "weight": uncertainty}


class Uncertainty(ScoringMethod):
    """Judge every frame without a label, for :class:`Epistemic`.

    Args:
        models: what outlines them.
    """

    def __init__(self, models: Models) -> None:
        super().__init__("The error to be expected of the outline of each frame without a label")
        self.models = models

    def __call__(self, request: dict[str, Any], datastore: FrameDatastore) -> dict[str, Any]:
        version = self.models.version.name
        scores = {k: v for k, v in datastore.read_scores().items() if v.get("version") == version}
        waiting = [image_id for image_id in datastore.get_unlabeled_images() if image_id not in scores]
        most = int(request.get("max_samples", 0)) or len(waiting)

        def keep(found: dict[str, dict[str, Any]]) -> None:
            scores.update(found)
            datastore.write_scores(scores)

        keep(judge(waiting[:most], datastore, self.models, keep))
        return {"frames": min(most, len(waiting))}


def labelled_groups(datastore: FrameDatastore) -> set[str]:
    """The clips of which a frame has a label."""
    frames = datastore.studies.frames
    return {group_of(frames[image_id]) for image_id in datastore.get_labeled_images() if image_id in frames}


def first_usable(image_ids: Iterable[str], datastore: FrameDatastore) -> dict[str, Any]:
    """The first frame that can be read, as strategies return it; a damaged one would be offered again and again."""
    for image_id in image_ids:
        with contextlib.suppress(FrameError, HTTPException):  # or it is no longer listed
            datastore.studies.pixels(datastore.frame(image_id))
            return {"id": image_id}
    return {}


def judge(
    image_ids: Iterable[str],
    datastore: FrameDatastore,
    models: Models,
    keep: Callable[[dict[str, dict[str, Any]]], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Uncertainty, score and version of the model for each frame; an unusable one has the uncertainty None.

    Args:
        image_ids: of the frames.
        datastore: where they are.
        models: what outlines them.
        keep: called from time to time with what is found so far.
    """
    found: dict[str, dict[str, Any]] = {}
    saved = time.monotonic()
    for image_id in image_ids:
        try:
            version, prediction = models.outline(datastore.studies.pixels(datastore.frame(image_id)))
            found[image_id] = {"version": version, **_round(prediction)}
        except HTTPException:  # it is no longer listed
            continue
        except FrameError:
            found[image_id] = {"version": models.version.name, "uncertainty": None, "score": None}
        if keep is not None and time.monotonic() - saved > SAVE_EVERY_S:
            keep(found)
            saved = time.monotonic()
    return found


def _round(prediction: Prediction) -> dict[str, float]:
    return {"uncertainty": round(prediction.uncertainty, 4), "score": round(prediction.score, 4)}
