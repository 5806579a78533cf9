# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What is done with the studies of a queue: processed one by one, their results sent."""

from __future__ import annotations

import errno
import logging
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from pe_monai.errors import find_user_error
from pe_monai.services.queue import Entry, StudyQueue
from pe_monai.services.retry import ServerError, with_retries
from pe_monai.services.stop import Interrupted, Stop
from pe_monai.studies.options import StudyResult

logger = logging.getLogger(__name__)
PATIENCE = 3  # studies that cannot be sent before the destination is given up for now
Process = Callable[[Sequence[Path], Path], StudyResult]


class Destination(Protocol):
    """Where results are sent."""

    @property
    def name(self) -> str:
        """What tells it from other destinations; holds no login."""

    def send(self, paths: Sequence[Path]) -> Iterator[tuple[Path, str | None]]:
        """Send DICOM files and yield each with None once it is stored there, or with why it never will be.

        Raises:
            ServerError: the destination cannot be used.
        """


@dataclass
class Tally:
    """How many studies were done, how many were set aside or are incomplete, how many wait to be sent."""

    done: int = 0
    failed: int = 0
    waiting: int = 0

    @property
    def exit_code(self) -> int:
        """0 all done; 1 some were not; 2 none was."""
        if not self.failed and not self.waiting:
            return 0
        return 1 if self.done else 2


def process_next(queue: StudyQueue, process: Process, tally: Tally, stop: Stop | None = None) -> Entry | None:
    """Process the study that has waited longest; what it raises sets the study aside.

    Args:
        queue: the studies.
        process: takes the received files and the folder to make for the results.
        tally: counts studies that are set aside.
        stop: what may break the work off; the study then waits again.

    Returns:
        The study, to be sent or failed; None if none waits, or if it was broken off.

    Raises:
        OSError: the disk is full, which is no fault of the study; it waits again.
    """
    entry = queue.claim()
    if entry is None:
        return None
    logger.info("%s: processing %d objects", entry.name, len(entry.objects))
    try:
        with stop.interruptible() if stop is not None else nullcontext():
            result = process(entry.objects, entry.results)
        place = f"{entry.folder / 'objects'}{os.sep}"  # they do not stay there
        problems = [" ".join(str(error).split()).replace(place, "") for error in result.errors]
        if not result.objects:
            reason = problems[0] if problems else "nothing in it could be used."
            return _set_aside(queue, entry, reason, problems, tally)
        entry = queue.computed(entry, result.objects, problems)
    except Interrupted:
        queue.put_back(entry)
        return None
    except Exception as e:
        if isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT):
            queue.put_back(entry)
            raise
        known = find_user_error(e)
        # what a library says of bad content may quote it
        reason = " ".join(str(known).split()) if known else f"{type(e).__name__} while it was processed"
        return _set_aside(queue, entry, reason, traceback.format_exception(e), tally)
    logger.info("%s: %d results", entry.name, len(entry.to_send))
    for problem in problems:
        logger.warning("%s: %s", entry.name, problem)
    return entry


def send_waiting(queue: StudyQueue, destination: Destination | None, attempts: int, tally: Tally) -> bool:
    """Send the results of all studies that are processed; without a destination they are done as they are.

    A study that cannot be sent waits, and those that failed less often go first, so that it holds up no other.

    Args:
        queue: the studies.
        destination: where to send to.
        attempts: how often to ask a destination that fails.
        tally: counts what came of them; a study of which parts could not be used counts as failed, too.

    Returns:
        Whether the destination works.
    """
    failures = 0
    for entry in sorted(queue.entries("outgoing"), key=lambda entry: entry.failed_sends):
        refused: list[str] = []
        if destination is not None:
            try:
                refused = with_retries(partial(_send, queue, entry, destination), attempts)
            except ServerError as e:
                logger.warning("%s: waits to be sent: %s", entry.name, e)
                queue.count_failed_send(entry)
                failures += 1
                if failures == PATIENCE:
                    break
                continue
        if refused:
            _set_aside(queue, entry, f"{len(refused)} results not stored: {refused[0]}", refused, tally)
            continue
        tally.done += 1
        tally.failed += bool(entry.problems)
        queue.finish(entry)
        logger.info("%s: done", entry.name)
    tally.waiting = len(queue.entries("outgoing"))
    return not failures


def _send(queue: StudyQueue, entry: Entry, destination: Destination) -> list[str]:
    """Send what was not accepted yet; returns why objects were refused."""
    uids = {path: _instance_uid(path) for path in entry.to_send}
    due = [path for path, uid in uids.items() if not queue.was_sent(uid, destination.name)]
    refused = []
    for path, refusal in destination.send(due) if due else ():
        if refusal is None:
            queue.record_sent(uids[path], destination.name, entry)
        else:
            refused.append(refusal)
    return refused


def _set_aside(queue: StudyQueue, entry: Entry, reason: str, details: Sequence[str], tally: Tally) -> Entry:
    tally.failed += 1
    entry = queue.fail(entry, reason, "\n".join(details))
    logger.warning("%s: set aside: %s", entry.name, reason)
    return entry


def _instance_uid(path: Path) -> str:
    import pydicom

    return str(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
