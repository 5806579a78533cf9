# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The one part of a multipart answer, streamed to a file and known to be whole."""

from __future__ import annotations

import os
from email.message import Message
from pathlib import Path

import requests

from pe_monai.services.retry import ServerError

CHUNK = 1 << 20
_HEADER_LIMIT = 1 << 16


def save_part(answer: requests.Response, path: Path, limit: int, server: str) -> None:
    """Write the object in an answer to a file; memory stays flat.

    Args:
        answer: multipart/related with one part (PS3.18, 8.7.1); application/dicom from servers that do not wrap it.
        path: the file.
        limit: bytes that the object may have.
        server: how errors call it.

    Raises:
        ServerError: the answer is of another kind, too large, or ends before its closing boundary.
    """
    message = Message()
    message["Content-Type"] = answer.headers.get("Content-Type", "")
    kind, boundary = message.get_content_type(), message.get_boundary()
    wrapped = kind == "multipart/related" and bool(boundary)
    if not wrapped and kind != "application/dicom":
        raise ServerError(f"{server}: sent {kind} in place of a DICOM object.", lasting=True)
    head = b"" if wrapped else None  # what came before the part's content began
    size = 0
    with open(path, "wb") as file:
        for chunk in answer.iter_content(CHUNK):
            if head is not None:
                head, separator, chunk = (head + chunk).partition(b"\r\n\r\n")
                if not separator:
                    if len(head) > _HEADER_LIMIT:
                        raise ServerError(f"{server}: sent a multipart answer without parts.", lasting=True)
                    continue
                head = None
            size += len(chunk)
            if size > limit + _HEADER_LIMIT:
                raise ServerError(f"{server}: sent an object larger than {limit >> 20} MiB.", lasting=True)
            file.write(chunk)
    if wrapped:
        _cut_closing(path, f"\r\n--{boundary}--".encode(), server)


def _cut_closing(path: Path, closing: bytes, server: str) -> None:
    """Drop the closing boundary and what follows it; an answer without it broke off."""
    with open(path, "r+b") as file:
        start = max(0, file.seek(0, os.SEEK_END) - len(closing) - 4096)
        file.seek(start)
        place = file.read().rfind(closing)
        if place < 0:
            raise ServerError(f"{server}: the object broke off before its end.")
        file.truncate(start + place)
