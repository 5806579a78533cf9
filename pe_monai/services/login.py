# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A session with a DICOMweb server: login, TLS, and what its failures mean."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.exceptions import ReadTimeoutError

from pe_monai.services.deadline import DeadlineAdapter
from pe_monai.services.retry import ServerError

PASSWORD_VARIABLE, TOKEN_VARIABLE = "PE_MONAI_DICOMWEB_PASSWORD", "PE_MONAI_DICOMWEB_TOKEN"
_PASSING = (408, 425, 429)


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def read_login(user: str | None, password_file: str | None, token_file: str | None) -> AuthBase | None:
    """The login, its secret from a file or the environment, never from the command line.

    Args:
        user: whose password is in the file or in PE_MONAI_DICOMWEB_PASSWORD.
        password_file: holds nothing but the password.
        token_file: holds nothing but a bearer token; else PE_MONAI_DICOMWEB_TOKEN.

    Returns:
        Basic or bearer authentication; None without a user and a token.

    Raises:
        ServerError: a user without a password, a password without a user, or both kinds of login.
        OSError: a file cannot be read.
    """
    token = _secret(token_file, TOKEN_VARIABLE)
    if user is None:
        if password_file is not None:
            raise ServerError("--password-file needs --user.", lasting=True)
        return _Bearer(token) if token else None
    if token_file is not None:
        raise ServerError("--user and --token-file are two kinds of login; give one.", lasting=True)
    password = _secret(password_file, PASSWORD_VARIABLE)
    if password is None:
        raise ServerError(f"--user needs --password-file, or a password in {PASSWORD_VARIABLE}.", lasting=True)
    return HTTPBasicAuth(user.encode(), password.encode())


def open_session(login: AuthBase | None, ca_file: str | None = None, verify: bool = True) -> requests.Session:
    """A session that reads no settings of the environment: no .netrc, no proxy, no other certificates.

    No answer takes it longer than an hour.

    Args:
        login: see :func:`read_login`.
        ca_file: PEM file of the authorities to trust in place of the usual ones.
        verify: False accepts any certificate.

    Raises:
        OSError: there is no such file.
    """
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, DeadlineAdapter())
    session.trust_env = False
    session.auth = login
    if ca_file is not None:
        with open(ca_file, "rb"):
            session.verify = ca_file
    if not verify:
        import urllib3

        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        session.verify = False
    return session


def check_url(url: str) -> str:
    """A server's address without a login in it.

    Raises:
        ServerError: it is no address of a web server, or holds a login.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ServerError("--url must be like https://host:port/dicom-web.", lasting=True)
    if parts.username or parts.password:
        raise ServerError("--url must not hold a login; use --user and --password-file.", lasting=True)
    return url.rstrip("/")


def is_exposed(url: str, insecure: bool) -> bool:
    """Whether others could read or change what goes to a server and comes from it."""
    parts = urlsplit(url)
    return insecure if parts.scheme == "https" else parts.hostname not in ("localhost", "127.0.0.1", "::1")


@contextlib.contextmanager
def plain_errors(server: str) -> Iterator[None]:
    """Say what went wrong with a server in one line, without the identifiers that its addresses hold.

    Args:
        server: how to call it.

    Raises:
        ServerError: in the place of what requests, its JSON decoder or dicomweb-client raise.
    """
    try:
        yield
    except requests.HTTPError as e:
        raise status_error(server, e.response) from None
    except requests.exceptions.SSLError:
        raise ServerError(
            f"{server}: no trusted TLS connection; give the authority of its certificate by --ca-file.", lasting=True
        ) from None
    except requests.Timeout:
        raise ServerError(f"{server}: gave no answer in time.") from None
    except requests.exceptions.JSONDecodeError:
        raise ServerError(f"{server}: answered something else than DICOM JSON; check --url.") from None
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as e:
        if isinstance(next(iter(e.args), None), ReadTimeoutError):  # within the body
            raise ServerError(f"{server}: gave no whole answer in time.") from None
        raise ServerError(f"{server}: cannot be reached, or ended the connection early.") from None
    except requests.RequestException as e:
        raise ServerError(f"{server}: failed ({type(e).__name__}).") from None


def status_error(server: str, response: requests.Response) -> ServerError:
    """What a status of 300 or more means."""
    status = response.status_code
    if status in (401, 403):
        return ServerError(f"{server}: refused the login ({status}); check user, password or token.", lasting=True)
    lasting = status < 500 and status not in _PASSING
    return ServerError(f"{server}: answered {status} {response.reason or ''}".rstrip() + ".", lasting)


def _secret(path: str | None, variable: str) -> str | None:
    if path is None:
        return os.environ.get(variable) or None
    return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
