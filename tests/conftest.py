# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What all tests share: no network, one phantom data set, and the published data set where there is one."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from pathlib import Path

import pytest
from absl import logging as absl_logging

if "PYTEST_XDIST_WORKER" in os.environ:  # torch and what the tests start read it once: workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from pe_monai.data import write_phantom_dataset  # noqa: E402


def _is_local(address: object) -> bool:
    if not isinstance(address, tuple):
        return True  # a Unix socket
    host = str(address[0])
    if host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session", autouse=True)
def no_network():
    """Refuse connections that leave this machine: nothing here may need a download."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            original = getattr(socket.socket, name)

            def guarded(self, address, _original=original):
                if not _is_local(address):
                    raise RuntimeError(f"a test tried to connect to {address}; tests work without a network")
                return _original(self, address)

            patch.setattr(socket.socket, name, guarded)
        yield


@pytest.fixture(scope="session", autouse=True)
def pytests_own_streams_stay_open():
    """Give absl, which TensorBoard brings, a stream that it never closes.

    It keeps the stderr of its import, and ``logging.config``, which a run of a bundle calls, closes every handler: were
    that stderr what pytest catches output with, every later test would fail.
    """
    absl_logging.get_absl_handler().python_handler.setStream(sys.__stderr__)


@pytest.fixture(scope="session")
def phantom_root(tmp_path_factory) -> Path:
    """A phantom data set of three folds with four clips each; read only."""
    return write_phantom_dataset(tmp_path_factory.mktemp("phantom") / "data set", folds=(1, 2, 3), clips_per_fold=4)


@pytest.fixture(scope="session")
def real_root() -> Path:
    """Folder of the published data set; skips where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared/data/Pericardial-Effusion-experimental-data"
    root = Path(os.environ.get("PE_MONAI_DATA", default))
    if not (root / "data/fold1").is_dir():
        pytest.skip(f"no data/fold1 in {root}: set PE_MONAI_DATA to the folder of the published data set")
    return root
