# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""How much is kept of frames for the next request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

MOST_BYTES = 128 << 20


def drop_oldest(kept: OrderedDict[Key, Value], size: Callable[[Value], int]) -> None:
    """Remove the first ones until all together have at most ``MOST_BYTES``; the last one stays in any case.

    Args:
        kept: the oldest first.
        size: of one of them in bytes.
    """
    while len(kept) > 1 and sum(map(size, kept.values())) > MOST_BYTES:
        kept.popitem(last=False)
