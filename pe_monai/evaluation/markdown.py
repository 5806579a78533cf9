# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""An evaluation's summary as a page to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pe_monai.measure.score import SHARE

SCORE_NAMES = {
    "dice": "Dice (F1)",
    "iou": "IoU",
    "precision": "precision",
    "recall": "recall",
    "accuracy": "accuracy inside the sector",
    "frame_accuracy": "accuracy of the whole frame",
    "hd95": "HD95, px",
    "surface_dice": "surface Dice at 2 px",
}


def render_markdown(summary: Mapping[str, Any]) -> str:
    """Render what :func:`pe_monai.evaluation.summarise` returns as Markdown, readable as plain text too."""
    positives, negatives, interval = summary["positives"], summary["negatives"], summary["interval"]
    least = summary["min_pixels"]
    lines = [
        "# Evaluation",
        "",
        f"Protocol: {summary['protocol'] or 'not named'}. {_frames(summary)}. In brackets: "
        f"{interval['level']:.0%} intervals, {interval['method']}, {interval['samples']:,} samples of "
        f"{interval['resampled']}, seed {interval['seed']}.",
        "",
        "For research use only: not a medical device, not for diagnosis or treatment.",
        "",
        *([f"**{warn_of_seen(summary['trained_on'])}**", ""] if "trained_on" in summary else []),
        f"## Frames with effusion: truth of at least {least:,} px",
        "",
        f"{_frames(positives)}. The mean over images averages the frames' own scores; the pooled score takes all their "
        "pixels together, so that large effusions count more.",
        "",
        "| score | mean over images | pooled |",
        "|---|---|---|",
    ]
    for name, title in SCORE_NAMES.items():
        digits = 1 if name == "hd95" else 3
        pooled = format_estimate(positives["pooled"][name], digits) if name in positives["pooled"] else ""
        lines.append(f"| {title} | {format_estimate(positives['mean'][name], digits)} | {pooled} |")
    lines += [
        "",
        f"Median Dice: {format_estimate(positives['median']['dice'])}. Missed altogether (nothing predicted): "
        f"{format_estimate(positives['missed'])} of the frames; they are 0 in Dice, IoU, precision, recall and "
        "surface Dice, and left out of HD95.",
        "",
        "## By size of the truth",
        "",
        "| px | frames | mean Dice |",
        "|---|---|---|",
    ]
    lines += [f"| {_range(size)} | {size['frames']:,} | {format_estimate(size['dice'])} |" for size in summary["sizes"]]
    annotated = summary["annotated"]
    lines += [
        f"| any, above 0 | {annotated['frames']:,} | {format_estimate(annotated['dice'])} |",
        "",
        "## Frames without effusion: empty truth",
        "",
        f"{_frames(negatives)}.",
        "",
        "| | |",
        "|---|---|",
        f"| share with any false effusion | {format_estimate(negatives['false_share'])} |",
        f"| mean false area, px | {format_estimate(negatives['false_px'], 1)} |",
        f"| mean false area, share of the sector | {format_estimate(negatives['false_sector_share'], 4)} |",
        "",
        "## Finding the frames with effusion",
        "",
        f"Frame AUC, truth of at least {least:,} px against empty truth: {format_estimate(summary['frame_auc'])}. A "
        f"frame's score is the mean of the highest {SHARE:.0%} of the probabilities inside its sector.",
    ]
    if "uncertainty" in summary:
        ranking = summary["uncertainty"]
        lines += [
            "",
            "## Knowing where it is wrong",
            "",
            "Spearman's rank correlation of a frame's uncertainty and its true error (one minus Dice; 0 or 1 without "
            f"effusion): {format_estimate(ranking['spearman'])}. Mean error {format_estimate(ranking['mean_error'])}; "
            f"with the surest frames first, on average over all coverages {format_estimate(ranking['aurc'])}.",
        ]
    if "calibration" in summary:
        calibration = summary["calibration"]
        lines += [
            "",
            "## Calibration",
            "",
            f"Expected calibration error of the pixels inside the sector: {format_estimate(calibration['ece'], 4)}; "
            f"of those above the lowest of {len(calibration['bins'])} bins: "
            f"{format_estimate(calibration['ece_unsure'], 3)}.",
            "",
            "| probability | pixels | mean probability | share with effusion |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {part['from']:.2f} to {part['to']:.2f} | {part['pixels']:,} | "
            + (f"{part['probability']:.3f} | {part['effusion']:.3f} |" if part["pixels"] else "none | none |")
            for part in calibration["bins"]
        ]
    return "\n".join(lines) + "\n"


def render_differences(differences: Mapping[str, Mapping[str, float | None]], against: str) -> str:
    """Render what :func:`pe_monai.evaluation.compare_rows` returns as Markdown."""
    lines = [
        "# Differences",
        "",
        f"These scores less those of {against}, frame by frame; in brackets: 95% intervals over clips (over frames "
        "where no clip is known), both in the same draws. An interval without 0 is a difference.",
        "",
        "For research use only: not a medical device, not for diagnosis or treatment.",
        "",
        "| score | difference |",
        "|---|---|",
    ]
    titles = {f"mean_{name}": f"{title}, mean over images" for name, title in SCORE_NAMES.items()}
    titles |= {"pooled_dice": "Dice (F1), pooled", "false_share": "share of empty frames with any false effusion"}
    lines += [
        f"| {titles[name]} | {format_estimate(estimate, 1 if name == 'mean_hd95' else 3, sign='+')} |"
        for name, estimate in differences.items()
    ]
    return "\n".join(lines) + "\n"


def format_estimate(estimate: Mapping[str, float | None], digits: int = 3, sign: str = "") -> str:
    """A number with its interval in brackets, with a plus where ``sign`` is "+"; "none" where undefined."""
    if estimate["value"] is None:
        return "none"
    text = f"{estimate['value']:{sign}.{digits}f}"
    if estimate["low"] is None:
        return text
    return f"{text} ({estimate['low']:{sign}.{digits}f} to {estimate['high']:{sign}.{digits}f})"


def _range(size: Mapping[str, Any]) -> str:
    if size["to_px"] is None:
        return f"above {size['from_px'] - 1:,}"
    return f"{size['from_px']:,} to {size['to_px']:,}"


def warn_of_seen(trained_on: Mapping[str, Any]) -> str:
    """What to say of scores of frames that the weights may have been trained on, ``trained_on`` of a summary."""
    folds = ", ".join(str(fold) for fold in trained_on["folds"])
    return (
        f"{trained_on['frames']:,} of these frames lie in the folds that these weights were trained on ({folds}). "
        "Unless this is another data set than theirs, the scores are better than those of new frames."
    )


def _frames(group: Mapping[str, Any]) -> str:
    """The size of a group in words; clips and exams are left out where they are not known."""
    counts = [
        f"{group[key]:,} {noun}" for key, noun in (("clips", "clips"), ("exams", "exam groups")) if group.get(key)
    ]
    return f"{group['frames']:,} frames" + (" of " + " and ".join(counts) if counts else "")
