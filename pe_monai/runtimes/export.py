# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Export of a bundle's network: converted, written, read back and compared with PyTorch before it is kept."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pe_monai import INTENDED_USE, __version__
from pe_monai.data import load_datalist, phantom_frame
from pe_monai.errors import DatasetError, ExportError, FrameError
from pe_monai.predictor import Predictor
from pe_monai.report.sheet import choose_frames
from pe_monai.runtimes.accuracy import mean_dice, read_labels, with_session
from pe_monai.runtimes.convert import require, to_onnx, to_openvino, to_torchscript
from pe_monai.runtimes.exported import MANIFEST, MODEL_FILES, PRECISIONS, open_export
from pe_monai.runtimes.fold import fold_batch_norm
from pe_monai.runtimes.quantize import quantize
from pe_monai.weights import sha256_of
from pe_monai.whole import replace_folder

MAX_DIFFERENCE = 1e-4
MAX_PROBABILITY_ERROR = 0.01
MAX_DICE_LOSS = 0.005
CALIBRATION_FRAMES = 200
CONFIGS = ("metadata.json", "inference.json")


def export_network(
    predictor: Predictor,
    kind: str,
    precision: str,
    output: str | Path,
    calibration: str | Path | None = None,
    frames: int = CALIBRATION_FRAMES,
) -> dict:
    """Write a predictor's network as a folder that the runtimes open; whole, and checked, or not at all.

    The folder holds the model, ``metadata.json`` and ``inference.json`` of the bundle, and ``export.json`` with the
    SHA-256 of each file and of the weights. What is read back from it must agree with PyTorch: in fp32 within 1e-4 of
    each logit, for several sizes and batches, or within four times PyTorch's own distance from float64, where that is
    more; otherwise within 0.01 of the probabilities on average, or in int8 within 0.005 of the mean Dice on the
    validation frames of the data set it is calibrated with.

    Args:
        predictor: with the bundle to export, on the CPU.
        kind: "torchscript", "onnx" or "openvino".
        precision: "fp32", "bf16" (not ONNX) or "int8" (not TorchScript).
        output: the folder; absent, empty, or an earlier export with nothing else in it, which is replaced.
        calibration: data set's folder, for int8: training frames set the ranges of values.
        frames: how many of them, evenly spread.

    Returns:
        What ``export.json`` says.

    Raises:
        ExportError: this cannot be exported, or the export does not agree with PyTorch.
        DatasetError: the data set cannot be used.
    """
    _check(kind, precision, calibration)
    output = Path(output).resolve()  # where a link leads, so that the link stays
    _check_replaceable(output)
    with replace_folder(output) as partial:
        model = _convert(predictor, kind, precision, calibration, frames)
        _write_model(model, kind, partial, predictor)
        for name in CONFIGS:
            shutil.copyfile(predictor.bundle / "configs" / name, partial / name)
        manifest = _manifest(predictor, kind, precision, partial)
        _write_json(manifest, partial / MANIFEST)
        manifest["agreement"] = _compare(predictor, partial, precision, calibration)
        _write_json(manifest, partial / MANIFEST)
    return manifest


def _check(kind: str, precision: str, calibration: str | Path | None) -> None:
    if kind not in PRECISIONS:
        raise ExportError(f"format {kind!r} is unknown; give one of {', '.join(PRECISIONS)}.")
    if precision not in PRECISIONS[kind]:
        raise ExportError(f"{kind} has no {precision} on CPUs; give one of {', '.join(PRECISIONS[kind])}.")
    if precision == "int8":
        require("nncf")
        if calibration is None:
            raise ExportError("int8 is calibrated on training frames; name their data set's folder with --calibration.")
    for module in {"onnx": ("onnxscript", "onnxruntime"), "openvino": ("openvino",)}.get(kind, ()):
        require(module)


def _check_replaceable(output: Path) -> None:
    """Refuse what is neither absent nor empty nor an earlier export."""
    if output == Path.cwd():
        raise ExportError(f"{output}: is the present folder, which cannot be replaced; name another one.")
    if not output.exists():
        return
    if not output.is_dir() or any(output.iterdir()) and not (output / MANIFEST).is_file():
        raise ExportError(f"{output}: it exists and is no earlier export; name another folder.")
    ours = {MANIFEST, *CONFIGS, *(name for names in MODEL_FILES.values() for name in names)}
    inner = next((path.name for path in output.iterdir() if path.is_dir() or path.name not in ours), None)
    if inner is not None:  # such as another export, or notes on this one
        raise ExportError(f"{output}: it holds {inner}, which would be deleted with it; name another folder.")


def _convert(predictor: Predictor, kind: str, precision: str, calibration: str | Path | None, frames: int) -> Any:
    network = fold_batch_norm(predictor.network)
    if kind == "torchscript":
        return to_torchscript(network, bf16=precision == "bf16")
    sample = _phantom_images(predictor)
    model = to_onnx(network, sample) if kind == "onnx" else to_openvino(network, sample)
    if precision != "int8":
        return model
    items = load_datalist("clip", "training", calibration)
    paths = [items[place]["image"] for place in choose_frames(len(items), frames)]
    return quantize(model, [image.numpy() for image in _prepared(predictor, paths)])


def _prepared(predictor: Predictor, paths: Sequence[str]) -> list[torch.Tensor]:
    """What the network is given of files, each (1, C, H, W); files that cannot be used are left out."""
    images = []
    for path in paths:
        with contextlib.suppress(FrameError):
            images.append(predictor.prepare(path))
    if not images:
        raise DatasetError(f"none of {len(paths)} training frames can be used to calibrate; check the data set.")
    return images


def _phantom_images(predictor: Predictor) -> torch.Tensor:
    return torch.cat([predictor.prepare(phantom_frame(seed, thickness_mm=15).image) for seed in range(2)])


def _write_model(model: Any, kind: str, folder: Path, predictor: Predictor) -> None:
    path = folder / MODEL_FILES[kind][0]
    texts = {name: (predictor.bundle / "configs" / name).read_text("utf-8") for name in CONFIGS}
    texts["weights_sha256"] = predictor.weights_sha256
    if kind == "torchscript":
        from monai.data import save_net_with_metadata

        extra = {name: text.encode() for name, text in texts.items() if name != "metadata.json"}
        # PyTorch ends the process where it cannot write to a path
        buffer = io.BytesIO()
        save_net_with_metadata(model, buffer, meta_values=json.loads(texts["metadata.json"]), more_extra_files=extra)
        path.write_bytes(buffer.getvalue())
    elif kind == "onnx":
        onnx = require("onnx")
        onnx.helper.set_model_props(model, texts)
        onnx.save(model, path)
    else:
        for name, text in texts.items():
            model.set_rt_info(text, ["pe_monai", name.partition(".")[0]])
        # halves of weights would save space at the price of the agreement with PyTorch
        try:
            require("openvino").save_model(model, path, compress_to_fp16=False)
        except RuntimeError as e:  # such as "basic_ios::clear: iostream error" on a full disk
            raise ExportError(f"{folder}: OpenVINO cannot write there ({e}); is the disk full?") from e


def _manifest(predictor: Predictor, kind: str, precision: str, folder: Path) -> dict:
    return {
        "format": kind,
        "precision": precision,
        "pe_monai": __version__,
        "intended_use": INTENDED_USE,
        "bundle": predictor.bundle.name,
        "weights": predictor.weights_path.name,
        "weights_sha256": predictor.weights_sha256,
        "files": {path.name: sha256_of(path) for path in sorted(folder.iterdir())},
    }


def _write_json(content: dict, path: Path) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _compare(predictor: Predictor, folder: Path, precision: str, calibration: str | Path | None) -> dict[str, float]:
    """How far an export is from PyTorch.

    Raises:
        ExportError: too far.
    """
    session = open_export(folder, predictor.weights_sha256)
    images = _phantom_images(predictor)
    channels = images.shape[1]
    others = [torch.rand(1, channels, 224, 320), torch.rand(3, channels, 57, 80)]
    network = predictor.network.eval()
    difference, error, rounding = 0.0, 0.0, 0.0
    with torch.inference_mode():
        for batch in (images, *others):
            expected = _logits(network, batch)
            if expected is None:  # a size that PyTorch itself does not take
                continue
            found = session(batch)
            difference = float(np.maximum(difference, float((found - expected).abs().max())))  # max() loses NaN
            if precision == "fp32":
                rounding = max(rounding, _rounding(network, batch, expected))
            if batch is images:
                error = float((found.sigmoid() - expected.sigmoid()).abs().mean())
    agreement = {"max_logit_difference": difference, "mean_probability_error": error}
    if precision == "fp32":
        agreement["torch_from_float64"] = rounding
        bound = max(MAX_DIFFERENCE, 4 * rounding)
        if not difference <= bound:
            raise ExportError(f"the export's logits differ from PyTorch's by {difference:.2g}, more than {bound:.2g}.")
    if precision != "int8" and not error <= MAX_PROBABILITY_ERROR:
        raise ExportError(f"the export's probabilities are {error:.2g} off on average, over {MAX_PROBABILITY_ERROR}.")
    if precision == "int8":
        labels = read_labels(load_datalist("clip", "validation", calibration))
        dice, reference = (mean_dice(with_session(predictor, one), labels) for one in (session, None))
        agreement |= {"frames": len(labels), "mean_dice": dice, "mean_dice_of_torch": reference}
        if not reference - dice <= MAX_DICE_LOSS:
            raise ExportError(
                f"int8 costs {reference - dice:.4f} of the mean Dice of {reference:.4f} on {len(labels)} frames, more "
                f"than {MAX_DICE_LOSS}; calibrate on more frames, or export bf16."
            )
    return agreement


def _rounding(network: nn.Module, images: torch.Tensor, logits: torch.Tensor) -> float:
    """How far PyTorch's own fp32 is from float64: the logits, and those in the plain memory layout.

    A deep network can carry rounding far beyond the last digits.
    """
    plain = copy.deepcopy(network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    exact = copy.deepcopy(network).double()(images.double())
    return max(float((found - exact).abs().max()) for found in (logits, plain(images)))


def _logits(network: nn.Module, images: torch.Tensor) -> torch.Tensor | None:
    try:
        return network(images).float()
    except RuntimeError:
        return None
