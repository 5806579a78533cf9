# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page for the clips of a study."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pe_monai.measure.tables import NOT_UTF8
from pe_monai.report.drawing import CALLIPER, DOUBTFUL, OUTLINE
from pe_monai.whole import write_text_whole

if TYPE_CHECKING:
    from jinja2 import Template


@dataclass(frozen=True)
class ClipSection:
    """What the page says about one clip. Texts are shown as they are; pictures are data URIs.

    Attributes:
        title: of the clip; also its name in the table of all clips.
        finding, largest, robust, grade, frames, unreliable: the clip's row in that table.
        headline: the finding in a sentence.
        picture, picture_caption: the frame that counts.
        results: name and value of each number.
        notes: what to beware of.
        number: of the frame that the regions were measured in, from 1.
        region_columns, regions: table of its regions.
        curve: thickness over the clip.
        strip: pictures and captions of frames spread over the clip.
        columns, rows: table of all frames.
    """

    title: str
    finding: str
    largest: str
    robust: str
    grade: str
    frames: int
    unreliable: int
    headline: str
    picture: str
    picture_caption: str
    results: Sequence[tuple[str, str]]
    notes: Sequence[str] = ()
    number: int | None = None
    region_columns: Sequence[str] = ()
    regions: Sequence[Sequence[str]] = ()
    curve: str = ""
    strip: Sequence[tuple[str, str]] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default=(), repr=False)


def write_page(
    path: str | Path,
    title: str,
    clips: Sequence[ClipSection],
    errors: Sequence[str] = (),
    settings: Mapping[str, object] | None = None,
    facts: Mapping[str, str] | None = None,
) -> Path:
    """Write the page; it needs nothing but itself and opens from disk.

    Args:
        path: the file.
        title: its heading.
        clips: in the order to show them.
        errors: why objects could not be used.
        settings: name and value of what the results depend on.
        facts: shown under the heading.

    Raises:
        OSError: it cannot be written.
    """
    text = find_template("pe_monai.report", "study.html.jinja").render(
        title=title,
        clips=clips,
        errors=errors,
        settings=list((settings or {}).items()),
        facts=list((facts or {}).items()),
        colours={"outline": OUTLINE, "doubtful": DOUBTFUL, "calliper": CALLIPER},
    )
    return write_text_whole(path, text, errors=NOT_UTF8)


def picture_uri(picture: np.ndarray, quality: int = 88) -> str:
    """A picture (H, W, 3) uint8 as a data URI."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="JPEG", quality=quality, optimize=True)
    return data_uri(out.getvalue(), "image/jpeg")


def data_uri(content: bytes, kind: str) -> str:
    """The content of a file of a MIME type as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@lru_cache
def find_template(package: str, name: str) -> Template:
    """A page's template among the files of a package; what is filled in is escaped, as it may hold any character."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
