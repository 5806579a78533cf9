# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Files that are there whole or not at all, whenever the process dies."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path


def write_whole(path: str | Path, write: Callable[[Path], None]) -> Path:
    """Let ``write`` fill a file beside ``path`` and put it in place once it is complete.

    Args:
        path: the file to be; missing folders are made.
        write: called with the path to write to, which has the same suffix.

    Raises:
        OSError: what the operating system says (no room, read only); nothing is left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # a thread's id, unlike a process's, is its own also where two threads write the same file; of the name only its
    # end, since it may be as long as a file's can be: 255 bytes, up to 4 for a character
    partial = path.with_name(f".partial-{threading.get_native_id()}-{path.name[-50:]}")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
