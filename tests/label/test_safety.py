# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a server must not do, whoever asks: tried over HTTP."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import tarfile
import threading
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from label_service import fill, png, serve
from PIL import Image

requests = pytest.importorskip("requests")


@pytest.fixture
def outside(label_server):
    """A frame that lies beside the folder, not in it."""
    path = label_server.folder.parent / "outside.png"
    path.write_bytes((label_server.folder / "stilla_001.png").read_bytes())
    return path


def test_no_path_of_a_request_is_opened(label_server, outside):
    url = label_server.url
    for name in (str(outside), f"../{outside.name}", "../outside", "/etc/passwd", "%2e%2e/outside", "beat@099", ""):
        for method, path in (
            ("post", "/infer/effusion"),
            ("get", "/datastore/image"),
            ("get", "/datastore/image/info"),
            ("get", "/effusion/frame"),
        ):
            answer = requests.request(method, url + path, params={"image": name}, data={"params": "{}"}, timeout=60)
            assert answer.status_code in (400, 404), (method, path, name)
        label = requests.get(f"{url}/datastore/label", params={"label": name, "tag": "final"}, timeout=60)
        assert label.status_code == 404
        put = requests.put(
            f"{url}/datastore/label", params={"image": name}, files={"label": ("x.png", b"x")}, timeout=60
        )
        assert put.status_code == 404


@pytest.mark.parametrize("key", ["image", "upload", "prior", "model", "session"])
def test_parameters_cannot_put_a_path_into_a_request(label_server, outside, key):
    address = f"{label_server.url}/infer/effusion?image=stillb_001&output=image"
    plain = requests.post(address, data={"params": "{}"}, timeout=60)
    tricked = requests.post(address, data={"params": json.dumps({key: str(outside)})}, timeout=60)
    assert tricked.ok and tricked.content == plain.content


def test_results_and_tags_stay_where_they_belong(label_server):
    url = label_server.url
    wanted = {"result_extension": "/../../../tmp/x.png", "save_label": True, "label_tag": "refused"}
    data = {"params": json.dumps(wanted)}
    assert requests.post(f"{url}/infer/effusion?image=stillb_001", data=data, timeout=60).status_code == 400
    assert not (label_server.folder / "labels/refused").exists()
    body = png(np.zeros((224, 320), np.uint8))
    for tag in ("../evil", "..", "a/b", "/tmp", ".hidden", "x" * 100):
        put = requests.put(
            f"{url}/datastore/label",
            params={"image": "stillb_001", "tag": tag},
            files={"label": ("x.png", body)},
            timeout=60,
        )
        assert put.status_code == 400
        get = requests.get(f"{url}/datastore/label", params={"label": "stillb_001", "tag": tag}, timeout=60)
        assert get.status_code == 404


def test_requests_that_open_or_change_other_things_are_gone(label_server):
    url = label_server.url
    for method, path in (
        ("get", "/proxy/dicom/studies"),
        ("post", "/infer/wsi/effusion?image=/etc/passwd"),
        ("get", "/logs/"),
        ("put", "/model/effusion"),
        ("delete", "/model/effusion"),
        ("post", "/reload"),
        ("get", "/page/..%2fapp.py"),
        ("get", "/page/app.py"),
        ("get", "/static/../main.py"),
    ):
        assert requests.request(method, url + path, timeout=60).status_code in (404, 405), path
    for method, path in (("put", "/datastore/image"), ("delete", "/datastore/image?id=stilla_001")):
        files = {"file": ("new.png", b"x")} if method == "put" else None
        assert requests.request(method, url + path, files=files, timeout=60).status_code == 403
    assert (label_server.folder / "stilla_001.png").exists()


def test_a_link_out_of_the_folder_is_no_frame_though_it_takes_ones_place(label_server, outside):
    url, frame, kept = label_server.url, label_server.folder / "stillc_001.png", outside.with_name("kept.png")
    frame.rename(kept)
    frame.symlink_to(kept)
    try:
        for address in ("effusion/frame", "datastore/image", "datastore/image/info"):
            answer = requests.get(f"{url}/{address}?image=stillc_001", timeout=60)
            assert answer.status_code == 400 and "link out of the folder" in answer.json()["detail"]
        assert requests.post(f"{url}/infer/effusion?image=stillc_001", timeout=60).status_code == 400
    finally:
        frame.unlink()
        kept.rename(frame)


def test_the_list_to_train_by_does_not_tell_where_the_folder_is(label_server):
    url, body = label_server.url, png(np.zeros((224, 320), np.uint8))
    for name in ("stillc_001", "beat@002"):
        put = requests.put(f"{url}/datastore/label?image={name}", files={"label": ("x.png", body)}, timeout=60)
        assert put.ok
    answer = requests.get(f"{url}/datastore/?output=train", timeout=60)
    assert {"image": "beat@002.png", "label": "beat@002.png"} in answer.json()
    assert "/" not in answer.text
    for name in ("stillc_001", "beat@002"):
        assert requests.delete(f"{url}/datastore/label?id={name}&tag=final", timeout=60).ok


def test_bad_requests_are_no_errors_of_the_server(label_server):
    url = label_server.url
    for path, data in (
        ("/infer/none?image=stilla_001", {"params": "{}"}),
        ("/infer/effusion?image=stilla_001", {"params": "no json"}),
        ("/infer/effusion?image=stilla_001", {"params": "[1]"}),
        ("/infer/effusion?image=stilla_001", {"params": "[" * 50000}),
        ("/infer/effusion", {"params": "{}"}),
        ("/infer/effusion?session_id=../../etc", {"params": "{}"}),
        ("/activelearning/none", {}),
        ("/train/none", {}),
        ("/scoring/none", {}),
        ("/batch/infer/none", {}),
    ):
        assert 400 <= requests.post(url + path, data=data, timeout=60).status_code < 500, path
    for name, body in (
        ("a.png", b"no picture"),
        ("a.nii.gz", b"x"),
        ("a.dcm", b"x" * 200),
        ("a.exe", b"MZ"),
        ("a", b""),
    ):
        answer = requests.post(f"{url}/infer/effusion", data={"params": "{}"}, files={"file": (name, body)}, timeout=60)
        assert 400 <= answer.status_code < 500, name
        assert "/tmp" not in answer.text and "Traceback" not in answer.text
    for wanted in ({"image": "stilla_001", "mask": "AAAA"}, {"image": "stilla_001", "foreground": [[1, 2, 3]]}, {}):
        answer = requests.post(f"{url}/effusion/outline", json={"foreground": [[1, 1]], **wanted}, timeout=60)
        assert 400 <= answer.status_code < 500, wanted


@pytest.mark.parametrize("task", ["train/effusion", "train/", "batch/infer/effusion", "scoring/epistemic"])
@pytest.mark.parametrize(
    "asked",
    [
        {"bundle_path": "/tmp"},
        {"effusion": {"bundle_path": "/tmp"}},
        {"gpus": 5},
        {"gpus": "0\0"},
        {"images": [f"exam/frame_{number:06d}" for number in range(6000)]},
        {"max_samples": -1},
        {"model": "../evil", "method": "../evil"},
        {"max_workers": "many"},
    ],
)
def test_no_task_begins_that_runs_foreign_code_or_cannot_run(label_server, task, asked):
    answer = requests.post(f"{label_server.url}/{task}", json=asked, timeout=60)
    assert answer.status_code in (400, 404) and answer.json()["detail"]


@pytest.mark.parametrize(
    "asked",
    [
        {"images": "unlabelled"},  # which MONAI Label takes for all
        {"images": 5},
        {"images": ["stilla_001", None]},
        {"images": [], "label_tag": "../evil"},
        {"images": [], "result_extension": ".exe"},
        {"images": [], "max_batch_size": True},
    ],
)
def test_a_batch_that_cannot_be_meant_does_not_begin(label_server, asked):
    answer = requests.post(f"{label_server.url}/batch/infer/effusion", json=asked, timeout=60)
    assert answer.status_code == 400 and answer.json()["detail"]


def test_archives_are_not_unpacked(label_server):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../evil"))
    answer = requests.put(
        f"{label_server.url}/session/?uncompress=true", files={"files": ("a.tar", buffer.getvalue())}, timeout=60
    )
    assert answer.status_code == 400


def test_foreign_pages_and_names_are_refused(label_server):
    url, host = label_server.url, urlsplit(label_server.url).netloc
    for headers, code in (
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[evil"}, 403),
        ({"Origin": f"http://{host}.evil.example"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Origin": f"http://{host}"}, 200),
        ({}, 200),
    ):
        assert requests.get(f"{url}/info/", headers=headers, timeout=60).status_code == code, headers


def test_unannounced_bodies_end_at_the_limit(label_server):
    host = urlsplit(label_server.url).netloc
    big = (b"x" * (1 << 20) for _ in range(70))
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        connection.request(
            "POST",
            "/infer/effusion",
            body=(part for parts in ([head], big) for part in parts),
            headers={"Content-Type": "multipart/form-data; boundary=b"},
            encode_chunked=True,
        )
        assert connection.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # it hung up, which is as good
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("POST", "/infer/effusion", headers={"Content-Length": str(1 << 40)})
    assert connection.getresponse().status == 413


@pytest.mark.slow
def test_studies_are_as_they_were_but_for_labels(tmp_path):
    folder = fill(tmp_path / "studies")
    before = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    (folder / "link.png").symlink_to("/etc/hostname")
    body = png(np.full((224, 320), 255, np.uint8))
    with serve(folder, tmp_path / "log.txt", "--max-upload-mb", "1") as server:
        stop = threading.Event()

        def save():
            while not stop.is_set():
                try:
                    requests.put(
                        f"{server.url}/datastore/label?image=stilla_001", files={"label": ("x.png", body)}, timeout=5
                    )
                except requests.RequestException:
                    return

        savers = [threading.Thread(target=save) for _ in range(2)]
        for saver in savers:
            saver.start()
        time.sleep(1.5)
        ids = [frame[0] for frame in requests.get(f"{server.url}/effusion/frames", timeout=5).json()["frames"]]
        assert "link" not in ids
        answer = requests.post(f"{server.url}/infer/effusion", files={"file": ("x.png", b"0" * (2 << 20))}, timeout=5)
        assert answer.status_code == 413
        server.process.kill()
        stop.set()
        for saver in savers:
            saver.join()
    after = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.name in before}
    assert after == before
    assert np.asarray(Image.open(folder / "labels/final/stilla_001.png")).min() == 255


def test_others_do_not_wait_for_inferences(label_server):
    url = label_server.url
    done = threading.Event()

    def outline():
        while not done.is_set():
            requests.post(
                f"{url}/infer/effusion?output=json",
                files={"file": ("x.png", (label_server.folder / "stilla_001.png").read_bytes())},
                timeout=60,
            )

    clients = [threading.Thread(target=outline) for _ in range(45)]  # more than there are threads
    for client in clients:
        client.start()
    try:
        time.sleep(0.5)
        times = []
        for _ in range(5):
            started = time.perf_counter()
            assert requests.get(f"{url}/page/page.css", timeout=60).ok
            times.append(time.perf_counter() - started)
    finally:
        done.set()
        for client in clients:
            client.join()
    assert np.median(times) < 0.5


def test_two_users_at_once_get_their_own_answers(label_server):
    url = label_server.url
    wrong = []
    empty = base64.b64encode(png(np.zeros((224, 320), np.uint8))).decode()

    def use(x, y):
        for _ in range(5):
            wanted = {"image": "stillb_001", "foreground": [[x, y]], "mask": empty}
            answer = requests.post(f"{url}/effusion/outline", json=wanted, timeout=60).json()
            centre = answer["measurement"]["regions"][0]["centre"]
            if np.abs(np.subtract(centre, (y, x))).max() > 1:
                wrong.append(centre)

    users = [threading.Thread(target=use, args=place) for place in ((80, 60), (240, 150))]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert not wrong
