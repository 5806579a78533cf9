# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of the study, made of the results of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pe_monai.experiment.comparisons import ablations, leakage, paired
from pe_monai.experiment.cost import Cost
from pe_monai.experiment.result import Result
from pe_monai.experiment.table import Cell, Column, Table

# Gong et al. 2024, Table 1: accuracy, recall, precision, F1
PUBLISHED = {
    "paper_baseline": {
        "public test": (0.9444, 0.7725, 0.2744, 0.3594),
        "external test": (0.9575, 0.5715, 0.1922, 0.2700),
    },
    "paper_improved": {
        "public test": (0.9697, 0.9147, 0.6984, 0.7734),
        "external test": (0.9800, 0.8003, 0.5220, 0.6086),
    },
}
TABLE1_SCORES = ("frame_accuracy", "recall", "precision", "dice")


def make_tables(results: Sequence[Result], costs: Mapping[str, Cost]) -> list[Table]:
    """All tables; one that the results have nothing for has no rows.

    Args:
        results: of the runs, rows in the order they were asked for within each protocol.
        costs: of the rows' networks, by the row's name.
    """
    return [
        table1(results),
        positives(results),
        sizes(results),
        negatives(results),
        paired(results),
        ablations(results),
        leakage(results),
        uncertainty(results),
        peers(results, costs),
    ]


def table1(results: Sequence[Result]) -> Table:
    """The paper's Table 1 with our numbers beside the paper's."""
    rows: list[list[Cell]] = []
    for name in dict.fromkeys(result.name for result in results):
        for test, numbers in PUBLISHED.get(name, {}).items():
            rows.append([name, f"the paper's, {test}", None, *numbers, *[None] * 4])
        for result in (result for result in results if result.name == name):
            good = result.summary["positives"]
            means, pooled = ([good[kind][score] for score in TABLE1_SCORES] for kind in ("mean", "pooled"))
            rows.append([name, f"ours, {result.protocol}", good["frames"], *means, *pooled])
    titles = [f"{name}, {kind}" for kind in ("mean", "pooled") for name in ("accuracy", "recall", "precision", "F1")]
    note = (
        "Test frames with at least 249 px of effusion, in per cent, with 95 % intervals by bootstrap over clips (over "
        "frames where no clip is known). Mean: over images, as the paper's; pooled: all pixels of all frames "
        "together. Accuracy is that of the whole frame. The paper's own numbers are of its random split over frames, "
        "so only the protocol paper can be set beside them, and of more epochs and other settings, which it does not "
        "state. The external frames are not public."
    )
    columns = [Column("row"), Column("numbers"), Column("frames", 0), *(Column(title, 2, 100) for title in titles)]
    return Table("table1", "Table 1: before and after the improvements", note, columns, rows)


def positives(results: Sequence[Result]) -> Table:
    """Overlap and boundary scores on frames with effusion."""
    rows = []
    for result in results:
        good = result.summary["positives"]
        scores = [good["mean"][name] for name in ("dice", "iou", "precision", "recall", "hd95", "surface_dice")]
        rows.append(
            [*_names(result), good["frames"], *scores, good["median"]["dice"], good["pooled"]["dice"], good["missed"]]
        )
    columns = [
        *_head(),
        Column("frames", 0),
        *map(Column, ("mean Dice", "mean IoU", "mean precision", "mean recall")),
        Column("HD95, px", 1),
        *map(Column, ("surface Dice at 2 px", "median Dice", "pooled Dice", "missed")),
    ]
    note = (
        "Truth of at least 249 px. HD95 is the 95th percentile Hausdorff distance over frames where anything was "
        "predicted; missed is the share of frames where nothing was, which count 0 in all other scores."
    )
    return Table("positives", "Frames with effusion", note, columns, rows)


def sizes(results: Sequence[Result]) -> Table:
    """Mean Dice by size of the truth."""
    rows = []
    for result in results:
        cells: list[Cell] = []
        for size in result.summary["sizes"]:
            cells += [size["frames"], size["dice"]]
        rows.append([*_names(result), *cells])
    titles = ("under 249 px", "249 to 1,000 px", "over 1,000 px")
    columns = [*_head(), *(column for title in titles for column in (Column(f"frames, {title}", 0), Column(title)))]
    return Table("sizes", "Mean Dice by size of the effusion", "Size of the annotated effusion.", columns, rows)


def negatives(results: Sequence[Result]) -> Table:
    """False effusion on frames without it, and how well frames are told apart."""
    rows = []
    for result in results:
        bad = result.summary["negatives"]
        if bad["frames"]:
            rows.append(
                [*_names(result), bad["frames"], bad["false_share"], bad["false_px"], result.summary["frame_auc"]]
            )
    columns = [
        *_head(),
        Column("frames", 0),
        Column("with any false region, %", 1, 100),
        Column("mean false area, px", 1),
        Column("frame AUC"),
    ]
    note = (
        "Frames whose annotation is empty; the protocol paper has none. The AUC tells them from frames of at least "
        "249 px."
    )
    return Table("negatives", "Frames without effusion", note, columns, rows)


def uncertainty(results: Sequence[Result]) -> Table:
    """Calibration of the pixels, and how well the uncertainty ranks the frames by their error."""
    rows: list[list[Cell]] = []
    for result in results:
        calibration, ranking = result.summary["calibration"], result.summary["uncertainty"]
        rows.append(
            [*_names(result), calibration["ece"], calibration["ece_unsure"]]
            + [ranking["spearman"], ranking["mean_error"], ranking["aurc"]]
        )
    columns = [
        *_head(),
        Column("ECE", 4),
        Column("ECE above the lowest bin"),
        Column("Spearman of uncertainty and error"),
        Column("mean error"),
        Column("area under risk-coverage"),
    ]
    note = (
        "ECE: expected calibration error of the pixels inside the sector, 15 bins. A frame's error is one minus Dice, "
        "or 0 or 1 without effusion; its uncertainty is the error its probabilities let expect."
    )
    return Table("uncertainty", "Calibration and uncertainty", note, columns, rows)


def peers(results: Sequence[Result], costs: Mapping[str, Cost]) -> Table:
    """Scores beside what the networks cost."""
    rows: list[list[Cell]] = []
    for result in results:
        cost, good = costs[result.name], result.summary["positives"]
        seconds, is_part = result.run.training_time
        rows.append(
            [*_names(result), good["mean"]["dice"], good["pooled"]["dice"], cost.parameters / 1e6]
            + [cost.multiply_adds / 1e9, f"{cost.size[0]} x {cost.size[1]}", cost.frames_per_second]
            + [f"over {seconds / 60:.1f}" if is_part else seconds / 60]
        )
    columns = [
        *_head(),
        *map(Column, ("mean Dice", "pooled Dice")),
        Column("parameters, million", 2),
        Column("multiply-adds, 10⁹", 2),
        Column("input"),
        Column("frames a second", 1),
        Column("training, min", 1),
    ]
    note = (
        "Multiply-adds and speed of the network alone for one frame at the input's size, on this machine's CPU, all "
        "rows in turns in one run."
    )
    return Table("peers", "Scores and cost", note, columns, rows)


def _names(result: Result) -> list[Cell]:
    return [result.protocol, result.name]


def _head() -> list[Column]:
    return [Column("protocol"), Column("row")]
