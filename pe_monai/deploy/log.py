# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A log that a hospital can pass on: nothing of a patient, a study or the names of files."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from pathlib import Path

logger = logging.getLogger("pe_monai.deploy")
LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "CRITICAL")


def start_log(level: str = "INFO") -> None:
    """Write our own lines to stderr, and of the libraries only errors without a name of anything.

    The SDK's operators log UIDs, descriptions and paths, pydicom and highdicom quote values: none of these get through,
    whatever the level.
    """
    os.environ.setdefault("HOLOSCAN_LOG_LEVEL", "ERROR")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(lambda record: record.name.split(".")[0] == "pe_monai")
    logging.basicConfig(level="WARNING" if level == "WARN" else level, handlers=[handler], force=True)
    warnings.filterwarnings("ignore")


class Aliases:
    """Numbers instead of the names of files: "file 3 of 12" is the third of the input's files, sorted by path.

    Args:
        folder: the input folder.
    """

    def __init__(self, folder: Path) -> None:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        self._folder = str(folder)
        self._names = {str(path): f"file {number} of {len(files)}" for number, path in enumerate(files, start=1)}

    def hide(self, error: BaseException | str) -> str:
        """An error in one line, with numbers for the input's files, and nothing of another path below the folder."""
        text = str(error)
        for path in sorted(self._names, key=len, reverse=True):
            text = text.replace(path, self._names[path])
        text = re.sub(re.escape(self._folder) + r"/[^\s:;,'\"]*", "a folder of the input", text)
        return " ".join(text.split())
