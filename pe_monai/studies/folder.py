# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of results that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

MARK = "measurements.json"


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill beside ``path``; it takes that name, in the place of older results, if nothing goes wrong.

    Args:
        path: the folder to be.

    Raises:
        FileExistsError: ``path`` is there and holds no results, so that it is not ours to replace.
        OSError: what the operating system says.
    """
    if path.exists() and not (path / MARK).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(17, "exists and holds no results of pe_monai; name another output folder", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, old = (path.with_name(f".{kind}-{os.getpid()}-{path.name}") for kind in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            path.rename(old)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
