# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The guards of the suite itself: outside connections are refused, local ones are not, pytest's streams stay open."""

from __future__ import annotations

import io
import socket
import sys

import pytest
from absl import logging as absl_logging


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 443)])
def test_outside_connections_are_refused(address):
    with socket.socket() as sock, pytest.raises(RuntimeError, match="without a network"):
        sock.connect(address)


def test_local_connections_work():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


def test_a_run_that_closes_all_handlers_leaves_pytest_its_streams(monkeypatch):
    handler = absl_logging.get_absl_handler().python_handler
    monkeypatch.setattr(sys, "stderr", io.StringIO())  # else it would know a stream of pytest's
    handler.close()
    assert not handler.stream.closed
