# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Refuses requests that are too large or come from the page of another server."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def is_local(host: str) -> bool:
    """Whether a name or an address, with or without a port, means this machine alone."""
    try:
        name = host if host.count(":") > 1 and "[" not in host else urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware: refuses bodies above a size (413) and foreign origins and hosts (403).

    A browser sends the POST of any page to this server and states the page's origin, which must be this server's own or
    an allowed one. An attacker may also point a host name of theirs at this machine (DNS rebinding): a server for this
    machine alone therefore answers only to the names of this machine.

    Args:
        app: what it guards.
        most_bytes: largest body.
        origins: allowed beside the server's own, such as "http://viewer.hospital.example".
        local: whether the server is for this machine alone.
    """

    def __init__(self, app: ASGIApp, most_bytes: int, origins: Collection[str], local: bool) -> None:
        self.app = app
        self.most_bytes = most_bytes
        self.origins = {origin.rstrip("/") for origin in origins}
        self.local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refuse(headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        taken, started, refused = 0, False, False

        async def counted() -> Message:
            nonlocal taken, refused
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.most_bytes:
                refused = True
                raise ClientDisconnect
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            if refused and not started:
                return  # whatever the app makes of a body that ends too early
            started = True
            await send(message)

        try:
            await self.app(scope, counted, watched)
        except ClientDisconnect:
            pass
        if refused and not started:
            await self._too_large()(scope, receive, send)

    def _refuse(self, headers: Headers) -> JSONResponse | None:
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.most_bytes:
            return self._too_large()
        host = headers.get("host", "")
        if self.local and not is_local(host):
            return JSONResponse({"detail": "this server answers to localhost only."}, 403)
        origin = headers.get("origin")
        if origin is None or origin in self.origins or origin.partition("://")[2] == host:
            return None
        return JSONResponse({"detail": "requests from this origin are not allowed; see --origin."}, 403)

    def _too_large(self) -> JSONResponse:
        return JSONResponse({"detail": f"the request is larger than {self.most_bytes >> 20} MB."}, 413)
