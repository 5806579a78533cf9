# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The curve: repeatable, and whole where frames are missing."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree

import numpy as np
from PIL import Image

from pe_monai.report.curve import thickness_curve

ARGUMENTS = {
    "times": [0, 0.1, 0.2, 0.3],
    "thickness": [4, np.nan, 12.04, 9],
    "reliable": [True, False, True, False],
    "unit": "mm",
    "time_label": "time, s",
    "robust": 11.5,
    "largest": 2,
    "limits": {"moderate": 10, "large": 20},
}


def test_svg_says_what_it_shows_and_is_the_same_again():
    picture = thickness_curve(**ARGUMENTS)
    assert picture == thickness_curve(**ARGUMENTS)
    text = " ".join(
        "".join(node.itertext()) for node in ElementTree.fromstring(picture).iter() if node.tag.endswith("text")
    )
    for said in ("time, s", "thickness, mm", "largest, 12.0 mm", "robust maximum, 11.5 mm", "unreliable", "moderate"):
        assert said in text
    assert "large," not in text.replace("largest,", ""), "a limit beyond the figure is left out"
    assert b"http" not in picture.replace(b"http://www.w3.org", b"").replace(b"http://purl.org", b"").replace(
        b"http://creativecommons.org", b""
    ).replace(b"https://matplotlib.org", b"")


def test_png_and_a_clip_without_a_usable_frame():
    picture = thickness_curve([0, 1], [np.nan, np.nan], [False, False], unit="px", time_label="frame", kind="png")
    assert Image.open(io.BytesIO(picture)).size == (1080, 360)
