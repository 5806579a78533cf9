# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pe_monai.scratch import scratch_root

HOLDER = """
import sys
from pathlib import Path
from pe_monai.scratch import scratch_root
(Path(scratch_root()) / "frame.png").write_text("a frame")
print(scratch_root(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def hold(temporary: Path) -> tuple[subprocess.Popen, Path]:
    """A process with a folder of its own that looks an hour old, and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    folder = Path(process.stdout.readline().strip())
    assert folder.parent == temporary and (folder / "frame.png").exists()
    hour_ago = folder.stat().st_mtime - 3600
    os.utime(folder, (hour_ago, hour_ago))
    return process, folder


def end(process: subprocess.Popen) -> None:
    process.stdin.close()
    process.stdout.close()
    process.wait(30)


def test_it_is_for_us_alone_and_the_same_each_time(temporary):
    folder = Path(scratch_root())
    assert folder.parent == temporary and scratch_root() == str(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_process_takes_its_folder_with_it(temporary):
    process, folder = hold(temporary)
    end(process)
    assert process.returncode == 0 and not folder.exists()


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_what_a_killed_process_left_is_removed_and_nothing_else(temporary):
    living, kept = hold(temporary)
    killed, orphan = hold(temporary)
    killed.send_signal(signal.SIGKILL)
    end(killed)
    other = temporary / "pe_monai-notes"  # not one of ours: it has no lock
    other.mkdir()
    os.utime(other, (0, 0))
    linked = temporary / "pe_monai-linked"
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ".lock").touch()
    linked.symlink_to(elsewhere)
    os.utime(linked, (0, 0), follow_symlinks=False)
    assert (orphan / "frame.png").exists()

    scratch_root()
    assert not orphan.exists()
    assert (kept / "frame.png").exists() and other.exists() and (elsewhere / ".lock").exists()
    end(living)


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_one_that_was_just_made_is_left_alone(temporary):
    killed, folder = hold(temporary)
    os.utime(folder)
    killed.send_signal(signal.SIGKILL)
    end(killed)
    scratch_root()
    assert folder.exists()
