# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Scores of one frame, by MONAI's metrics, with one rule for empty masks."""

from __future__ import annotations

import math
import warnings

import torch
from monai.metrics import (
    compute_confusion_matrix_metric,
    compute_dice,
    compute_hausdorff_distance,
    compute_iou,
    compute_surface_dice,
    get_confusion_matrix,
)
from monai.utils import convert_to_tensor

from pe_monai.data.splits import PAPER_MIN_PIXELS
from pe_monai.measure import frame_score, frame_uncertainty

MIN_PIXELS = PAPER_MIN_PIXELS
SURFACE_TOLERANCE = 2.0
HAUSDORFF_PERCENTILE = 95
# Resampling back to the frame's size may end a hair outside [0, 1].
ROUNDING = 1e-4


def score_frame(
    pred: torch.Tensor,
    label: torch.Tensor,
    probability: torch.Tensor,
    sector: torch.Tensor,
) -> dict[str, float]:
    """Score the mask predicted for one frame.

    All four tensors have one shape, ``(1, H, W)`` or ``(1, W, H)``: no score depends on the order of the two axes.

    With an empty truth, Dice, IoU, precision, recall and both surface scores are NaN: what counts there is
    ``false_effusion``. With an empty prediction for a truth that is not, all of them are 0 but the Hausdorff distance,
    which does not exist (NaN): whoever averages it has to say how many frames were missed.

    Args:
        pred: predicted mask, 0 and 1.
        label: annotated mask, 0 and 1.
        probability: probability of effusion, in [0, 1].
        sector: mask of the ultrasound sector, 0 and 1.

    Returns:
        In this order

        - ``truth_px``, ``pred_px``, ``overlap_px``, ``sector_px``, ``frame_px``: areas in pixels;
        - ``dice`` (the same as F1), ``iou``, ``precision``, ``recall``: over the whole frame;
        - ``accuracy``: share of the sector's pixels that are right, NaN without a sector. Outside it every model is
          right, so over the whole frame it would be higher;
        - ``frame_accuracy``: that of the whole frame, to compare with those who report it;
        - ``hd95``: 95th percentile Hausdorff distance, in pixels;
        - ``surface_dice``: share of both outlines within 2 px of the other one;
        - ``score``: how surely the frame shows effusion, see :func:`pe_monai.measure.frame_score`;
        - ``uncertainty``: error to be expected of the mask, see :func:`pe_monai.measure.frame_uncertainty`;
        - ``false_effusion``: with an empty truth, 1 if anything was predicted and else 0; NaN with any other truth.

    Raises:
        ValueError: the shapes differ, a mask holds other values than 0 and 1, or a probability is outside [0, 1].
    """
    shape = label.shape
    pred = _as_mask("pred", pred, shape)
    label = _as_mask("label", label, shape)
    sector = _as_mask("sector", sector, shape)
    probability = _as_probability(probability, shape)

    truth_px, pred_px, overlap_px = int(label.sum()), int(pred.sum()), int((pred * label).sum())
    return {
        "truth_px": truth_px,
        "pred_px": pred_px,
        "overlap_px": overlap_px,
        "sector_px": int(sector.sum()),
        "frame_px": label.numel(),
        **_overlap_scores(pred, label, truth_px, pred_px),
        "accuracy": _accuracy(pred, label, sector),
        "frame_accuracy": 1 - (truth_px + pred_px - 2 * overlap_px) / label.numel(),
        **_surface_scores(pred, label, truth_px, pred_px),
        "score": frame_score(probability.numpy(), sector.numpy()),
        "uncertainty": frame_uncertainty(probability.numpy(), pred.numpy(), sector.numpy()),
        "false_effusion": float(pred_px > 0) if truth_px == 0 else math.nan,
    }


def _overlap_scores(pred: torch.Tensor, label: torch.Tensor, truth_px: int, pred_px: int) -> dict[str, float]:
    if truth_px == 0:
        return dict.fromkeys(("dice", "iou", "precision", "recall"), math.nan)
    matrix = get_confusion_matrix(pred, label)
    return {
        "dice": compute_dice(pred, label).item(),
        "iou": compute_iou(pred, label).item(),
        # MONAI's precision is NaN where nothing is predicted.
        "precision": compute_confusion_matrix_metric("precision", matrix).item() if pred_px else 0.0,
        "recall": compute_confusion_matrix_metric("recall", matrix).item(),
    }


def _accuracy(pred: torch.Tensor, label: torch.Tensor, sector: torch.Tensor) -> float:
    inside = sector.bool()
    matrix = get_confusion_matrix(pred[inside][None, None], label[inside][None, None])
    return compute_confusion_matrix_metric("accuracy", matrix).item()


def _surface_scores(pred: torch.Tensor, label: torch.Tensor, truth_px: int, pred_px: int) -> dict[str, float]:
    if truth_px == 0:
        return {"hd95": math.nan, "surface_dice": math.nan}
    if pred_px == 0:
        return {"hd95": math.nan, "surface_dice": 0.0}
    with warnings.catch_warnings():
        # MONAI 1.5 and 1.6 warn about an argument that they pass to themselves.
        warnings.filterwarnings("ignore", ".*always_return_as_numpy", FutureWarning)
        hd95 = compute_hausdorff_distance(pred, label, include_background=True, percentile=HAUSDORFF_PERCENTILE)
        surface_dice = compute_surface_dice(pred, label, [SURFACE_TOLERANCE], include_background=True)
    return {"hd95": hd95.item(), "surface_dice": surface_dice.item()}


def _as_mask(name: str, mask: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    mask = _as_batch(name, mask, shape)
    if not ((mask == 0) | (mask == 1)).all():
        low, high = mask.min().item(), mask.max().item()
        raise ValueError(f"{name} must hold 0 and 1 only, got values from {low:g} to {high:g}: threshold it first.")
    return mask


def _as_probability(probability: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    probability = _as_batch("probability", probability, shape)
    low, high = probability.min().item(), probability.max().item()
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        raise ValueError(f"probability must be in [0, 1], got {low:g} to {high:g}: apply the sigmoid to logits first.")
    return probability


def _as_batch(name: str, tensor: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    if tensor.ndim != 3 or tensor.shape[0] != 1 or tensor.shape != shape:
        raise ValueError(
            f"{name} must be one channel in the size of the label, got {tuple(tensor.shape)} and {tuple(shape)}: "
            "undo the framing (Invertd) of all of pred, probability, label and sector, or of none."
        )
    return convert_to_tensor(tensor, dtype=torch.float32, device="cpu", track_meta=False)[None]
