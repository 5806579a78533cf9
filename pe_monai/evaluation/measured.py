# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables of measured values and of reference values, brought together by name, and what is written of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pe_monai.errors import DatasetError, list_some
from pe_monai.evaluation.agreement import agreement
from pe_monai.measure.tables import write_table
from pe_monai.whole import write_text_whole

VALUES = ("thickness", "largest", "robust")
UNITS = ("mm", "px")
_NAMES = ("folder", "file", "clip")  # columns that may name a row, the first that is there and filled counts
FILES = ("agreement.json", "agreement.md", "pairs.csv")


@dataclass(frozen=True)
class Pair:
    """A measured and a reference value of the same frame or clip.

    Attributes:
        name: as the reference calls it.
        frame: its number; empty for a clip.
        measured: NaN where nothing could be measured.
        reference: the value to agree with.
        unit: what is resampled together, such as a patient.
    """

    name: str
    frame: str
    measured: float
    reference: float
    unit: str


def read_pairs(
    measured: str | Path, reference: str | Path, value: str | None = None, may_lack: bool = False
) -> tuple[list[Pair], str]:
    """Bring a table of measurements and one of reference values together.

    A row of the reference belongs to the measured row of the same name (and frame, if it gives one): names are paths
    without a suffix, and one may be an end of the other, such as ``0001`` of ``fold8/0001.png``.

    Args:
        measured: ``measured_clips.csv`` or ``measured_frames.csv`` of ``pe_monai measure``, or ``clips.csv`` or
            ``frames.csv`` of ``pe_monai segment``.
        reference: CSV with ``file`` (or ``folder``, ``clip``), for frames also ``frame``, and one column of values:
            ``thickness_mm``, ``largest_mm``, ``robust_mm`` or one of them in ``px``. A column ``patient`` says which
            rows belong together when intervals are computed.
        value: measured column to compare; by default that of the reference's name, or the table's largest thickness.
        may_lack: a reference without a measured row counts as not measured; otherwise it is an error.

    Returns:
        The pairs, in the order of the reference, and their unit, "mm" or "px".

    Raises:
        DatasetError: a table lacks a column, names do not match or match twice, a value is no number.
    """
    got, wanted = _read(Path(measured)), _read(Path(reference))
    source = _only_value(wanted[0], reference)
    unit = source.rpartition("_")[2]
    column = value or next(
        (name for name in (source, f"thickness_{unit}", f"largest_{unit}") if name in got[0]), source
    )
    if column not in got[0] or not column.endswith(f"_{unit}"):
        raise DatasetError(f"{measured}: has no column {column} to compare with {source} of {reference}; see --value.")
    by_end = _index(got, "frame" in wanted[0] and "frame" in got[0])
    pairs, lost = [], []
    for row in wanted:
        name, frame = _name(row, reference), row.get("frame") or ""
        found = _look_up(by_end, name, frame)
        if len(found) > 1 or not (found or may_lack):
            lost.append(f"{name} ({'no row' if not found else f'{len(found)} rows'})")
            continue
        number = _number(row[source], f"{reference}: {name}", source)
        if number is None:
            raise DatasetError(f"{reference}: {name}: {source} is empty; leave out rows without a reference.")
        seen = _number(found[0][column], f"{measured}: {name}", column) if found else None
        pairs.append(Pair(name, frame, float("nan") if seen is None else seen, number, row.get("patient") or name))
    if lost:
        raise DatasetError(f"{reference}: not found once in {measured}: {list_some(lost)}; names must match.")
    return pairs, unit


def write_agreement(folder: str | Path, pairs: Sequence[Pair], unit: str, scale: str) -> Mapping[str, Any]:
    """Compute the agreement of pairs and write ``agreement.json``, ``agreement.md`` and ``pairs.csv``.

    Args:
        folder: made if absent.
        pairs: see :func:`read_pairs`.
        unit: "mm" or "px"; only millimetres are graded.
        scale: key of the scale of grades.

    Returns:
        See :func:`pe_monai.evaluation.agreement`.

    Raises:
        DatasetError: nothing in the pairs was measured.
    """
    folder = Path(folder)
    try:
        found = agreement(
            [pair.measured for pair in pairs],
            [pair.reference for pair in pairs],
            [pair.unit for pair in pairs],
            scale if unit == "mm" else None,
        )
    except ValueError as e:
        raise DatasetError(f"the pairs cannot be compared: {e}") from e
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"unit": unit, **found}, indent=1, allow_nan=False) + "\n"
    write_text_whole(folder / FILES[0], text)
    write_text_whole(folder / FILES[1], render_agreement(found, unit))
    columns = ("file", "frame", f"measured_{unit}", f"reference_{unit}", f"difference_{unit}")
    rows = []
    for pair in pairs:
        values = (pair.measured, pair.reference, pair.measured - pair.reference)
        shown = [None if value != value else value for value in values]
        rows.append(dict(zip(columns, (pair.name, pair.frame, *shown), strict=True)))
    write_table(folder / FILES[2], columns, rows)
    return found


def render_agreement(found: Mapping[str, Any], unit: str) -> str:
    """An agreement as Markdown."""
    limits = found["bland_altman"]
    lines = [
        "# Measured against reference values",
        "",
        "For research use only.",
        "",
        f"{found['pairs']} pairs of {found['clips']} patients or clips; {found['unmeasured']} more could not be "
        "measured and are left out. 95 % intervals by bootstrap over patients or clips.",
        "",
        "| | value | interval |",
        "|---|---|---|",
        _line(f"mean absolute error, {unit}", found["mae"]),
        _line(f"bias (measured less reference), {unit}", limits["bias"]),
        _line(f"standard deviation of the differences, {unit}", limits["sd"]),
        _line(f"lower limit of agreement, {unit}", limits["lower"]),
        _line(f"upper limit of agreement, {unit}", limits["upper"]),
        _line("ICC(2,1), absolute agreement", found["icc_2_1"], 3),
        _line("ICC(3,1), consistency", found["icc_3_1"], 3),
    ]
    if grades := found["grades"]:
        lines += [
            _line(f"same grade ({grades['scale']})", grades["same"], 3),
            "",
            f"| reference \\ measured | {' | '.join(grades['labels'])} |",
            "|---|" + "---|" * len(grades["labels"]),
            *(
                f"| {label} | {' | '.join(map(str, counts))} |"
                for label, counts in zip(grades["labels"], grades["confusion"], strict=True)
            ),
        ]
    return "\n".join([*lines, ""])


def _line(name: str, estimate: Mapping[str, float | None], digits: int = 2) -> str:
    ends = (estimate[name] for name in ("value", "low", "high"))
    value, low, high = ("–" if number is None else f"{number:.{digits}f}" for number in ends)
    return f"| {name} | {value} | {low} to {high} |"


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as e:
        raise DatasetError(f"{path}: cannot be read ({e.strerror or e}).") from e
    except (UnicodeDecodeError, csv.Error) as e:
        raise DatasetError(f"{path}: is no CSV in UTF-8; save it as such.") from e
    if not rows:
        raise DatasetError(f"{path}: has no rows; give a table with one a frame or clip.")
    return rows


def _only_value(row: Mapping[str, str], path: str | Path) -> str:
    known = [f"{value}_{unit}" for value in VALUES for unit in UNITS]
    given = [name for name in known if name in row]
    if len(given) != 1:
        raise DatasetError(f"{path}: must have one column of {', '.join(known)}; has {', '.join(given) or 'none'}.")
    return given[0]


def _name(row: Mapping[str, str], path: str | Path) -> str:
    name = next((row[column] for column in _NAMES if row.get(column)), None)
    if name is None:
        raise DatasetError(f"{path}: a row has no name; give a column {' or '.join(_NAMES)}.")
    return name


def _parts(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name.replace("\\", "/"))
    stem = path.name.removesuffix(".gz")
    return (*path.parts[:-1], PurePosixPath(stem).stem if "." in stem[1:] else stem)


Index = dict[tuple[tuple[str, ...], str, bool], list[dict[str, str]]]


def _index(rows: Sequence[dict[str, str]], by_frame: bool) -> Index:
    """Rows by each end of each of their names, by frame, and by whether it is the whole name."""
    index: Index = {}
    for row in rows:
        names = {_parts(row[column]) for column in _NAMES if row.get(column)}
        ends = {(parts[place:], not place) for parts in names for place in range(len(parts))}
        for end, is_whole in ends:
            if not is_whole or (end, False) not in ends:  # a name that is the end of another is not its own
                index.setdefault((end, row["frame"] if by_frame else "", is_whole), []).append(row)
    return index


def _look_up(index: Index, name: str, frame: str) -> list[dict[str, str]]:
    """Rows of the very name, else of names that end with it, else of the longest name that it ends with."""
    parts = _parts(name)
    for end, is_whole in ((parts, True), (parts, False), *((parts[n:], True) for n in range(1, len(parts)))):
        if found := index.get((end, frame, is_whole)):
            return found
    return []


def _number(text: str | None, place: str, column: str) -> float | None:
    if not (text or "").strip():
        return None
    try:
        return float(str(text))
    except ValueError:
        raise DatasetError(f"{place}: {column} is no number, {text!r}; correct it.") from None
