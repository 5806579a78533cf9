# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Private folders for what passes through: a process that is killed leaves them, and the next one removes them."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import time
from pathlib import Path

from filelock import FileLock, Timeout

_PREFIX = "pe_monai-"
_LOCK = ".lock"
# one that was just made may not have its lock yet
_SETTLED = 60.0
_held: list[tuple[tempfile.TemporaryDirectory, FileLock]] = []


def scratch_root() -> str:
    """This process's folder among the system's temporary ones, for it alone to read; it goes when the process ends.

    Frames of patients pass through it. What processes left that were killed is removed when the first folder is asked
    for: its owner holds a lock on it as long as it lives.

    Raises:
        OSError: there is no room, or no right to write.
    """
    return _make_root(tempfile.gettempdir(), os.getpid())


@functools.cache
def _make_root(parent: str, process: int) -> str:
    _remove_orphans(Path(parent))
    folder = tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent, ignore_cleanup_errors=True)
    lock = FileLock(Path(folder.name) / _LOCK)
    lock.acquire()
    _held.append((folder, lock))
    return folder.name


def _remove_orphans(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            state = folder.lstat()
            ours = not hasattr(os, "getuid") or state.st_uid == os.getuid()
            if not ours or time.time() - state.st_mtime < _SETTLED:
                continue
            if not (folder / _LOCK).is_file():
                continue
            with FileLock(folder / _LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (OSError, Timeout):
            continue
