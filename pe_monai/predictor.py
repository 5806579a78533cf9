# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The one way to run a bundle on frames: the command line, MONAI Label and MONAI Deploy call it."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose, LoadImaged

from pe_monai.data import FrameReader, phantom_frame
from pe_monai.devices import usable_device
from pe_monai.errors import BundleError, DeviceError, ExportError, FrameError, find_frame_error, one_line
from pe_monai.measure import frame_score, frame_uncertainty
from pe_monai.paths import bundle_dir
from pe_monai.runtimes import RUNTIMES, Session, open_export, start_session
from pe_monai.transforms.framing import plain_tensor
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
        batch_size: frames held in memory; while the network works on half of them, the others are read and prepared.
        overrides: values for ids that the config has, such as ``{"threshold": 0.4}``.
        runtime: what computes the network: "torch"; "openvino" or "onnx", for which it is converted in memory; "auto",
            which is OpenVINO on a CPU where it is installed; or a folder that ``pe_monai export`` wrote.

    Raises:
        BundleError: the folder is no bundle, or its config cannot be used.
        DeviceError: there is no such device.
        ExportError: the runtime is unknown or not installed, or the exported network is not that of these weights.
        ValueError: ``batch_size`` is below 1.
        WeightsError: its weights are missing, damaged or of another network.
    """

    def __init__(
        self,
        bundle: str | Path | None = None,
        device: str | None = None,
        batch_size: int = 8,
        overrides: Mapping[str, Any] | None = None,
        runtime: str | Path = "torch",
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}.")
        self.bundle = Path(bundle) if bundle is not None else bundle_dir()
        self.batch_size = batch_size
        self._config = config = self.bundle / "configs" / "inference.json"
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
                parser["device"] = f"$torch.device('{usable_device(device)}')"
            self.device = parser.get_parsed_content("device")
            self.network = parser.get_parsed_content("network")
            self.preprocessing: Compose = parser.get_parsed_content("preprocessing")
            self.postprocessing: Compose = parser.get_parsed_content("postprocessing")
            self.inferer = parser.get_parsed_content("inferer")
            weights = parser.get_parsed_content("ckpt_path")
            self.settings = {
                name: parser.get_parsed_content(name)
                for name in ("threshold", "min_share", "min_score", "temperature", "spatial_size", "flip")
                if name in parser
            }
        except DeviceError:
            raise
        except Exception as e:
            raise BundleError(f"{config}: this config cannot be used ({one_line(e.__cause__ or e, 300)}).") from e
        if not isinstance(self.preprocessing.transforms[0], LoadImaged):
            raise BundleError(f"{config}: its preprocessing must begin with LoadImaged.")
        self.weights_path = Path(weights)
        self.weights_sha256 = load_weights(self.network, weights)
        self.network.eval()
        self.session = self._start(runtime)
        self.settings["runtime"] = self.session.name if self.session else "torch"
        if self.session and self.session.files:  # two calibrations of one network outline differently
            self.settings["export"] = ", ".join(f"{name} {sha256[:12]}" for name, sha256 in self.session.files.items())

    @property
    def part_size(self) -> int:
        """How many frames the network works on at once."""
        return max(1, self.batch_size // 2)

    def predict(self, frames: Sequence[np.ndarray]) -> list[Prediction]:
        """Segment frames in memory.

        Args:
            frames: each uint8, (H, W), (H, W, 1) or (H, W, 3) RGB, row first, as displayed.

        Raises:
            FrameError: one of them is no such array, or shows no sector; the message gives its place in the list.
        """
        predictions = []
        for outcome in self._predict_all(self._take(frame, place) for place, frame in enumerate(frames)):
            if isinstance(outcome, FrameError):
                raise outcome
            predictions.append(outcome)
        return predictions

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

    def prepare(self, frame: str | Path | np.ndarray) -> torch.Tensor:
        """What the network is given of a frame, a file or an array as above: (1, C, H, W) float32.

        Raises:
            FrameError: the frame cannot be used.
        """
        item = self._load(Path(frame)) if isinstance(frame, (str, Path)) else self._take(frame, 1)
        if isinstance(item, FrameError):
            raise item
        return item["image"].as_tensor()[None]

    def _take(self, frame: np.ndarray | FrameError, number: int) -> dict | FrameError:
        if isinstance(frame, FrameError):
            return frame
        try:
            return self._prepare(_x_first(frame))
        except FrameError as e:
            return FrameError(f"frame {number}: {e}")

    def _predict_all(self, items: Iterable[dict | FrameError]) -> Iterator[Prediction | FrameError]:
        """Predictions of prepared frames in their order, errors in between.

        The network works on a part of them in a thread of its own; meanwhile the next part is prepared and the one
        before is finished, both here, so that what the frames come from need not be safe for threads.
        """
        items, size = iter(items), self.part_size
        threads = torch.get_num_threads()
        with ThreadPoolExecutor(1, "pe_monai network", torch.set_num_threads, (threads,)) as network:
            running = None
            while True:
                with _one_thread():
                    part = list(itertools.islice(items, size))
                good = [item for item in part if isinstance(item, dict)]
                started = (part, network.submit(self._infer, good)) if part else None
                if running is not None:
                    yield from self._finish(running[0], running[1].result())
                if started is None:
                    return
                running = started

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
            if not isinstance(e.__cause__, FrameError):
                raise
            cause = e.__cause__
        # raised in the except clause it would get its own wrapper for its context, a circle without end
        raise cause

    def _infer(self, items: list[dict]) -> torch.Tensor:
        if not items:
            return torch.empty(0)
        images = torch.stack([item["image"].as_tensor() for item in items]).to(self.device)
        amp = torch.autocast("cuda") if self.device.type == "cuda" else contextlib.nullcontext()
        with torch.inference_mode(), amp:
            return self.inferer(images, self.session or self.network).cpu()

    def _finish(self, part: list, logits: torch.Tensor) -> Iterator[Prediction | FrameError]:
        rest = iter(logits)
        for item in part:
            if isinstance(item, dict):
                with _one_thread():
                    item = self._postprocess(item, next(rest))
            yield item

    def _postprocess(self, item: dict, logits: torch.Tensor) -> Prediction:
        frame = item.pop("frame")
        out = self.postprocessing({**item, "pred": logits.clone()})
        probability, sector = (_row_first(plain_tensor(out[key])[0]) for key in ("probability", "sector"))
        mask = _row_first(plain_tensor(out["pred"])) > 0
        return Prediction(
            mask=mask,
            probability=probability.astype(np.float32),
            sector=sector > 0,
            frame=plain_tensor(frame).transpose(0, 1).numpy(),
            score=frame_score(probability, sector),
            uncertainty=frame_uncertainty(probability, mask, sector),
            meta=dict(frame.meta),
        )

    def _start(self, runtime: str | Path) -> Session | None:
        if runtime == "torch":
            return None
        sample = self.prepare(phantom_frame(0).image)  # of the channels and the size that the network will be given
        if str(runtime) in RUNTIMES or not Path(runtime).exists():
            return start_session(
                str(runtime), self.network, sample, self.device, bf16=getattr(self.inferer, "cpu_amp", False)
            )
        if self.device.type != "cpu":
            raise ExportError(f"{runtime}: an exported network computes on the CPU; add --device cpu.")
        session = open_export(runtime, self.weights_sha256, self._config)
        session(sample)
        return session


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let this thread work on one core: a frame is too little work to share, and cores that wait for their share of it
    are lost to the network."""
    if not torch.backends.openmp.is_available():  # where the number of threads is that of the process, not the caller's
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
    # a copy as it lies in memory, turned as a view: the caller may go on to draw into the frame
    turned = torch.from_numpy(np.array(frame, order="C")).transpose(0, 1)
    return MetaTensor(turned, meta={"original_channel_dim": -1})


def _row_first(plane: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(torch.as_tensor(plane).cpu().numpy().T)
