# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Results to a DICOM node by C-STORE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association

from pe_monai.services.retry import ServerError

DUPLICATE = 0x0111  # Duplicate SOP Instance: it is there
_STORED_WITH_WARNING = (0xB000, 0xB006, 0xB007)
_MOST_CONTEXTS = 128


@dataclass(frozen=True)
class StoreNode:
    """A node that takes objects by C-STORE.

    Attributes:
        aet: its application entity title.
        host: its host.
        port: its port.
        calling_aet: our own title.
        timeout: seconds that it may be silent.
    """

    aet: str
    host: str
    port: int
    calling_aet: str = "PE_MONAI"
    timeout: float = 60

    @property
    def name(self) -> str:
        return f"{self.aet}@{self.host}:{self.port}"

    def send(self, paths: Sequence[Path]) -> Iterator[tuple[Path, str | None]]:
        """Store DICOM files there; see :class:`pe_monai.services.work.Destination`."""
        for start in range(0, len(paths), _MOST_CONTEXTS // 2):  # at most two contexts a file
            batch = paths[start : start + _MOST_CONTEXTS // 2]
            association = self._associate(batch)
            try:
                for path in batch:
                    yield path, self._store(association, path)
            finally:
                if association.is_established:
                    association.release()

    def _associate(self, paths: Sequence[Path]) -> Association:
        """An association with one presentation context for each transfer syntax.

        Were two offered in one context, the peer would choose, and a file could go out encoded as it is not stored.
        """
        ae = AE(self.calling_aet)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = self.timeout
        syntaxes = set()
        for path in paths:
            meta = pydicom.filereader.read_file_meta_info(path)
            sop_class, syntax = meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID
            syntaxes.add((sop_class, syntax))
            if not syntax.is_compressed:  # each node must take this one
                syntaxes.add((sop_class, ImplicitVRLittleEndian))
        for sop_class, syntax in sorted(syntaxes):
            ae.add_requested_context(sop_class, syntax)
        association = ae.associate(self.host, self.port, ae_title=self.aet)
        if association.is_established:
            return association
        if association.is_rejected:
            answer = association.acceptor.primitive
            reason = f"{answer.reason_str}" if answer is not None else "no reason given"
            lasting = answer is None or answer.result == 1
            raise ServerError(f"{self.name}: rejected the association ({reason.lower()}); check the titles.", lasting)
        raise ServerError(f"{self.name}: cannot be reached, or takes none of the results' SOP classes.")

    def _store(self, association: Association, path: Path) -> str | None:
        """Store one file; returns why the node will never take it."""
        if not association.is_established:
            raise ServerError(f"{self.name}: ended the association early.")
        try:
            status = association.send_c_store(path).get("Status")
        except ValueError:
            return f"{self.name}: takes no objects of this SOP class and transfer syntax."
        except RuntimeError:
            raise ServerError(f"{self.name}: ended the association early.") from None
        if status is None:
            raise ServerError(f"{self.name}: gave no answer in time, or ended the association.")
        if status in (0, DUPLICATE, *_STORED_WITH_WARNING):
            return None
        if status & 0xFF00 == 0xA700:
            raise ServerError(f"{self.name}: is out of resources (0x{status:04X}).")
        return f"{self.name}: refused it (status 0x{status:04X})."
