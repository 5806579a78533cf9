# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A limit to how long a whole answer over HTTP may take: the one that requests has is for each silence."""

from __future__ import annotations

import http.client
import io
import time
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

LONGEST = 3600  # seconds from the end of a request to that of its answer


class _Timed(io.RawIOBase):
    """What a socket receives, until its time is over."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw, self._end_by = raw, time.monotonic() + LONGEST

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if time.monotonic() > self._end_by:
            raise TimeoutError(f"the answer took longer than {LONGEST} seconds")
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fp = io.BufferedReader(_Timed(self.fp.detach()))


class _Connection(HTTPConnection):
    response_class = _Answer


class _SafeConnection(HTTPSConnection):
    response_class = _Answer


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SafePool(HTTPSConnectionPool):
    ConnectionCls = _SafeConnection


class DeadlineAdapter(HTTPAdapter):
    """Ends an answer, its headers included, that takes longer than ``LONGEST``, as a silence that is too long does."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SafePool}
