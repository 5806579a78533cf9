# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Which frames belong together: those of one clip resemble each other and never lie on both sides of a split."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import TypeVar

from pe_monai.label.studies import Frame

VALIDATION_SHARE = 0.25
_NUMBER = re.compile(r"[ _.@-]*\d+$")
Item = TypeVar("Item")


def group_of(frame: Frame) -> str:
    """Name of the group of a frame: its file's name without suffix, for a picture without the number at its end.

    So ``exam3_001.png`` and ``exam3_002.jpg`` are one group, and so are pictures of one folder that have only numbers.
    Not the id, which keeps the suffix of a file that has a namesake and loses the end of a long name.
    """
    return frame.stem if frame.clip else _NUMBER.sub("", frame.stem)


def split_groups(items: Iterable[tuple[str, Item]]) -> tuple[list[Item], list[Item]]:
    """Split into training and validation by groups.

    A group's hash decides, so that one once used for validation stays there as labels are added, and no model is
    judged on what an earlier one has learned. Where all are one group, the last quarter in order is for validation.

    Args:
        items: each with the name of its group, in their order.

    Returns:
        Training and validation; both are empty where there are fewer than two items.
    """
    items = list(items)
    if len(items) < 2:
        return [], []
    groups = sorted({group for group, _ in items}, key=_rank)
    if len(groups) == 1:
        first = len(items) - max(1, round(len(items) * VALIDATION_SHARE))
        return [item for _, item in items[:first]], [item for _, item in items[first:]]
    chosen = [group for group in groups if _rank(group) < VALIDATION_SHARE] or groups[:1]
    chosen = chosen[: len(groups) - 1]
    return [item for group, item in items if group not in chosen], [item for group, item in items if group in chosen]


def _rank(group: str) -> float:
    return int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
