# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Files and folders that are there whole or not at all, whenever the process dies."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
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


def write_text_whole(path: str | Path, text: str, errors: str = "strict") -> Path:
    """Write a text file, in UTF-8, that is there whole or not at all.

    Args:
        path: the file to be; missing folders are made.
        text: its content.
        errors: what to do with characters that UTF-8 has not, as for :func:`open`.

    Raises:
        OSError: what the operating system says; nothing is left behind.
    """
    return write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8", errors=errors))


@contextlib.contextmanager
def replace_folder(path: Path, keep_folders: bool = False) -> Iterator[Path]:
    """A folder to fill beside ``path``; it takes that name, in the place of what was there, if nothing goes wrong.

    What killed runs left of the same name goes, too; what they had moved away and not replaced comes back before.

    Args:
        path: the folder to be; missing folders above it are made.
        keep_folders: move the folders in what was there into the new one, as they belong to others.

    Raises:
        OSError: what the operating system says.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name[-50:]  # with what stands before it, no longer than a file's name may be
    partial, old = (path.with_name(f".{kind}-{os.getpid()}-{name}") for kind in ("partial", "old"))
    for left in find_leftovers(path.parent, re.escape(name)):
        if left.name.startswith(".old-") and not path.exists():  # the kill came before the new one took its place
            left.rename(path)
            continue
        if left.name.startswith(".old-") and keep_folders:  # or before these were moved into it
            _move_folders(left, path)
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            path.rename(old)
        partial.rename(path)
        if keep_folders:
            _move_folders(old, path)
    finally:
        if old.exists() and not path.exists():  # it could not be replaced after all
            old.rename(path)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _move_folders(source: Path, target: Path) -> None:
    for folder in find_folders(source):
        if not (target / folder.name).exists():
            folder.rename(target / folder.name)


def find_folders(path: Path) -> list[Path]:
    """Folders in a folder; none where there is no such folder."""
    return [child for child in path.iterdir() if child.is_dir()] if path.is_dir() else []


def find_leftovers(folder: Path, name: str) -> list[Path]:
    """What killed runs of :func:`replace_folder` left; not what another process is filling.

    Args:
        folder: where to look.
        name: regular expression of the last 50 characters of the name that they would have taken.
    """
    pattern = re.compile(rf"\.(?:partial|old)-(\d+)-{name}")
    found = [(path, pattern.fullmatch(path.name)) for path in folder.glob(".*")]
    return [path for path, match in found if match and not _is_another(int(match[1]))]


def drop_partial(paths: Iterable[Path]) -> None:
    """Remove half-written files and folders that killed runs left, by their names; not those that are being written."""
    for path in list(paths):
        match = re.fullmatch(r"\.partial-(\d+)-.+", path.name, re.DOTALL)
        if match is None or _is_another(int(match[1])):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _is_another(process: int) -> bool:
    """Whether it is a process, or a thread of one, that lives and is not this one."""
    if process == os.getpid() or os.name == "nt":  # Windows would end a process that is asked so
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
