# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The receiver: what was acknowledged is processed, however the association ends."""

from __future__ import annotations

import errno
import socket
import struct
import threading
import time

import pytest
from service_stubs import MULTI_FRAME, ultrasound

pytest.importorskip("pynetdicom", reason="needs the extra 'dicom'")

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian  # noqa: E402
from pynetdicom import AE, dimse_messages  # noqa: E402
from pynetdicom.sop_class import Verification  # noqa: E402

from pe_monai.services.listen import Receiver  # noqa: E402
from pe_monai.services.queue import StudyQueue  # noqa: E402


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_full_disk_does_not_hold_back_what_was_acknowledged(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    sender = AE("SENDER")
    sender.add_requested_context(MULTI_FRAME, ExplicitVRLittleEndian)
    sender.dimse_timeout = sender.network_timeout = 1  # enough for the first answer on a busy machine
    with StudyQueue(tmp_path / "queue") as queue, Receiver(queue, "PE_MONAI", ("127.0.0.1", 0)) as receiver:
        association = sender.associate("127.0.0.1", receiver.port, ae_title="PE_MONAI")
        assert association.send_c_store(ultrasound("1.2.3", 1)).Status == 0
        monkeypatch.setattr(dimse_messages, "NamedTemporaryFile", full)
        assert "Status" not in association.send_c_store(ultrasound("1.2.3", 2))
        association.abort()
        for other in list(receiver._visits):
            other.join(5)
        receiver.tidy()
        assert [len(entry.objects) for entry in queue.entries("incoming")] == [1]


def echo(receiver: Receiver) -> int | None:
    caller = AE("SENDER")
    caller.add_requested_context(Verification)
    association = caller.associate("127.0.0.1", receiver.port, ae_title="PE_MONAI")
    if not association.is_established:
        return None
    status = association.send_c_echo().get("Status")
    association.release()
    return status


def test_deflated_objects_are_not_taken(tmp_path):
    sender = AE("SENDER")
    sender.add_requested_context(MULTI_FRAME, DeflatedExplicitVRLittleEndian)
    sender.add_requested_context(MULTI_FRAME, [DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian])
    with StudyQueue(tmp_path / "queue") as queue, Receiver(queue, "PE_MONAI", ("127.0.0.1", 0)) as receiver:
        association = sender.associate("127.0.0.1", receiver.port, ae_title="PE_MONAI")
        taken = [context.transfer_syntax for context in association.accepted_contexts]
        association.release()
    assert taken == [[ExplicitVRLittleEndian]]


def drip(peer: socket.socket) -> None:
    try:
        while True:
            peer.sendall(b"a")
            time.sleep(0.1)
    except OSError:
        pass  # given up, as it should be


@pytest.mark.parametrize("how", ["stops", "drips", "announces gigabytes"])
def test_peers_that_break_off_within_a_message_hold_nobody_up(tmp_path, how):
    length = 0xFFFFFFF0 if how == "announces gigabytes" else 4096
    with StudyQueue(tmp_path / "queue") as queue, Receiver(queue, "PE_MONAI", ("127.0.0.1", 0)) as receiver:
        receiver._ae.network_timeout = receiver._ae.acse_timeout = 1
        peers = [socket.create_connection(("127.0.0.1", receiver.port)) for _ in range(12)]
        for peer in peers:
            peer.sendall(struct.pack(">BBL", 1, 0, length) + b"half")
            if how == "drips":
                threading.Thread(target=drip, args=(peer,), daemon=True).start()
        end_by = time.monotonic() + 10
        while (status := echo(receiver)) is None and time.monotonic() < end_by:
            time.sleep(0.2)
        for peer in peers:
            peer.close()
    assert status == 0
