# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The guard of the suite itself: outside connections are refused, those of this machine are not."""

from __future__ import annotations

import socket

import pytest


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 443)])
def test_outside_connections_are_refused(address):
    with socket.socket() as sock, pytest.raises(RuntimeError, match="without a network"):
        sock.connect(address)


def test_local_connections_work():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()
