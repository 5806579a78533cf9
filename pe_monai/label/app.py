# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The MONAI Label app: models, datastore, strategies, scoring and training put together."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastapi import HTTPException
from monailabel.interfaces.app import MONAILabelApp

from pe_monai import RESEARCH_USE, __version__
from pe_monai.data.clip_files import is_clip
from pe_monai.data.labelme_writer import outline_regions
from pe_monai.errors import FrameError
from pe_monai.label.choice import Epistemic, First, Random, Uncertainty
from pe_monai.label.clicks import LABEL, read_clicks
from pe_monai.label.datastore import FrameDatastore
from pe_monai.label.labels import ORIGINAL, Labels, check_extension, check_tag, read_label, write_index
from pe_monai.label.models import Models
from pe_monai.label.processes import end_with_server
from pe_monai.label.studies import STATE, Frame, Stamp, Studies, open_file
from pe_monai.label.tasks import AUTOMATIC, INTERACTIVE, Outline
from pe_monai.label.training import Training, read_settings
from pe_monai.measure import measure_frame
from pe_monai.predictor import Prediction


@dataclass(frozen=True)
class Picture:
    """What is to be outlined.

    Attributes:
        pixels: uint8 (H, W) or (H, W, 3).
        spacing: (row, column) pixel size in mm; None if unknown.
        frame: of the datastore; None for an upload.
    """

    pixels: np.ndarray
    spacing: tuple[float, float] | None
    frame: Frame | None = None


class EffusionApp(MONAILabelApp):
    """Outlines, corrects and learns pericardial effusion.

    Options of ``conf``: ``bundle``, ``device``, and ``spacing`` ("ROW,COLUMN" in mm, for files that state none).
    """

    def __init__(self, app_dir: str, studies: str, conf: Mapping[str, str]) -> None:
        end_with_server()
        spacing = tuple(float(number) for number in conf["spacing"].split(",")) if conf.get("spacing") else None
        self.folder = Studies(studies, spacing)
        self.labelled = Labels(self.folder)
        self.models = Models(self.folder.root / STATE / "models", conf.get("bundle"), conf.get("device"))
        if not torch.cuda.is_available():
            torch.set_num_threads(1)  # frames are outlined side by side instead; results are the same to the bit
        super().__init__(
            app_dir,
            studies,
            dict(conf),
            name="pe_monai",
            description=f"Pericardial effusion in echocardiography. {RESEARCH_USE}",
            version=__version__,
            labels={LABEL: 1},
        )

    def init_datastore(self) -> FrameDatastore:
        return FrameDatastore(self.folder, self.labelled)

    def init_infers(self) -> dict[str, Outline]:
        return {AUTOMATIC: Outline(self.models, False), INTERACTIVE: Outline(self.models, True)}

    def init_trainers(self) -> dict[str, Training]:
        return {AUTOMATIC: Training(self.models)}

    def init_strategies(self) -> dict[str, Any]:
        return {"first": First(), "random": Random(), "epistemic": Epistemic(self.models)}

    def init_scoring_methods(self) -> dict[str, Uncertainty]:
        return {"epistemic": Uncertainty(self.models)}

    def check_task(self, kind: str, name: str) -> None:
        """Whether there is such a model or method for a task.

        Args:
            kind: "train", "scoring" or "batch".
            name: of the model or method.

        Raises:
            HTTPException: there is none.
        """
        known = {"train": self._trainers, "scoring": self._scoring_methods, "batch": self._infers}[kind]
        if name not in known:
            raise HTTPException(404, f"no such model or method; there are {', '.join(known)}.")

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        strategy = self._strategies.get(request.get("strategy") or "random")
        if strategy is None:
            raise HTTPException(404, f"no such strategy; there are {', '.join(self._strategies)}.")
        return strategy(request, self._datastore)

    def infer(
        self,
        request: dict[str, Any],
        datastore: Any = None,
        upload: Path | None = None,
        prior: Path | None = None,
    ) -> dict[str, Any]:
        """Outline a frame of the datastore and write the mask as clients expect it.

        Args:
            request: ``model``, ``image`` (an id, never a path), clicks (:func:`read_clicks`), ``result_extension``,
                ``save_label`` with ``label_tag``; ``output`` "json" for polygons among what it tells, as CVAT asks.
            datastore: ignored, the app has one.
            upload: file to outline in place of an image of the datastore.
            prior: file of the mask to correct.

        Returns:
            ``file`` with the mask, 0 and 1, and ``params``.

        Raises:
            FrameError: the frame or a click cannot be used.
            HTTPException: there is no such model or image.
        """
        started = time.perf_counter()
        suffix = check_extension(str(request.get("result_extension") or ".png"))
        picture = self.picture(str(request.get("image", "")), upload)
        affine = self.folder.affine(picture.frame) if picture.frame else np.diag([-1.0, -1.0, 1.0, 1.0])
        mask = None if prior is None else read_label(prior, picture.pixels.shape[:2], affine)
        version, prediction = self.outline(str(request.get("model")), picture, request, mask)
        if request.get("save_label") and picture.frame:
            self.labelled.save(picture.frame, prediction.mask, str(request.get("label_tag") or ORIGINAL))
        file = write_index(prediction.mask, suffix, affine)
        params = {
            "label_names": {LABEL: 1},
            "version": version,
            **self.describe(prediction, picture),
            "seconds": round(time.perf_counter() - started, 4),
        }
        if request.get("output") == "json":
            params["annotations"] = [{"annotation": annotate(prediction.mask)}]
        return {"file": str(file), "label": str(file), "tag": ORIGINAL, "params": params}

    def batch_infer(self, request: dict[str, Any], datastore: Any = None) -> dict[str, Any]:
        """Outline many frames and keep the masks under a tag; one that cannot be used is passed over.

        Args:
            request: ``model``, ``images`` ("all", "labeled", "unlabeled" or ids), ``label_tag`` ("original").
            datastore: ignored, the app has one.

        Returns:
            By id what :meth:`infer` tells, or ``error``.
        """

        def outline(one: dict[str, Any], _: Any) -> dict[str, Any]:
            try:
                result = self.infer(one)
            except FrameError as e:
                return {"error": str(e)}
            except HTTPException as e:  # there is no such image
                return {"error": e.detail}
            shutil.rmtree(Path(result["file"]).parent, ignore_errors=True)
            return {"params": result["params"]}

        # MONAI Label would divide by the number of GPUs, and names its default tag by an enumeration
        tag = str(request.get("label_tag") or ORIGINAL)
        return self._batch_infer({**request, "multi_gpu": False, "label_tag": tag}, self._datastore, outline)

    def picture(self, image_id: str, upload: Path | None = None) -> Picture:
        """A frame of the datastore, or an uploaded one.

        Raises:
            FrameError: it cannot be read, or is a clip.
            HTTPException: there is no such image.
        """
        if upload is None:
            frame = self._datastore.frame(image_id)
            return Picture(self.folder.pixels(frame), self.folder.pixel_size(frame), frame)
        if is_clip(upload):  # not counted: to count the frames of a GIF is to decode them all
            raise FrameError("holds several frames; upload the one to outline.")
        clips = open_file(upload)
        if sum(len(clip) for clip in clips) != 1:
            raise FrameError(f"holds {sum(len(clip) for clip in clips)} frames; upload the one to outline.")
        return Picture(next(clips[0].frames()), clips[0].spacing or self.folder.spacing)

    def _stamp(self, picture: Picture) -> Stamp | None:
        return self.folder.stamp(picture.frame) if picture.frame else None

    def outline(
        self, model: str, picture: Picture, params: Mapping[str, Any], prior: np.ndarray | None = None
    ) -> tuple[str, Prediction]:
        """Outline a picture by one of the models; returns the version's name and what it sees.

        Raises:
            FrameError: the picture or a click cannot be used.
            HTTPException: there is no such model.
            WeightsError: the interactive model is not there.
        """
        if model not in self._infers:
            raise HTTPException(404, f"no such model; there are {', '.join(self._infers)}.")
        if prior is not None and prior.shape != picture.pixels.shape[:2]:
            raise FrameError("the mask to correct has another size than the frame.")
        clicks = read_clicks(params) if model == INTERACTIVE else []
        key = self._stamp(picture)
        if clicks or (model == INTERACTIVE and prior is not None):
            return self.models.version.name, self.models.correct(picture.pixels, clicks, prior, key)
        return self.models.outline(picture.pixels, key)

    def describe(self, prediction: Prediction, picture: Picture) -> dict[str, Any]:
        """Score, uncertainty and measurement of an outline, for JSON."""
        return {
            "score": round(prediction.score, 4),
            "uncertainty": round(prediction.uncertainty, 4),
            "measurement": self.measure(prediction.mask, picture, prediction),
            "notice": RESEARCH_USE,
        }

    def measure(self, mask: np.ndarray, picture: Picture, prediction: Prediction | None = None) -> dict[str, Any]:
        """Thickness and area of a mask of a picture; in mm and cm² where the pixel size is known.

        Args:
            mask: (H, W), non-zero inside.
            picture: what it belongs to.
            prediction: where the mask comes from; None for one that was drawn, whose sector is looked up.

        Raises:
            ValueError: the mask has another size.
        """
        if prediction is not None:
            found = measure_frame(mask, prediction.sector, picture.spacing, prediction.probability, picture.pixels)
        else:
            try:
                sector = self.models.outline(picture.pixels, self._stamp(picture))[1].sector
            except FrameError:
                sector = None
            found = measure_frame(mask, sector, picture.spacing)
        return found.as_dict()


def check_asked(kind: str, asked: Mapping[str, Any]) -> None:
    """Whether a task can be done as asked. MONAI Label takes any word but two for "all", also a misspelt "unlabeled".

    Args:
        kind: "train", "scoring" or "batch".
        asked: of :meth:`EffusionApp.batch_infer`, say.

    Raises:
        FrameError: it cannot.
    """
    if kind == "train":
        read_settings(asked)
    for name in ("max_batch_size", "max_workers", "max_samples"):
        number = asked.get(name, 0)
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise FrameError(f"{name}: give a whole number, 0 for no limit.")
    if kind == "batch":
        images = asked.get("images", "all")
        is_list = isinstance(images, list) and all(isinstance(image_id, str) for image_id in images)
        if not is_list and images not in ("all", "labeled", "unlabeled"):
            raise FrameError("images: give all, labeled, unlabeled or a list of ids.")
        check_tag(str(asked.get("label_tag") or ORIGINAL))
        check_extension(str(asked.get("result_extension") or ".png"))


def annotate(mask: np.ndarray) -> dict[str, Any]:
    """A mask, (H, W) bool, as polygons of x and y, in the words of MONAI Label's own apps."""
    contours = [outline.astype(int).tolist() for outline in outline_regions(mask)]
    elements = [{"label": LABEL, "contours": contours}] if contours else []
    return {"location": [0, 0], "size": [mask.shape[1], mask.shape[0]], "elements": elements}
