# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables of measurements and of reference values: matched by name, compared, written."""

from __future__ import annotations

import csv
import json

import pytest

from pe_monai.cli import main
from pe_monai.errors import DatasetError
from pe_monai.evaluation.measured import read_pairs

CLIPS = """folder,status,file,largest_mm,largest_px,robust_mm,error
study-1/clip-1,ok,clip-1,5.0,10,4.5,
study-1/clip-2,ok,clip-2,15.0,30,14.0,
study-2/clip-1,ok,clip-1,30.0,60,28.0,
study-2/clip-2,ok,clip-2,,12,,
,error,,,,,cannot be read
"""
READERS = "folder,largest_mm,patient\nstudy-1/clip-1,6,a\nstudy-1/clip-2,9,a\nstudy-2/clip-1,30,b\n"


@pytest.fixture
def tables(tmp_path):
    def write(reference: str, measured: str = CLIPS):
        paths = tmp_path / "clips.csv", tmp_path / "readers.csv"
        for path, text in zip(paths, (measured, reference), strict=True):
            path.write_text(text, encoding="utf-8")
        return paths

    return write


def test_the_command_compares_and_writes(tables, tmp_path, capsys):
    measured, reference = tables(READERS + "study-2/clip-2,12,b\n")
    out = tmp_path / "out"
    assert main(["evaluate", "--measure", str(measured), "--reference", str(reference), "-o", str(out)]) == 0
    found = json.loads((out / "agreement.json").read_text())
    assert (found["pairs"], found["unmeasured"], found["clips"], found["unit"]) == (3, 1, 2, "mm")
    assert found["mae"]["value"] == pytest.approx(7 / 3)
    assert found["bland_altman"]["bias"]["value"] == pytest.approx(5 / 3)
    # 6 and 5 are small, 9 is small and measured as moderate, 30 and 30 are large
    assert found["grades"]["confusion"] == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    with (out / "pairs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["difference_mm"] for row in rows] == ["-1.0000", "6.0000", "0.0000", ""]
    page = capsys.readouterr().out
    assert "ICC(2,1)" in page and "| small | 0 | 1 | 1 | 0 |" in page and "research use only" in page


def test_another_column_and_pixels_without_grades(tables):
    measured, reference = tables(READERS)
    pairs, unit = read_pairs(measured, reference, "robust_mm")
    assert ([pair.measured for pair in pairs], unit) == ([4.5, 14.0, 28.0], "mm")
    measured, reference = tables("file,thickness_px\nstudy-2/clip-2.dcm,12\n")
    pairs, unit = read_pairs(measured, reference)
    assert (pairs[0].measured, unit) == (12.0, "px")


def test_frames_by_file_and_number(tables):
    frames = "file,frame,thickness_mm\nm/fold1/0001.png,1,2\nm/fold1/0002.nii.gz,1,3\nm/fold1/0002.nii.gz,2,4\n"
    wanted = "file,frame,thickness_mm\ndata/m/fold1/0002,2,5\nfold1/0001.png,1,2\n"
    pairs, _ = read_pairs(*tables(wanted, frames))
    assert [(pair.measured, pair.reference) for pair in pairs] == [(4.0, 5.0), (2.0, 2.0)]


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("file,largest_mm\nclip-1,3\n", "clip-1 (2 rows)"),
        ("folder,largest_mm\nstudy-9/clip-1,3\n", "study-9/clip-1 (no row)"),
        ("file,largest_mm\nclip-7,3\n", "clip-7 (no row)"),
        ("folder,largest_mm\nstudy-1/clip-1,much\n", "is no number, 'much'"),
        ("folder,largest_mm\nstudy-1/clip-1,\n", "largest_mm is empty"),
        ("folder,width\nstudy-1/clip-1,3\n", "must have one column of"),
        ("folder,largest_mm,robust_mm\nstudy-1/clip-1,3,3\n", "has largest_mm, robust_mm"),
        ("name,largest_mm\nstudy-1/clip-1,3\n", "has no name"),
        ("folder,largest_mm\n", "has no rows"),
        ("folder,robust_px\nstudy-1/clip-1,3\n", "3"),
    ],
)
def test_what_does_not_fit_is_said(tables, reference, words):
    measured, path = tables(reference)
    if "robust_px" in reference:  # the table has the largest in pixels
        assert read_pairs(measured, path)[0][0].measured == 10
        return
    with pytest.raises(DatasetError) as error:
        read_pairs(measured, path)
    assert words in str(error.value)


def test_missing_measurements_may_count(tables):
    measured, reference = tables(READERS + "study-9/clip-9,3,c\n")
    with pytest.raises(DatasetError, match="study-9/clip-9 .no row"):
        read_pairs(measured, reference)
    pairs, _ = read_pairs(measured, reference, may_lack=True)
    assert len(pairs) == 4 and pairs[3].measured != pairs[3].measured
