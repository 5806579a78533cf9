# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Caches of frames and outlines, bounded by their size in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

MOST_BYTES = 128 << 20


def drop_oldest(kept: OrderedDict[Key, Value], size: Callable[[Value], int]) -> None:
    """Remove the oldest entries until a cache has at most ``MOST_BYTES``; the newest one always stays.

    Args:
        kept: the oldest first.
        size: of one of them in bytes.
    """
    while len(kept) > 1 and sum(map(size, kept.values())) > MOST_BYTES:
        kept.popitem(last=False)
