# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI Label's login: a realm of our own that speaks as Keycloak does, and a server that asks it."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from label_service import Server, chromium, fill, keep, serve

PASSWORDS = {"ann": ("secret", ["monailabel-annotator", "monailabel-user"]), "visitor": ("visit", [])}
# a login that does not arrive, and a request from before it that is refused only after it
LATE = """
const ask = window.fetch;
let lost = false;
window.fetch = (path, options) => {
  if (path === "auth/token" && !lost) {
    lost = true;
    return Promise.reject(new TypeError("Failed to fetch"));
  }
  if (path !== "effusion/status" || window.late) return ask(path, options);
  return new Promise((resolve) => (window.late = () => resolve(new Response("", { status: 401 }))));
};
import("/page/api.js").then((api) => api.get("effusion/status").then((status) => (window.told = status.version)));
"""
pytest.importorskip("monailabel", reason="MONAI Label is not installed; see constraints-label.txt")


def key_pair() -> tuple[bytes, str]:
    """A private key and, as a realm shows it, the public one."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, base64.b64encode(public).decode()


def token(private: bytes, user: str, roles: list[str], seconds: float = 300) -> str:
    import jwt

    claims = {"preferred_username": user, "realm_access": {"roles": roles}, "exp": time.time() + seconds}
    return jwt.encode(claims, private, "RS256")


@pytest.fixture(scope="module")
def keys() -> tuple[bytes, str]:
    return key_pair()


@pytest.fixture(scope="module")
def realm(keys) -> Iterator[str]:
    private, public = keys

    class Realm(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = {
                "/realms/echo": {"realm": "echo", "public_key": public},
                "/realms/echo/.well-known/openid-configuration": {"token_endpoint": f"{url}/token"},
            }
            self.answer(200 if self.path in known else 404, known.get(self.path, {}))

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            user, password = form["username"][0], form["password"][0]
            if user == "late":
                time.sleep(6)
            if user == "broken":
                return self.answer(500, {})
            expected, roles = PASSWORDS.get(user, (None, []))
            if password != expected:
                return self.answer(401, {"error": "invalid_grant"})
            self.answer(200, {"access_token": token(private, user, roles), "token_type": "Bearer"})

        def answer(self, code: int, body: dict) -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_) -> None: ...

    service = ThreadingHTTPServer(("127.0.0.1", 0), Realm)
    url = f"http://127.0.0.1:{service.server_port}/realms/echo"
    threading.Thread(target=service.serve_forever, daemon=True).start()
    yield url
    service.shutdown()


@pytest.fixture(scope="module")
def guarded(realm, tmp_path_factory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("login")
    settings = {"MONAI_LABEL_AUTH_ENABLE": "true", "MONAI_LABEL_AUTH_REALM_URI": realm}
    with serve(fill(root / "studies"), root / "log.txt", **settings) as server:
        yield server


def log_in(server: Server, user: str, password: str):
    import requests

    return requests.post(f"{server.url}/auth/token", {"username": user, "password": password}, timeout=30)


def frames(server: Server, bearer: str | None):
    import requests

    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    return requests.get(f"{server.url}/effusion/frames", headers=headers, timeout=30)


def test_nothing_but_the_page_is_answered_without_a_login(guarded):
    import requests

    described = requests.get(f"{guarded.url}/openapi.json", timeout=30).json()["paths"]
    open_to_all = {"/auth/", "/auth/token"}
    tried = 0
    for path, methods in described.items():
        for method in set(methods) - {"head"}:
            if path in open_to_all:
                continue
            filled = path.format(**dict.fromkeys(("model", "strategy", "session_id", "task", "method"), "effusion"))
            for headers in ({}, {"Authorization": "Bearer nonsense"}):
                answer = requests.request(method, guarded.url + filled, headers=headers, timeout=30)
                assert answer.status_code == 401, (method, path, answer.status_code)
            tried += 1
    assert tried > 15
    assert "dialog" in requests.get(guarded.url, timeout=30).text


@pytest.mark.parametrize(
    "claims",
    [{"preferred_username": "new"}, {"preferred_username": "new", "realm_access": None}, {"realm_access": {}}],
)
def test_a_token_without_roles_or_name_opens_nothing(guarded, keys, claims):
    import jwt

    answer = frames(guarded, jwt.encode({**claims, "exp": time.time() + 300}, keys[0], "RS256"))
    assert answer.status_code == 403 and "role" in answer.json()["detail"]


def test_a_login_opens_what_its_roles_allow(guarded):
    answer = log_in(guarded, "ann", "secret")
    assert answer.status_code == 200
    shown = frames(guarded, answer.json()["access_token"])
    assert shown.status_code == 200 and len(shown.json()["frames"]) > 3
    visitor = log_in(guarded, "visitor", "visit").json()["access_token"]
    assert frames(guarded, visitor).status_code == 403


def test_an_inference_saves_labels_only_for_who_may_save_them(guarded, keys):
    import requests

    for roles, code in ((["monailabel-user"], 403), (PASSWORDS["ann"][1], 200)):
        answer = requests.post(
            f"{guarded.url}/infer/effusion?image=stilla_001&output=json",
            data={"params": json.dumps({"save_label": True, "label_tag": "final"})},
            headers={"Authorization": f"Bearer {token(keys[0], 'ann', roles)}"},
            timeout=60,
        )
        assert answer.status_code == code
        assert (guarded.folder / "labels/final/stilla_001.png").exists() == (code == 200)


def test_tokens_that_ran_out_or_that_the_realm_did_not_sign_are_refused(guarded, keys):
    roles = PASSWORDS["ann"][1]
    assert frames(guarded, token(keys[0], "ann", roles)).status_code == 200
    assert frames(guarded, token(keys[0], "ann", roles, seconds=-60)).status_code == 401
    assert frames(guarded, token(key_pair()[0], "ann", roles)).status_code == 401
    unsigned = token(keys[0], "ann", roles).rsplit(".", 1)[0] + "."
    assert frames(guarded, unsigned).status_code == 401


def test_a_login_that_fails_says_why(guarded):
    wrong = log_in(guarded, "ann", "guess")
    assert wrong.status_code == 401 and "password" in wrong.json()["detail"]
    broken = log_in(guarded, "broken", "x")
    assert broken.status_code == 502 and "realm" in broken.json()["detail"]
    assert "guess" not in guarded.log.read_text()


def test_a_realm_that_hangs_holds_up_nobody_else(guarded):
    late: list[int] = []
    asking = threading.Thread(target=lambda: late.append(log_in(guarded, "late", "x").status_code))
    asking.start()
    time.sleep(1)
    begin = time.monotonic()
    assert log_in(guarded, "ann", "secret").status_code == 200
    assert time.monotonic() - begin < 4
    asking.join()
    assert late == [401]


@pytest.mark.slow
def test_the_page_asks_for_a_login_until_it_is_right(guarded, keys):
    browser = chromium()
    from selenium.webdriver.support.ui import WebDriverWait

    try:
        browser.get(guarded.url)
        dialog = browser.find_element("id", "login")
        for password in ("guess", "secret"):
            WebDriverWait(browser, 20).until(lambda _: dialog.is_displayed())
            browser.find_element("id", "user").clear()
            browser.find_element("id", "user").send_keys("ann")
            browser.find_element("id", "password").send_keys(password)
            dialog.find_element("tag name", "button").click()
            if password == "guess":
                WebDriverWait(browser, 20).until(lambda _: "password" in browser.find_element("id", "refused").text)
            keep(browser, f"login_{password}")
        WebDriverWait(browser, 20).until(lambda _: browser.find_elements("css selector", '[data-id="stillb_001"]'))
        assert not dialog.is_displayed()

        ran_out = token(keys[0], "ann", PASSWORDS["ann"][1], seconds=-60)
        browser.execute_script("sessionStorage.setItem('token', arguments[0])", ran_out)
        browser.refresh()
        dialog = browser.find_element("id", "login")
        WebDriverWait(browser, 20).until(lambda _: dialog.is_displayed())
        browser.execute_script(LATE)
        for expected in ("does not answer", ""):
            browser.find_element("id", "user").clear()
            browser.find_element("id", "user").send_keys("ann")
            browser.find_element("id", "password").send_keys("secret")
            dialog.find_element("tag name", "button").click()
            if expected:
                WebDriverWait(browser, 20).until(lambda _: expected in browser.find_element("id", "refused").text)  # noqa: B023
        WebDriverWait(browser, 20).until(lambda _: browser.find_elements("css selector", '[data-id="stillb_001"]'))
        browser.execute_script("late()")
        WebDriverWait(browser, 20).until(lambda _: browser.execute_script("return window.told") == "shipped")
        assert not dialog.is_displayed()
        assert browser.execute_script("return document.getElementById('refused').textContent") == ""
    finally:
        browser.quit()
