# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a server does wrong, and how often to ask it again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")

ATTEMPTS = 4
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds


class ServerError(OSError):
    """A server did not do what it was asked to; one line that says what and what to do, without identifiers.

    Args:
        reason: that line.
        lasting: asking again would change nothing: a wrong login, an object refused.
    """

    def __init__(self, reason: str, lasting: bool = False) -> None:
        super().__init__(reason)
        self.lasting = lasting


def with_retries(ask: Callable[[], Answer], attempts: int = ATTEMPTS) -> Answer:
    """Ask a server, and again after 1, 2, 4 … up to 30 seconds while what went wrong may pass.

    Args:
        ask: called until it returns.
        attempts: how often at most.

    Returns:
        What ``ask`` returned.

    Raises:
        ServerError: the last one, or the first that is lasting.
    """
    wait = FIRST_WAIT
    for left in range(attempts - 1, -1, -1):
        try:
            return ask()
        except ServerError as e:
            if e.lasting or not left:
                raise
            logger.warning("%s Asking again in %g s (%d more).", e, wait, left)
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)
    raise ValueError(f"attempts must be 1 or more, got {attempts}.")
