# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""An outline, corrected click by click."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor
from scipy.ndimage import distance_transform_edt
from skimage.draw import disk
from skimage.measure import label

from pe_monai.errors import BundleError, FrameError
from pe_monai.kept import drop_oldest
from pe_monai.measure import frame_score, frame_uncertainty
from pe_monai.paths import bundle_dir, configs_dir
from pe_monai.predictor import Prediction, Predictor
from pe_monai.transforms import FrameSectord, put_click
from pe_monai.transforms.framing import sector_box

SETTINGS = ("network_def", "spatial_size", "threshold")
REACH = 4.0  # pixels of the network's input
OWN = 0.75  # likewise
FILL = 4.5  # likewise
DOUBT = 0.25


class Click(NamedTuple):
    """A click in pixels of the frame; (0, 0) is the middle of the pixel in the corner above left.

    Attributes:
        row: from the top.
        column: from the left.
        positive: whether it is inside the effusion.
    """

    row: float
    column: float
    positive: bool


class InteractivePredictor:
    """The interactive network, loaded once: takes an outline and clicks on what is wrong with it.

    Clicks are answered one after the other, each on top of what the ones before it made. A click inside the effusion
    adds the region that it touches, one outside takes it away, up to half way to an earlier click that says otherwise;
    nothing else changes. A click is taken to be in the middle of what is wrong: the outline moves by at most twice the
    distance between the click and the outline, and where that is short, as far around the click as the outline is away,
    unless the network is sure of the contrary. A pixel clicked as effusion is in the mask, one clicked as none is not,
    and of two that contradict each other the later one counts. Answers are kept, so that one more click costs one run
    of the network.

    Args:
        bundle: folder of the bundle whose preparation of frames it shares and in which its
            ``models/interactive/model.pt`` lies; the one that ships by default.
        device: such as "cpu"; the bundle's choice by default.
        weights: other weights than the bundle's.

    Raises:
        BundleError: the overlay or the bundle cannot be used.
        WeightsError: the weights are missing or damaged.
    """

    def __init__(
        self,
        bundle: str | Path | None = None,
        device: str | None = None,
        weights: str | Path | None = None,
    ) -> None:
        folder = Path(bundle) if bundle is not None else bundle_dir()
        overlay = configs_dir() / "interactive.json"
        try:
            settings = json.loads(overlay.read_text(encoding="utf-8"))
            overrides: dict[str, Any] = {name: settings[name] for name in SETTINGS}
        except (OSError, ValueError, KeyError) as e:
            raise BundleError(f"{overlay}: the interactive network's settings cannot be read ({e!r}).") from e
        overrides["ckpt_path"] = str(weights or folder / "models" / "interactive" / "model.pt")
        self._predictor = Predictor(folder, device, overrides=overrides)
        self._bundle, self._device = folder, device
        self._automatic: Predictor | None = None
        self._known: OrderedDict[tuple, Any] = OrderedDict()
        self._lock = threading.Lock()
        frames = [t for t in self._predictor.preprocessing.transforms if isinstance(t, FrameSectord)]
        if len(frames) != 1:
            raise BundleError(f"{folder}: its preprocessing must have one FrameSectord, it has {len(frames)}.")
        self._frame = frames[0].frame
        self._threshold = float(overrides["threshold"])

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights in use."""
        return self._predictor.weights_sha256

    def predict(self, frame: np.ndarray, clicks: Sequence[Click], prior: np.ndarray | None = None) -> Prediction:
        """Correct an outline.

        Args:
            frame: uint8 (H, W), (H, W, 1) or (H, W, 3) RGB, row first, as displayed.
            clicks: in the order in which they were set.
            prior: outline to correct, (H, W), non-zero inside; None to begin with the automatic one of the bundle.

        Raises:
            FrameError: the frame shows no sector, the prior has another size, or a click lies outside the frame or, as
                one on effusion, outside the sector.
        """
        frame = np.asarray(frame)
        digest = hashlib.sha256(np.ascontiguousarray(frame)).hexdigest() + str(frame.shape)
        item = self._keep(("frame", digest), lambda: self._prepare(frame))
        sector = item["sector"][0].numpy() > 0
        if prior is None:
            prior = self._keep(("prior", digest), lambda: self._outline(frame))
        mask = np.asarray(prior) > 0
        if mask.shape != sector.shape:
            raise FrameError(
                f"the mask to correct is {_size(mask)} pixels, the frame {_size(sector)}; give one of its size."
            )
        for number, click in enumerate(clicks, start=1):
            _check(click, number, sector)
        begun = ("mask", digest, hashlib.sha256(np.packbits(mask)).hexdigest())
        done, mask, probability = self._resume(begun, clicks, mask)
        grey = item["image"].as_tensor()
        inputs = self._mark(item, torch.cat([grey, grey.new_zeros(3, *grey.shape[1:])]), clicks[:done])
        for count in range(done + 1, len(clicks) + 1):
            key = (*begun, tuple(clicks[:count]))
            inputs = self._mark(item, inputs, clicks[count - 1 : count])
            mask, probability = self._keep(key, lambda: self._correct(item, inputs, mask, clicks[:count]))  # noqa: B023
        if probability is None:
            probability = self._run(item, inputs, mask)
        plane = np.asarray(item["frame"]).swapaxes(0, 1)
        return Prediction(
            mask=mask.copy(),
            probability=probability,
            sector=sector,
            frame=np.ascontiguousarray(plane),
            score=frame_score(probability, sector),
            uncertainty=frame_uncertainty(probability, mask, sector),
            meta={},
        )

    def _prepare(self, frame: np.ndarray) -> dict:
        item = self._predictor._take(frame, 1)
        if isinstance(item, FrameError):
            raise FrameError(str(item).removeprefix("frame 1: "))
        return item

    def _outline(self, frame: np.ndarray) -> np.ndarray:
        if self._automatic is None:
            self._automatic = Predictor(self._bundle, self._device)
        return self._automatic.predict([frame])[0].mask

    def _correct(
        self, item: dict, inputs: torch.Tensor, mask: np.ndarray, clicks: Sequence[Click]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The mask after the last of the clicks, and the probabilities that it comes from; both (H, W)."""
        probability = self._run(item, inputs, mask)
        sector = item["sector"][0].numpy() > 0
        scale = self._box(item)[2] / self._predictor.settings["spatial_size"][0]
        corrected = mask ^ self._change(mask, clicks, probability, sector, scale)
        for click in clicks:
            row, column = round(click.row), round(click.column)
            if corrected[row, column] != click.positive:
                corrected[_disk(click, OWN * scale, mask.shape)] = click.positive
        return corrected & sector, probability

    def _change(
        self, mask: np.ndarray, clicks: Sequence[Click], probability: np.ndarray, sector: np.ndarray, scale: float
    ) -> np.ndarray:
        """What the last click changes, (H, W) bool; ``scale`` is pixels of the frame a pixel of the network's input."""
        *earlier, click = clicks
        # a click inside only adds and one outside only removes, as who set it expects
        free = sector & ~mask if click.positive else mask
        distance = _from_outline(click, mask, sector)
        away = distance[round(click.row), round(click.column)]
        answer = (probability > self._threshold) == click.positive
        regions = label(free & answer & (distance <= 2 * away), connectivity=2)
        near = np.unique(regions[_disk(click, REACH * scale, mask.shape)])
        change = np.isin(regions, near[near > 0])
        around = _distance(click, mask.shape)
        if away <= FILL * scale:
            open_to = probability > DOUBT if click.positive else probability < 1 - DOUBT
            change |= free & open_to & (around < away)
        rows, columns = np.nonzero(change)
        for other in earlier:
            if other.positive != click.positive:  # what lies nearer to what was said before keeps, too
                apart = np.hypot(rows - other.row, columns - other.column)
                change[rows, columns] &= around[rows, columns] < apart
        return change

    def _mark(self, item: dict, inputs: torch.Tensor, clicks: Sequence[Click]) -> torch.Tensor:
        """The network's input with further clicks, (4, H, W)."""
        top, left, height, width = self._box(item)
        rows, columns = inputs.shape[1:]
        for click in clicks:
            row = (click.row + 0.5 - top) / height * rows - 0.5
            column = (click.column + 0.5 - left) / width * columns - 0.5
            inputs = put_click(inputs, inputs[3].numpy() > 0.5, (row, column, click.positive))
        return inputs

    def _run(self, item: dict, inputs: torch.Tensor, mask: np.ndarray) -> np.ndarray:
        """Probabilities, (H, W) float32, of a mask and the clicks in the network's input."""
        framed = self._frame(torch.from_numpy(mask[None].astype(np.float32)), item["sector"], "bilinear")
        inputs = put_click(inputs, framed[0].numpy() > 0.5, None)
        logits = self._predictor._infer([{"image": MetaTensor(inputs)}])[0]
        done = self._predictor._postprocess(dict(item), logits)
        return done.probability

    def _box(self, item: dict) -> tuple[int, int, int, int]:
        return sector_box(item["sector"], self._frame.spatial_size, self._frame.margin)

    def _resume(self, key: tuple, clicks: Sequence[Click], mask: np.ndarray) -> tuple[int, np.ndarray, Any]:
        """How many of the clicks are answered already, and the last answer; the mask itself and None without one.

        Looking for the first answers first would push the last ones out where there are more clicks than are kept.
        """
        with self._lock:
            for count in range(len(clicks), 0, -1):
                known = (*key, tuple(clicks[:count]))
                if known in self._known:
                    self._known.move_to_end(known)
                    return count, *self._known[known]
        return 0, mask, None

    def _keep(self, key: tuple, make: Any) -> Any:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        value = make()
        with self._lock:
            self._known[key] = value
            drop_oldest(self._known, _bytes)
        return value


def _bytes(kept: Any) -> int:
    """Of a prepared frame, a mask, or a mask with its probabilities."""
    parts = kept.values() if isinstance(kept, dict) else kept if isinstance(kept, tuple) else (kept,)
    return sum(part.nbytes for part in parts)


def _disk(click: Click, radius: float, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    return disk((click.row, click.column), max(radius, 1.0), shape=shape)


def _from_outline(click: Click, mask: np.ndarray, sector: np.ndarray) -> np.ndarray:
    """How far each pixel that a click may change is from what the click agrees with, (H, W); inf where that is none."""
    agreed = mask if click.positive else sector & ~mask
    if not agreed.any():
        return np.full(mask.shape, np.inf)
    return distance_transform_edt(~agreed)


def _distance(click: Click, shape: tuple[int, ...]) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(rows - click.row, columns - click.column)


def _check(click: Click, number: int, sector: np.ndarray) -> None:
    height, width = sector.shape
    row, column = round(click.row), round(click.column)
    where = f"click {number} at x {click.column:g}, y {click.row:g}"
    if not (0 <= row < height and 0 <= column < width):
        swapped = 0 <= column < height and 0 <= row < width
        hint = "; it would fit with x and y swapped, x is the column" if swapped else ""
        raise FrameError(f"{where} lies outside the frame of {width} x {height} pixels{hint}.")
    if click.positive and not sector[row, column]:
        raise FrameError(f"{where} lies outside the ultrasound sector, where there is no effusion; click inside it.")


def _size(plane: np.ndarray) -> str:
    return " x ".join(str(length) for length in plane.shape[::-1])
