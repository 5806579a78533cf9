# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The log: our own lines, with numbers for the names of files."""

from __future__ import annotations

import subprocess
import sys

from small_bundle import python_environment

from pe_monai.deploy.log import Aliases


def test_files_become_numbers(tmp_path):
    folder = tmp_path / "Doe Jane"
    for name in ("1", "1 b", "sub/c"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    aliases = Aliases(folder)
    error = ValueError(
        f"{folder}/1 b: has the UID of {folder}/1\nand of {folder}/sub/c, not {folder}/gone.dcm; /usr/lib"
    )
    assert aliases.hide(error) == (
        "file 2 of 3: has the UID of file 1 of 3 and of file 3 of 3, not a folder of the input; /usr/lib"
    )
    assert Aliases(tmp_path / "absent").hide("plain") == "plain"


def test_only_our_lines_are_written():
    code = (
        "import logging, warnings; from pe_monai.deploy.log import logger, start_log; start_log('DEBUG');"
        "logging.info('of Doe'); logging.getLogger('pydicom').error('Doe'); warnings.warn('Doe'); logger.info('ours')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=python_environment(), capture_output=True, text=True, check=True
    )
    assert done.stderr.endswith("INFO ours\n") and "Doe" not in done.stdout + done.stderr
