# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A receiver of ultrasound by C-STORE that puts each association's studies into the queue."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
import pynetdicom
from pydicom import uid
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import Verification

from pe_monai.dicom.sop_classes import RETIRED_MULTI_FRAME, RETIRED_SINGLE_FRAME, ULTRASOUND
from pe_monai.services.durable import move, sync
from pe_monai.services.queue import Entry, StudyQueue

logger = logging.getLogger(__name__)
SUCCESS, OUT_OF_RESOURCES, MISMATCH, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xA900, 0xC000
RETIRED = {"RetiredUltrasoundMultiFrame": RETIRED_MULTI_FRAME, "RetiredUltrasound": RETIRED_SINGLE_FRAME}
# The first that a sender offers in one context is taken. A sender that offers several may encode again: native pixels
# first, as decoding loses nothing, lossy ones last. Deflated ones are not taken: what unpacks to a thousand times its
# size would fill the memory before anything is known of it.
TRANSFER_SYNTAXES = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.RLELossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLossless,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLSNearLossless,
    uid.JPEG2000,
    uid.HTJ2K,
)
LARGEST_PDU = 1 << 20  # bytes; pixels come in far smaller ones, as every association is told
STALE = 600  # seconds without a byte; the network's timeout is far below
_IDENTIFIERS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID")


@dataclass
class _Visit:
    """One association: its studies, and the bytes of the object that is coming in."""

    studies: dict[str, Entry] = field(default_factory=dict)
    size: int = 0


class Receiver:
    """Takes ultrasound objects and answers C-ECHO. An object is acknowledged once its file is whole on the disk.

    While it runs, pynetdicom streams objects to files, and temporary files of this process are made in the queue's
    scratch folder, so that pictures lie nowhere else.

    Args:
        queue: where studies go.
        aet: our application entity title; callers must use it.
        address: host and port to listen at; port 0 takes a free one.
        callers: titles that may send; all, if none is given.
        size_limit: bytes that an object may have.
        on_study: called when studies wait.
    """

    def __init__(
        self,
        queue: StudyQueue,
        aet: str,
        address: tuple[str, int],
        callers: Sequence[str] = (),
        size_limit: int = 2 << 30,
        on_study: Callable[[], None] = lambda: None,
    ) -> None:
        self._queue, self._limit, self._on_study = queue, size_limit, on_study
        self._visits: dict[Association, _Visit] = {}
        self._lock = threading.Lock()
        self._ae = AE(aet)
        self._ae.require_called_aet = True
        self._ae.require_calling_aet = list(callers)
        self._ae.maximum_pdu_size = 1 << 17
        self._ae.add_supported_context(Verification)
        for name, retired in RETIRED.items():
            pynetdicom.register_uid(retired, name, StorageServiceClass)
        for sop_class in ULTRASOUND:
            self._ae.add_supported_context(sop_class, list(TRANSFER_SYNTAXES))
        self._address = address

    def __enter__(self) -> Receiver:
        self._before = pynetdicom._config.STORE_RECV_CHUNKED_DATASET, tempfile.tempdir
        pynetdicom._config.STORE_RECV_CHUNKED_DATASET = True
        tempfile.tempdir = str(self._queue.scratch)
        handlers = [
            (evt.EVT_CONN_OPEN, lambda event: _limit_receiving(event.assoc.dul.socket, self._ae.network_timeout)),
            (evt.EVT_PDU_RECV, self._count),
            (evt.EVT_C_STORE, self._store),
            *((event, self._end) for event in (evt.EVT_RELEASED, evt.EVT_ABORTED, evt.EVT_CONN_CLOSE)),
        ]
        try:
            self._server = self._ae.start_server(self._address, block=False, evt_handlers=handlers)
        except OSError:
            pynetdicom._config.STORE_RECV_CHUNKED_DATASET, tempfile.tempdir = self._before
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """Take no more; what was acknowledged waits in the queue."""
        self._ae.shutdown()
        for association in list(self._visits):
            self._submit(association)
        pynetdicom._config.STORE_RECV_CHUNKED_DATASET, tempfile.tempdir = self._before

    @property
    def port(self) -> int:
        """The port it listens at."""
        return self._server.socket.getsockname()[1]

    def tidy(self) -> None:
        """Hand in what associations left that ended unheard, and remove what broken transfers left in scratch."""
        for association in list(self._visits):
            if not association.is_alive():  # a full disk kills the thread that would tell of the end
                self._submit(association)
        for path in self._queue.scratch.iterdir():
            if path.is_file() and path.stat().st_mtime < time.time() - STALE:
                path.unlink(missing_ok=True)

    def _visit(self, association: Association) -> _Visit:
        with self._lock:
            return self._visits.setdefault(association, _Visit())

    def _count(self, event: evt.Event) -> None:
        """Break off an association whose object grows too large."""
        if not isinstance(event.pdu, P_DATA_TF):
            return
        visit = self._visit(event.assoc)
        visit.size += event.pdu.pdu_length
        if visit.size > self._limit:
            logger.warning("an object of more than %d MiB was refused", self._limit >> 20)
            event.assoc.abort(block=False)

    def _store(self, event: evt.Event) -> int:
        visit = self._visit(event.assoc)
        visit.size = 0
        try:
            return self._keep(visit, event.dataset_path, event.request)
        except OSError as e:
            logger.error("an object could not be kept: %s", e.strerror)
            return OUT_OF_RESOURCES
        except Exception as e:
            logger.warning("an object could not be read (%s)", type(e).__name__)
            return NOT_UNDERSTOOD

    def _keep(self, visit: _Visit, path: Path, request: object) -> int:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_IDENTIFIERS))
        sop_class, instance, study = (str(header.get(keyword) or "") for keyword in _IDENTIFIERS)
        if not instance or not study:
            return NOT_UNDERSTOOD
        if (sop_class, instance) != (str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)):
            return MISMATCH
        if study not in visit.studies:
            visit.studies[study] = self._queue.begin()
        sync(path)
        move(path, visit.studies[study].object_path(instance))
        return SUCCESS

    def _end(self, event: evt.Event) -> None:
        self._submit(event.assoc)

    def _submit(self, association: Association) -> None:
        with self._lock:
            visit = self._visits.pop(association, _Visit())
        for entry in visit.studies.values():
            logger.info("%s: received %d objects", entry.name, len(entry.objects))
            self._queue.submit(entry)
        if visit.studies:
            self._on_study()


def _limit_receiving(connection: Any, seconds: float) -> None:
    """Have what a peer has begun to send come in time, or be given up.

    pynetdicom has a limit to the silence between messages (PDUs), but for one that broke off within it waits for ever,
    and takes one of any length into memory: ten cables pulled while a clip is sent, and nobody can send any more.
    """

    def receive(count: int) -> bytearray:
        if count > LARGEST_PDU:
            raise OSError(f"a PDU of {count} bytes, more than {LARGEST_PDU}")
        received, end_by = bytearray(), time.monotonic() + seconds
        try:
            while len(received) < count:
                connection.socket.settimeout(max(0.001, end_by - time.monotonic()))
                part = connection.socket.recv(min(count - len(received), 1 << 16))
                if not part:
                    break
                received += part
        finally:
            connection.socket.settimeout(seconds)
        return received

    connection.recv = receive
