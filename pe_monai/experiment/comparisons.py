# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of the study that set one result against another: rows, single changes, protocols."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pe_monai.evaluation import compare_rows, compare_sets
from pe_monai.evaluation.bootstrap import Estimate
from pe_monai.experiment.result import Result
from pe_monai.experiment.rows import BUNDLE_ROW, TITLES
from pe_monai.experiment.table import Cell, Column, Table


def paired(results: Sequence[Result]) -> Table:
    """Each row against the first one of its protocol, on the same frames."""
    first: dict[str, Result] = {}
    found = [(result, first.setdefault(result.protocol, result)) for result in results]
    pairs = [(result, reference, reference.name) for result, reference in found if result is not reference]
    note = (
        "Row less the first row of its protocol, frame by frame; 95 % intervals by bootstrap over clips (over frames "
        "where no clip is known), both rows in the same draws. An interval without 0 is a difference. One training "
        "each: what another seed would change is not in it."
    )
    return Table("paired", "Paired differences", note, _difference_columns("against"), _differences(pairs))


def ablations(results: Sequence[Result]) -> Table:
    """One change alone, such as an improvement removed, against the row it was made to."""
    found = {(result.protocol, result.name): result for result in results}
    pairs = []
    for result in results:
        base, _, change = result.name.rpartition("+")
        reference = found.get((result.protocol, base or BUNDLE_ROW))
        if reference is not None and (base or change.startswith("ablate_")):
            pairs.append((result, reference, TITLES.get(change, change)))
    note = (
        "Row with the change less the row it was made to. Where an improvement is removed: below 0 in Dice, it helps; "
        "above 0, it hurts. False share: of the frames without effusion, those with any false region."
    )
    return Table("ablations", "Ablations: one change alone", note, _difference_columns("change"), _differences(pairs))


def leakage(results: Sequence[Result]) -> Table:
    """How much a split that lets frames of one clip lie on both sides flatters."""
    rows: list[list[Cell]] = []
    for name in dict.fromkeys(result.name for result in results):
        by_protocol = {result.protocol: result for result in results if result.name == name}
        if len(by_protocol) < 2:
            continue
        cells: list[Cell] = [
            by_protocol[protocol].summary["positives"]["mean"]["dice"] if protocol in by_protocol else None
            for protocol in ("paper", "clip", "exam")
        ]
        for flattering, honest in (("paper", "clip"), ("paper", "exam"), ("clip", "exam")):
            both = flattering in by_protocol and honest in by_protocol
            cells.append(compare_sets(by_protocol[flattering].rows, by_protocol[honest].rows) if both else None)
        rows.append([name, *cells])
    columns = [
        Column("row"),
        *(Column(f"mean Dice, {protocol}") for protocol in ("paper", "clip", "exam")),
        *(Column(gap, signed=True) for gap in ("paper less clip", "paper less exam", "clip less exam")),
    ]
    note = (
        "The same rows, frames of at least 249 px. Under paper, frames of one clip lie on both sides of the split; "
        "under clip no clip does; under exam no group of clips whose names begin alike. The test frames differ, and "
        "the trainings have different numbers of frames, so the gaps are of the protocols as they are."
    )
    return Table("leakage", "The leakage gap", note, columns, rows)


def _difference_columns(words: str) -> list[Column]:
    names = ("mean Dice", "pooled Dice", "mean precision", "mean recall", "surface Dice")
    columns = [Column("protocol"), Column("row"), Column(words), *(Column(name, signed=True) for name in names)]
    return [*columns, Column("HD95, px", 1, signed=True), Column("false share", signed=True)]


def _differences(pairs: Iterable[tuple[Result, Result, str]]) -> list[list[Any]]:
    rows = []
    for result, reference, words in pairs:
        difference: dict[str, Estimate] = compare_rows(result.rows, reference.rows)
        scores = ("dice", "precision", "recall", "surface_dice", "hd95")
        mean_dice, *means = (difference[f"mean_{name}"] for name in scores)
        cells = [mean_dice, difference["pooled_dice"], *means, difference["false_share"]]
        rows.append([result.protocol, result.name, words, *cells])
    return rows
