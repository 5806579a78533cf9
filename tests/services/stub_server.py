# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A DICOMweb server over real HTTP, with a login, that can be told to misbehave."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections import Counter, defaultdict
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import parse_qs, urlsplit

import pydicom
from pydicom import Dataset
from service_stubs import to_bytes

LOGIN = "reader:geheim"


class StubServer:
    """Objects by archive (the first part of the path), each archive by SOP Instance UID.

    Attributes:
        faults: faults of the requests to come, by kind of request ("search", "retrieve", "store", "ask"): each is a
            list that is used up from its front. A fault is a status, "half" (body breaks off), "short" (breaks off
            without a length given), "silent" (no answer), "slow" and "slow head" (byte by byte), "html" or
            "list" (JSON that is no object).
        stored: how often each object was stored, by archive.
        seen: requests by kind.
    """

    def __init__(self, paging: bool = True) -> None:
        self.archives: dict[str, dict[str, bytes]] = defaultdict(dict)
        self.faults: dict[str, list] = defaultdict(list)
        self.stored: dict[str, Counter] = defaultdict(Counter)
        self.seen: Counter = Counter()
        self.paging = paging
        self.lock = threading.Lock()
        self.over = threading.Event()
        handler = type("Handler", (_Handler,), {"stub": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True

    def __enter__(self) -> StubServer:
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.http.shutdown()
        self.http.server_close()

    def url(self, archive: str = "main") -> str:
        return f"http://127.0.0.1:{self.http.server_port}/{archive}"

    def add(self, *datasets: Dataset, archive: str = "main") -> None:
        for dataset in datasets:
            self.archives[archive][str(dataset.SOPInstanceUID)] = to_bytes(dataset)


class _Handler(BaseHTTPRequestHandler):
    stub: StubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        archive, *path = parts.path.strip("/").split("/")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        kind = "retrieve" if len(path) == 6 else "ask" if "SOPInstanceUID" in query else "search"
        if self._fails(kind):
            return
        datasets = [pydicom.dcmread(BytesIO(data)) for data in list(self.stub.archives[archive].values())]
        if kind == "retrieve":
            return self._part(self.stub.archives[archive].get(path[5]))
        keys = {2: "StudyInstanceUID", 4: "SeriesInstanceUID", 6: "SOPInstanceUID"}
        for length, value in zip((2, 4), path[1::2], strict=False):
            datasets = [dataset for dataset in datasets if dataset[keys[length]].value == value]
        level = keys[len(path) + 1]
        found = {}
        for dataset in datasets:
            if query.get("SOPInstanceUID", dataset.SOPInstanceUID) != dataset.SOPInstanceUID:
                continue
            since = query.get("StudyDate", "").rstrip("-")
            if since and dataset.get("StudyDate", "") < since:
                continue
            if query.get("ModalitiesInStudy", dataset.Modality) != dataset.Modality:
                continue
            item = Dataset()
            for keyword in (level, "Modality", *(["SOPClassUID"] if level == "SOPInstanceUID" else [])):
                item[keyword] = dataset[keyword]
            found.setdefault(dataset[level].value, item.to_json_dict())
        items = list(found.values())
        if self.stub.paging and "limit" in query:
            items = items[int(query["offset"]) :][: int(query["limit"])]
        self._answer(200, json.dumps(items).encode(), "application/dicom+json")

    def do_POST(self) -> None:
        archive = urlsplit(self.path).path.strip("/").split("/")[0]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._fails("store"):
            return
        message = BytesParser().parsebytes(
            b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + body
        )
        boundary = b"--" + message.get_boundary().encode()
        for part in body.split(boundary)[1:-1]:
            data = part.partition(b"\r\n\r\n")[2][:-2]
            uid = str(pydicom.dcmread(BytesIO(data)).SOPInstanceUID)
            with self.stub.lock:
                self.stub.archives[archive][uid] = data
                self.stub.stored[archive][uid] += 1
        self._answer(200, b"{}", "application/dicom+json")

    def _fails(self, kind: str) -> bool:
        with self.stub.lock:
            self.stub.seen[kind] += 1
            fault = self.stub.faults[kind].pop(0) if self.stub.faults[kind] else None
        login = self.headers.get("Authorization", "")
        if login not in ("Basic " + base64.b64encode(LOGIN.encode()).decode(), "Bearer geheim"):
            fault = 401
        if fault == 409:
            item = Dataset()
            failed = Dataset()
            failed.FailureReason = 0xA900
            item.FailedSOPSequence = [failed]
            self._answer(409, json.dumps(item.to_json_dict()).encode(), "application/dicom+json")
        elif isinstance(fault, int):
            self._answer(fault, b"no", "text/plain")
        elif fault == "html":
            self._answer(200, b"<html>log in here</html>", "text/html")
        elif fault == "list":
            self._answer(200, b"[]", "application/dicom+json")
        elif fault == "silent":
            self.stub.over.wait(5)
            self.close_connection = True
        elif fault in ("slow", "slow head"):
            self.send_response(200)
            self.send_header("Content-Type", 'multipart/related; type="application/dicom"; boundary=limit')
            if fault == "slow":
                self.end_headers()
            else:
                self.flush_headers()
            while not self.stub.over.wait(0.1):
                with contextlib.suppress(OSError):  # who asked has gone
                    self.wfile.write(b"-")
            self.close_connection = True
        elif fault in ("half", "short"):
            self._half = fault
            return kind != "retrieve" and bool(self._broken(b"[" + b" " * 1000, "application/dicom+json"))
        return fault is not None and fault not in ("half", "short")

    _half: str | None = None

    def _part(self, data: bytes | None) -> None:
        if data is None:
            return self._answer(404, b"", "text/plain")
        body = b"--limit\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--limit--\r\n"
        kind = 'multipart/related; type="application/dicom"; boundary=limit'
        if self._half:
            self._broken(body, kind)
        else:
            self._answer(200, body, kind)

    def _broken(self, body: bytes, kind: str) -> bool:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if self._half == "half":
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.close_connection, self._half = True, None
        return True

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        time.sleep(0)
