# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The one way to run a bundle on frames: the command line, MONAI Label and MONAI Deploy call it."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose, LoadImaged

from pe_monai.data import FrameReader
from pe_monai.errors import BundleError, DeviceError, FrameError, find_frame_error
from pe_monai.measure import frame_score, frame_uncertainty
from pe_monai.paths import bundle_dir
from pe_monai.transforms import SectorNotFoundError
from pe_monai.weights import load_weights

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """What a bundle sees in one frame. All arrays have the frame's size, row first, as displayed.

    Attributes:
        mask: effusion, (H, W) bool.
        probability: of effusion, (H, W) float32 in [0, 1], 0 outside the sector's box.
        sector: the ultrasound sector, (H, W) bool.
        frame: the frame that was read, (H, W, 1 or 3) uint8.
        score: how surely the frame shows effusion, in [0, 1]; see :func:`pe_monai.measure.frame_score`.
        uncertainty: error to be expected of the mask, in [0, 1]; see :func:`pe_monai.measure.frame_uncertainty`.
        meta: metadata of the frame's file (affine), empty for a frame from memory.
    """

    mask: np.ndarray
    probability: np.ndarray
    sector: np.ndarray
    frame: np.ndarray
    score: float
    uncertainty: float
    meta: Mapping[str, Any]

    @property
    def effusion_share(self) -> float:
        """Effusion as a share of the sector's area."""
        return float(self.mask.sum() / max(self.sector.sum(), 1))


class Predictor:
    """A bundle, loaded once and kept warm, that segments frames from memory or from files.

    Preprocessing, network, inferer and postprocessing are those of the bundle's ``configs/inference.json``.

    Args:
        bundle: folder of the bundle; the one that ships by default. MONAI executes what a bundle's configs say, so use
            only bundles from a source you trust.
        device: such as "cpu" or "cuda:0"; the bundle's choice by default (CUDA where there is one).
        batch_size: frames that go through the network together.
        overrides: values for ids that the config has, such as ``{"threshold": 0.4}``.

    Raises:
        BundleError: the folder is no bundle, or its config cannot be used.
        DeviceError: there is no such device.
        ValueError: ``batch_size`` is below 1.
        WeightsError: its weights are missing, damaged or of another network.
    """

    def __init__(
        self,
        bundle: str | Path | None = None,
        device: str | None = None,
        batch_size: int = 8,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}.")
        self.bundle = Path(bundle) if bundle is not None else bundle_dir()
        self.batch_size = batch_size
        config = self.bundle / "configs" / "inference.json"
        if not config.is_file():
            raise BundleError(f"{self.bundle}: no configs/inference.json in it; name the folder of a MONAI bundle.")
        logging.getLogger("monai.bundle.config_parser").setLevel(logging.ERROR)
        try:
            parser = ConfigParser()
            parser.read_config(str(config))
            unknown = [name for name in overrides or {} if name not in parser]
            if unknown:
                raise BundleError(f"it has no id {unknown[0]!r} to override")
            parser.update({"bundle_root": str(self.bundle), **(overrides or {})})
            if device is not None:
                parser["device"] = f"$torch.device('{_usable_device(device)}')"
            self.device = parser.get_parsed_content("device")
            self.network = parser.get_parsed_content("network")
            self.preprocessing: Compose = parser.get_parsed_content("preprocessing")
            self.postprocessing: Compose = parser.get_parsed_content("postprocessing")
            self.inferer = parser.get_parsed_content("inferer")
            weights = parser.get_parsed_content("ckpt_path")
            self.settings = {
                name: parser.get_parsed_content(name)
                for name in ("threshold", "min_share", "spatial_size", "flip")
                if name in parser
            }
        except DeviceError:
            raise
        except Exception as e:
            reason = " ".join(str(e.__cause__ or e).split())[:300]
            raise BundleError(f"{config}: this config cannot be used ({reason}).") from e
        if not isinstance(self.preprocessing.transforms[0], LoadImaged):
            raise BundleError(f"{config}: its preprocessing must begin with LoadImaged.")
        self.weights_path = Path(weights)
        self.weights_sha256 = load_weights(self.network, weights)
        self.network.eval()

    def predict(self, frames: Sequence[np.ndarray]) -> list[Prediction]:
        """Segment frames in memory.

        Args:
            frames: each uint8, (H, W), (H, W, 1) or (H, W, 3) RGB, row first, as displayed.

        Raises:
            FrameError: one of them is no such array, or shows no sector; the message gives its place in the list.
        """
        items = []
        for place, frame in enumerate(frames):
            try:
                items.append(self._prepare(_x_first(frame)))
            except (FrameError, SectorNotFoundError) as e:
                raise FrameError(f"frame {place}: {e}") from e
        return [
            prediction
            for start in range(0, len(items), self.batch_size)
            for prediction in self._segment(items[start : start + self.batch_size])
        ]

    def predict_files(self, paths: Iterable[str | Path]) -> Iterator[tuple[Path, Prediction | FrameError]]:
        """Segment files, a batch at a time and in their order; one that cannot be used yields its error instead."""
        loaded, names = itertools.tee(map(Path, paths))
        yield from zip(names, self._predict_all(map(self._load, loaded)), strict=True)

    def predict_clip(self, frames: Iterable[np.ndarray | FrameError]) -> Iterator[Prediction | FrameError]:
        """Segment the frames of a clip, a batch at a time and in their order; no more than a batch is held in memory.

        Args:
            frames: each uint8, (H, W), (H, W, 1) or (H, W, 3) RGB, row first, as displayed; an error in the place of a
                frame passes.

        Yields:
            For each frame what the bundle sees in it, or why it could not be used; that names its number, from 1.
        """
        yield from self._predict_all(self._take(frame, number) for number, frame in enumerate(frames, start=1))

    def _take(self, frame: np.ndarray | FrameError, number: int) -> dict | FrameError:
        if isinstance(frame, FrameError):
            return frame
        try:
            return self._prepare(_x_first(frame))
        except (FrameError, SectorNotFoundError) as e:
            return FrameError(f"frame {number}: {e}")

    def _predict_all(self, items: Iterable[dict | FrameError]) -> Iterator[Prediction | FrameError]:
        """Predictions of prepared frames in their order, errors in between, a batch of frames at a time."""
        batch: list[dict | FrameError] = []
        for item in items:
            if not batch and isinstance(item, FrameError):
                yield item
                continue
            batch.append(item)
            if sum(isinstance(one, dict) for one in batch) == self.batch_size:
                yield from self._finish(batch)
                batch = []
        yield from self._finish(batch)

    def _load(self, path: Path) -> dict | FrameError:
        try:
            loaded = self.preprocessing({"image": str(path)}, end=1)["image"]
            return self._prepare(loaded)
        except Exception as e:  # one bad file must not end the batch, whatever is wrong with it
            error = find_frame_error(e)
            if error is not None:
                return error
            cause = e.__cause__ if isinstance(e, RuntimeError) and e.__cause__ is not None else e
            reason = " ".join(str(cause).split())
            return FrameError(reason if reason.startswith(f"{path}: ") else f"{path}: {reason}")

    def _prepare(self, loaded: MetaTensor) -> dict:
        cause = None
        try:
            return {**self.preprocessing({"image": loaded}, start=1), "frame": loaded}
        except RuntimeError as e:
            if not isinstance(e.__cause__, SectorNotFoundError):
                raise
            cause = e.__cause__
        # raised in the except clause it would get its own wrapper for its context, a circle without end
        raise cause

    def _finish(self, batch: list[dict | FrameError]) -> Iterator[Prediction | FrameError]:
        predictions = iter(self._segment([item for item in batch if isinstance(item, dict)]))
        for item in batch:
            yield next(predictions) if isinstance(item, dict) else item

    def _segment(self, items: list[dict]) -> list[Prediction]:
        if not items:
            return []
        images = torch.stack([item["image"].as_tensor() for item in items]).to(self.device)
        amp = torch.autocast("cuda") if self.device.type == "cuda" else contextlib.nullcontext()
        with torch.inference_mode(), amp:
            logits = self.inferer(images, self.network).cpu()
        predictions = []
        for item, pred in zip(items, logits, strict=True):
            frame = item.pop("frame")
            out = self.postprocessing({**item, "pred": pred.clone()})
            probability, sector = (_row_first(out[key][0]) for key in ("probability", "sector"))
            mask = _row_first(out["pred"]) > 0
            predictions.append(
                Prediction(
                    mask=mask,
                    probability=probability.astype(np.float32),
                    sector=sector > 0,
                    frame=np.ascontiguousarray(frame.numpy().swapaxes(0, 1)),
                    score=frame_score(probability, sector),
                    uncertainty=frame_uncertainty(probability, mask, sector),
                    meta=dict(frame.meta),
                )
            )
        return predictions


def _usable_device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=torch.device(name)).device
    except (RuntimeError, AssertionError) as e:  # a torch without CUDA asserts
        reason = str(e).splitlines()[0][:120]
        raise DeviceError(f"device {name!r} cannot be used here ({reason}); give cpu, or cuda:0 on a GPU.") from e


def _x_first(frame: np.ndarray) -> MetaTensor:
    frame = np.asarray(frame)
    if frame.ndim == 2:
        frame = frame[..., None]
    if frame.ndim != 3 or frame.shape[2] not in (1, 3) or frame.dtype != np.uint8:
        raise FrameError(
            f"a frame is uint8 of shape (H, W), (H, W, 1) or (H, W, 3), got {frame.dtype} of shape {frame.shape}."
        )
    least = FrameReader().min_side
    if min(frame.shape[:2]) < least:
        raise FrameError(f"is {frame.shape[1]} x {frame.shape[0]} pixels; give at least {least} on each side.")
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(frame.swapaxes(0, 1))), meta={"original_channel_dim": -1})


def _row_first(plane: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(torch.as_tensor(plane).cpu().numpy().T)
