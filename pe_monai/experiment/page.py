# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The study's report: Markdown, one CSV a table, figures, and one HTML page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pe_monai.data import PROTOCOLS, write_picture
from pe_monai.experiment.table import Table
from pe_monai.report.page import data_uri, find_template, picture_uri
from pe_monai.whole import write_text_whole

TITLE = "Pericardial effusion: the paper's study"
RESEARCH_USE = "For research use only. Not a medical device; do not diagnose or treat with it."
CAPTIONS = {
    "training_loss": "Training loss by epoch. Rows with another loss than their neighbours cannot be compared here.",
    "validation_dice": "Dice of the validation frames with effusion by epoch; the best epoch by the Dice of all "
    "validation frames is the one that was tested.",
    "roc": "Frames of at least 249 px against frames without effusion.",
    "size_dice": "Dice of each test frame by the size of its annotated effusion; the line joins medians of groups, the "
    "dotted line is at 249 px.",
    "reliability": "Share of pixels inside the sector that show effusion, by predicted probability; on the dotted "
    "line a probability means what it says.",
    "risk_coverage": "Mean error of the frames that are kept when the surest are kept first.",
}


def write_report(
    folder: Path,
    facts: Mapping[str, str],
    tables: Sequence[Table],
    frames: Table,
    figures: Mapping[str, bytes],
    panels: Mapping[str, np.ndarray],
    commands: Mapping[str, Sequence[str]],
    errors: Sequence[str] = (),
) -> Path:
    """Write ``study.md``, ``study.html``, ``tables/*.csv`` and ``figures/`` and return the page's path.

    A table without rows is left out; the files of tables and figures that an earlier report had and this one has not
    are removed, since they are of other settings.

    The panels show frames of the data set: its owner decides what may be shown.

    Args:
        folder: where to write.
        facts: shown under the heading.
        tables: of the study.
        frames: the table of frames by protocol.
        figures: SVG by name.
        panels: pictures by protocol.
        commands: how each row is trained alone, and how it scores other frames.
        errors: what went wrong.
    """
    stale = [folder / "tables" / f"{table.name}.csv" for table in tables if not table.rows]
    stale += [folder / "figures" / f"{name}.svg" for name in CAPTIONS if name not in figures]
    stale += [folder / "figures" / f"figure2_{protocol}.png" for protocol in PROTOCOLS if protocol not in panels]
    for path in stale:
        path.unlink(missing_ok=True)
    tables = [table for table in tables if table.rows]
    for table in (*tables, frames):
        write_text_whole(folder / "tables" / f"{table.name}.csv", table.csv())
    for name, svg in figures.items():
        write_text_whole(folder / "figures" / f"{name}.svg", svg.decode())
    for protocol, picture in panels.items():
        write_picture(picture, folder / "figures" / f"figure2_{protocol}.png")
    write_text_whole(folder / "study.md", _markdown(facts, tables, frames, figures, panels, commands, errors))
    page = find_template("pe_monai.experiment", "study_page.html.jinja").render(
        title=TITLE,
        facts=list(facts.items()),
        errors=errors,
        tables=[_for_page(table) for table in tables],
        frames=_for_page(frames),
        panels=[{"uri": picture_uri(panel), "caption": _panel_caption(name)} for name, panel in panels.items()],
        figures=[{"uri": data_uri(svg, "image/svg+xml"), "caption": CAPTIONS[name]} for name, svg in figures.items()],
        commands=list(commands.items()),
    )
    return write_text_whole(folder / "study.html", page)


def _markdown(
    facts: Mapping[str, str],
    tables: Sequence[Table],
    frames: Table,
    figures: Mapping[str, bytes],
    panels: Mapping[str, np.ndarray],
    commands: Mapping[str, Sequence[str]],
    errors: Sequence[str],
) -> str:
    parts = [
        f"# {TITLE}\n",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()) + "\n",
        RESEARCH_USE + "\n",
    ]
    parts += [f"**{error}**\n" for error in errors]
    parts += [table.markdown() for table in (*tables, frames)]
    parts.append("## Figures\n")
    parts += [f"![{_panel_caption(name)}](figures/figure2_{name}.png)\n\n*{_panel_caption(name)}*\n" for name in panels]
    parts += [f"![{name}](figures/{name}.svg)\n\n*{CAPTIONS[name]}*\n" for name in figures]
    parts.append(
        "## Rows\n\nEach trains alone, inside `bundle/`, and scores frames of your own, such as those that "
        "`pe_monai labelme annotated -o external` takes from LabelMe; PROTOCOL is clip, exam or paper:\n"
    )
    parts += ["\n".join([name, "", *(f"    {line}" for line in lines), ""]) for name, lines in commands.items()]
    return "\n".join(parts)


def _for_page(table: Table) -> dict[str, object]:
    numbers = {
        place
        for place in range(len(table.columns))
        if any(row[place] is not None and not isinstance(row[place], str) for row in table.rows)
    }
    return {
        "name": table.name,
        "title": table.title,
        "note": table.note,
        "columns": table.columns,
        "texts": table.texts,
        "numbers": numbers,
    }


def _panel_caption(protocol: str) -> str:
    return (
        f"Best, median and worst test frame under the protocol {protocol}, of those with at least 249 px, by the Dice "
        "of the improved network (or of the last row)."
    )
