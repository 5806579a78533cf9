# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Studies from a DICOMweb server into the queue."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from functools import partial

from pe_monai.services.dicomweb import DICOMwebServer, Instance
from pe_monai.services.durable import move, sync
from pe_monai.services.queue import StudyQueue
from pe_monai.services.retry import ATTEMPTS, ServerError, with_retries
from pe_monai.services.work import Tally

logger = logging.getLogger(__name__)
PATIENCE = 3  # studies that fail one after the other before the server is given up


def fetch_studies(
    server: DICOMwebServer, queue: StudyQueue, studies: Sequence[str], tally: Tally, attempts: int = ATTEMPTS
) -> Iterator[None]:
    """Retrieve the studies that the queue does not know yet, one at each step.

    A study is known if it was here with the same objects. One that cannot be retrieved is set aside, and tried again
    when this is called again.

    Args:
        server: where from.
        queue: where to.
        studies: Study Instance UIDs.
        tally: counts those that failed.
        attempts: how often to ask for the same.

    Yields:
        Nothing, each time a study waits in the queue.

    Raises:
        ServerError: the server does not work, as several studies failed in a row.
    """
    known = queue.by_key()
    failures = 0
    for number, study in enumerate(studies, start=1):
        place = f"study {number} of {len(studies)}"
        try:
            instances = with_retries(partial(server.find_instances, study), attempts)
            if not instances:
                raise ServerError("the server has no ultrasound objects of it.", lasting=True)
            key = hashlib.sha256("\0".join((study, *(instance.uid for instance in instances))).encode()).hexdigest()
            if key in known:
                state, entry = known[key]
                if state != "failed" or entry.objects:
                    logger.info("%s: is here already, %s as %s", place, state, entry.name)
                    tally.failed += state == "failed"
                    continue
                queue.drop(entry)
            _fetch(server, queue, study, key, instances, place, attempts)
        except ServerError as e:
            logger.warning("%s: %s", place, e)
            tally.failed += 1
            failures += 0 if e.lasting else 1
            if failures == PATIENCE:
                raise
            continue
        failures = 0
        yield


def _fetch(
    server: DICOMwebServer,
    queue: StudyQueue,
    study: str,
    key: str,
    instances: Sequence[Instance],
    place: str,
    attempts: int,
) -> None:
    entry = queue.begin(can_fetch_again=True, key=key)
    logger.info("%s: %s, %d objects", entry.name, place, len(instances))
    scratch = queue.scratch / f"{entry.name}.dcm"
    try:
        for instance in instances:
            with_retries(partial(server.retrieve, instance, scratch), attempts)
            sync(scratch)
            move(scratch, entry.object_path(instance.uid))
    except ServerError as e:
        for path in entry.objects:  # the server still has them
            path.unlink()
        queue.fail(entry, str(e), f"Study Instance UID {study}")
        raise
    finally:
        scratch.unlink(missing_ok=True)
    queue.submit(entry)
