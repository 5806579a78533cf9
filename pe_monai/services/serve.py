# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The work of a receiver that runs for good: process what came, send what is processed, wait."""

from __future__ import annotations

import errno
import logging
import time

from pe_monai.services.listen import Receiver
from pe_monai.services.queue import StudyQueue
from pe_monai.services.stop import Stop
from pe_monai.services.work import Destination, Process, Tally, process_next, send_waiting

logger = logging.getLogger(__name__)
IDLE = 30.0  # seconds between looks at the queue while nothing comes
FIRST_WAIT, LONGEST_WAIT = 5.0, 300.0  # seconds before a destination that failed is asked again


def serve(queue: StudyQueue, receiver: Receiver, process: Process, destination: Destination | None, stop: Stop) -> None:
    """Work on the queue until told to stop.

    While the destination does not answer, studies are still taken and processed. It is asked again after 5 seconds,
    then 10, 20 … up to 5 minutes, for ever: results are not given up because an archive is down for a night.

    Args:
        queue: the studies.
        receiver: puts them there; running.
        process: makes results of a study.
        destination: where results go; None keeps them in the queue.
        stop: tells when to end.
    """
    wait, send_at, tally = FIRST_WAIT, 0.0, Tally()
    while not stop:
        worked = False
        try:
            worked = process_next(queue, process, tally, stop) is not None
            if not stop and time.monotonic() >= send_at and queue.entries("outgoing"):
                if send_waiting(queue, destination, 1, tally):
                    wait = FIRST_WAIT
                else:
                    send_at = time.monotonic() + wait
                    wait = min(2 * wait, LONGEST_WAIT)
        except OSError as e:
            if e.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            logger.error("the disk of the queue is full; make room, studies wait")
        if not worked and not stop:
            receiver.tidy()
            due = send_at - time.monotonic()
            stop.wait(min(due, IDLE) if due > 0 else IDLE)
