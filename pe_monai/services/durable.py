# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Files and folders whose place survives a crash of the machine, not only of the process."""

from __future__ import annotations

import os
from pathlib import Path

from pe_monai.whole import write_whole


def sync(path: Path) -> None:
    """Have a file's content, or a folder's list of names, on the disk before going on."""
    if path.is_dir() and os.name == "nt":  # Windows keeps names by itself and opens no folder
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file that is there whole or not at all, and is on the disk when this returns."""

    def write(partial: Path) -> None:
        partial.write_text(text, encoding="utf-8")
        sync(partial)

    write_whole(path, write)
    sync(path.parent)


def move(source: Path, target: Path) -> Path:
    """Rename a file or folder within one file system; it is at one of both places at any moment.

    Args:
        source: what to move; its content is on the disk already.
        target: its new name; a file that is there is replaced.

    Returns:
        The target.
    """
    source.replace(target)
    for folder in {source.parent, target.parent}:
        sync(folder)
    return target
