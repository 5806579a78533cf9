# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""All that is wrong with a data set's files, at once and before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Transposed

from pe_monai.data.reader import FrameReader
from pe_monai.errors import DatasetError, FrameError, find_frame_error, list_some
from pe_monai.transforms import DecodeMaskd

_KEYS = ("image", "label")
_NAMED = 10


def check_frames(items: Sequence[Mapping[str, Any]]) -> None:
    """Read every frame and annotation of a datalist once, so that none ends a long run halfway.

    Args:
        items: as :func:`pe_monai.data.load_datalist` gives them.

    Raises:
        DatasetError: some cannot be read, are no masks or not of their frame's size; says how many, and why the first
            ten.
    """
    check = Compose(
        [
            LoadImaged(_KEYS, FrameReader, dtype=None),
            EnsureChannelFirstd(_KEYS, channel_dim=-1),
            Transposed(_KEYS, indices=[0, 2, 1]),
            DecodeMaskd("label"),
        ]
    )

    def find_problem(item: Mapping[str, Any]) -> FrameError | None:
        try:
            check(item)
        except RuntimeError as e:
            if problem := find_frame_error(e):
                return problem
            raise
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = [str(problem).rstrip(".") for problem in pool.map(find_problem, items) if problem]
    if problems:
        listed = list_some(problems, "; ", _NAMED)
        raise DatasetError(f"{len(problems)} of {len(items)} frames cannot be used: {listed}.")
