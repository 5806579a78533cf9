# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Files at which ITK crashes are refused; each is read in a process of its own, which would not return."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pe_monai.data.reader import FrameReader
from pe_monai.errors import FrameError

NRRD = "NRRD0004\ntype: uchar\ndimension: {}\nsizes: 20 20{}\nencoding: {}\n\n"
META = "ObjectType = Image\nNDims = 2\nDimSize = 20 20\nElementType = MET_UCHAR\nElementDataFile = {}\n"
READ = """
import sys
from pe_monai.data.reader import read_frame
from pe_monai.errors import FrameError
try:
    read_frame(sys.argv[1])
except FrameError as e:
    print(e)
"""


@pytest.mark.parametrize(
    ("name", "header", "reason"),
    [
        ("a.nrrd", NRRD.format(2, "", "ascii"), "as text"),
        ("a.nrrd", NRRD.format(2, "", "TXT"), "as text"),
        ("a.nrrd", NRRD.format(2, "", "text").replace("\n", "\r\n"), "as text"),
        ("a.nrrd", "NRRD0004\n#" + "x" * 100_000 + "\n" + NRRD.format(2, "", "text")[9:], "as text"),
        ("a.nrrd", NRRD.format(16, " 1" * 14, "raw"), "more than 8 dimensions"),
        ("a.mha", META.format("%s%s%n 1 2 1"), "by a pattern"),
    ],
    ids=["ascii", "txt", "lines as on Windows", "long comment", "dimensions", "pattern"],
)
def test_what_itk_cannot_take_is_refused(tmp_path, name, header, reason):
    (tmp_path / name).write_bytes(header.encode() + b"9" * 3_000_000)
    answer = subprocess.run([sys.executable, "-c", READ, str(tmp_path / name)], capture_output=True, text=True)
    assert answer.returncode == 0, answer
    assert name in answer.stdout and reason in answer.stdout


def test_what_itk_finds_wrong_is_said_without_where_it_was_built(tmp_path):
    (tmp_path / "cut.nrrd").write_bytes(NRRD.format(2, "", "raw").encode() + b"cut")
    with pytest.raises(FrameError, match=r"cut\.nrrd: cannot be read \(Read: Error reading cut\.nrrd"):
        FrameReader().get_data(tmp_path / "cut.nrrd")


def test_pixels_that_look_like_a_header_are_none(tmp_path):
    pixels = b"\nencoding: ascii\ndimension: 16\n".ljust(400, b"x")
    (tmp_path / "a.nrrd").write_bytes(NRRD.format(2, "", "raw").encode() + pixels)
    array, _ = FrameReader().get_data(tmp_path / "a.nrrd")
    assert np.array_equal(array[..., 0].T.ravel(), np.frombuffer(pixels, np.uint8))
