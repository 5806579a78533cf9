# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A DICOMweb server: what it has (QIDO-RS), to files on disk (WADO-RS), and results into it (STOW-RS)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import requests
from dicomweb_client import DICOMwebClient

from pe_monai.dicom.sop_classes import ULTRASOUND
from pe_monai.services.login import check_url, plain_errors, status_error
from pe_monai.services.multipart import save_part
from pe_monai.services.retry import ServerError

PAGE = 200
_UID = re.compile(r"[0-9.]{1,64}")
_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'  # as it is stored, not encoded again


@dataclass(frozen=True)
class Instance:
    """An object on a server."""

    study: str
    series: str
    uid: str


class DICOMwebServer:
    """A server, asked once for everything; the caller repeats what may pass.

    Searching and storing is dicomweb-client's. Retrieving is not: it would hold a clip in memory several times and take
    one that broke off for whole.

    Args:
        url: such as https://host/dicom-web.
        session: with login and certificates.
        timeout: seconds that the server may be silent.
        size_limit: bytes that an object may have.

    Raises:
        ServerError: the address cannot be used.
    """

    def __init__(self, url: str, session: requests.Session, timeout: float = 60, size_limit: int = 2 << 30) -> None:
        self.name = check_url(url)
        self._session, self._timeout, self._limit = session, timeout, size_limit
        # one chunk: a body sent in chunks would be empty if sent again, and not every server takes one
        self._client = DICOMwebClient(self.name, session, chunk_size=1 << 40, timeout=timeout, permissive_uid=True)
        self._client.set_http_retry_params(retry=False)

    def find_studies(self, filters: Mapping[str, str]) -> list[str]:
        """Study Instance UIDs of the ultrasound studies that match.

        Args:
            filters: values of DICOM keywords, such as ``{"StudyDate": "20240101-"}``.
        """
        wanted = {"ModalitiesInStudy": "US", **filters}
        found = self._pages(lambda **page: self._client.search_for_studies(search_filters=wanted, **page))
        return list(dict.fromkeys(_uid(item, "0020000D", self.name) for item in found))

    def find_instances(self, study: str) -> list[Instance]:
        """The ultrasound objects of a study; none where it has none, or is not there."""
        instances = []
        for series in self._pages(lambda **page: self._client.search_for_series(study, **page)):
            if _value(series, "00080060") not in ("US", ""):
                continue
            uid = _uid(series, "0020000E", self.name)
            search = self._client.search_for_instances
            for item in self._pages(lambda search=search, uid=uid, **page: search(study, uid, **page)):
                if _value(item, "00080016") in (*ULTRASOUND, ""):
                    instances.append(Instance(study, uid, _uid(item, "00080018", self.name)))
        return sorted(instances, key=lambda instance: instance.uid)

    def retrieve(self, instance: Instance, path: Path) -> Path:
        """An object, byte for byte as the server sends it, streamed to a file.

        Raises:
            ServerError: it did not come, or not whole.
        """
        parts = zip(("studies", "series", "instances"), (instance.study, instance.series, instance.uid), strict=True)
        url = "/".join((self.name, *(f"{kind}/{uid}" for kind, uid in parts)))
        headers = {"Accept": _ACCEPT, "Accept-Encoding": "identity"}
        with (
            plain_errors(self.name),
            self._session.get(url, headers=headers, stream=True, timeout=self._timeout) as answer,
        ):
            if answer.status_code != 200:
                raise status_error(self.name, answer)
            save_part(answer, path, self._limit, self.name)
        try:
            got = str(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
        except Exception:
            raise ServerError(f"{self.name}: sent something that is no DICOM object.") from None
        if got != instance.uid:
            raise ServerError(f"{self.name}: sent another object than the one asked for.", lasting=True)
        return path

    def send(self, paths: Sequence[Path]) -> Iterator[tuple[Path, str | None]]:
        """Store DICOM files that are not there yet; see :class:`pe_monai.services.work.Destination`."""
        for path in paths:
            dataset = pydicom.dcmread(path)
            refusal = None if self._has(dataset) else self._store(dataset)
            yield path, refusal

    def _has(self, dataset: pydicom.Dataset) -> bool | None:
        """Whether an object is there; None where the server does not let one ask."""
        filters = {"SOPInstanceUID": dataset.SOPInstanceUID}
        study, series = dataset.StudyInstanceUID, dataset.SeriesInstanceUID
        try:
            with plain_errors(self.name):
                found = self._client.search_for_instances(study, series, search_filters=filters)
        except ServerError as e:
            if e.lasting:
                return None
            raise
        return any(_value(item, "00080018") == dataset.SOPInstanceUID for item in found)

    def _store(self, dataset: pydicom.Dataset) -> str | None:
        """Store an object; returns why the server will never take it."""
        try:
            with plain_errors(self.name):
                try:
                    answer = self._client.store_instances([dataset])
                except requests.HTTPError as e:
                    if e.response.status_code != 409:  # 409: nothing stored, and the body says why
                        raise
                    answer = pydicom.Dataset.from_json(e.response.json())
                    if not answer.get("FailedSOPSequence"):
                        return f"{self.name}: refused it (409)."
        except (ValueError, TypeError, KeyError, AttributeError) as e:
            if isinstance(e, OSError):
                raise
            raise ServerError(f"{self.name}: its answer to a stored object cannot be read.") from None
        failed = answer.get("FailedSOPSequence") or []
        if not failed:
            # of an answer that is no DICOM, such as a page to log in at, the client makes one without failures
            if not answer.get("ReferencedSOPSequence") and self._has(dataset) is False:
                raise ServerError(f"{self.name}: did not say that it stored an object, and does not have it.")
            return None
        return f"{self.name}: refused it (failure reason 0x{int(failed[0].get('FailureReason') or 0):04X})."

    def _pages(self, search: Callable[..., list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """All results of a search, page by page; a server that knows no pages answers the same again."""
        found: list[dict[str, Any]] = []
        while True:
            with plain_errors(self.name):
                page = search(limit=PAGE, offset=len(found))
            if not isinstance(page, list) or not all(isinstance(item, dict) for item in page):
                raise ServerError(f"{self.name}: answered something else than DICOM JSON; check --url.")
            if not page or page[0] in found:
                return found
            found += page
            if len(page) < PAGE:
                return found


def _value(item: Mapping[str, Any], tag: str) -> str:
    values = (item.get(tag) or {}).get("Value") or [""]
    return str(values[0])


def _uid(item: Mapping[str, Any], tag: str, server: str) -> str:
    uid = _value(item, tag)
    if not _UID.fullmatch(uid):
        raise ServerError(f"{server}: answered a search without valid identifiers.", lasting=True)
    return uid
