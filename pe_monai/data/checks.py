# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""All that is wrong with a data set's files, at once and before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from monai.transforms import Compose

from pe_monai.errors import DatasetError, FrameError, find_frame_error, list_some

_NAMED = 10


def check_frames(items: Sequence[Mapping[str, Any]], transforms: Sequence[Callable[[Any], Any]]) -> None:
    """Read every frame and annotation of a datalist once, so that none ends a long run halfway.

    Args:
        items: as :func:`pe_monai.data.load_datalist` gives them.
        transforms: what an evaluation reads them with.

    Raises:
        DatasetError: some cannot be read, are no masks, are not of their frame's size or show no sector; says how many,
            and why the first ten.
    """
    check = Compose(transforms)

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
