# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Ending a service at once when asked to, but never between an act and its record."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupted(BaseException):
    """The service was told to end during work that can be repeated."""


class Stop:
    """Whether the service was told to end, by SIGTERM, by Ctrl-C or by :meth:`set`.

    Attributes:
        wake: set when there is something to do: a study came, or the service ends.
    """

    def __init__(self) -> None:
        self.wake = threading.Event()
        self._told = threading.Event()
        self._interruptible = False

    def __bool__(self) -> bool:
        return self._told.is_set()

    def set(self) -> None:
        """Tell the service to end."""
        self._told.set()
        self.wake.set()

    def wait(self, seconds: float) -> None:
        """Sleep until there is something to do, or for so long."""
        self.wake.wait(seconds)
        self.wake.clear()

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """What runs inside is broken off by a signal.

        Raises:
            Interrupted: the service was told to end.
        """
        self._interruptible = True
        try:
            if self:
                raise Interrupted
            yield
        finally:
            self._interruptible = False

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen to SIGTERM and SIGINT; only in the main thread."""

        def handle(number: int, frame: FrameType | None) -> None:
            self.set()
            if self._interruptible:
                self._interruptible = False
                raise Interrupted

        numbers = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(number, handle) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)
