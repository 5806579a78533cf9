# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Files and parameters that are sent to open what they should not, or to break what others ask for."""

from __future__ import annotations

import gzip
import io
import json
import time

import nibabel
import numpy as np
import pytest
from label_service import png
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

requests = pytest.importorskip("requests")

META_IMAGE = "ObjectType = Image\nNDims = 2\nDimSize = 320 224\nElementType = MET_UCHAR\nElementDataFile = {}\n"
NRRD = "NRRD0004\ntype: unsigned char\ndimension: 2\nsizes: 320 224\nencoding: raw\n{}: {}\n\n"
HUGE = "9" * 400
HALF = '"\\ud800"'  # half of a surrogate pair, which UTF-8 cannot hold


@pytest.fixture
def outside(label_server):
    """Pixels that lie beside the folder, not in it."""
    path = label_server.folder.parent / "outside.raw"
    path.write_bytes(np.full((224, 320), 255, np.uint8).tobytes())
    return path


@pytest.mark.parametrize("kind", ["x.mha", "x.mhd", "data file", "datafile", "Data File"])
def test_an_upload_cannot_name_another_file_as_its_pixels(label_server, outside, kind):
    name = kind if kind.startswith("x.") else "x.nrrd"
    body = (META_IMAGE.format(outside) if kind.startswith("x.") else NRRD.format(kind, outside)).encode()
    url = label_server.url
    label = {"label": (name, body)}
    put = requests.put(f"{url}/datastore/label?image=stillc_001&tag=stolen", files=label, timeout=60)
    prior = requests.post(f"{url}/infer/effusion_interactive?image=stillc_001", files=label, timeout=60)
    frame = requests.post(f"{url}/infer/effusion", files={"file": (name, body)}, timeout=60)
    answers = [put, prior, frame]
    session = requests.put(f"{url}/session/", files={"files": (name, body)}, timeout=60)
    if session.ok:
        params = {"session_id": session.json()["session_id"]}
        answers.append(requests.post(f"{url}/infer/effusion", params=params, timeout=60))
    for answer in answers:
        assert answer.status_code in (400, 415)
        assert answer.status_code == 415 or "another file" in answer.json()["detail"]
    assert not (label_server.folder / "labels/stolen").exists()


@pytest.mark.parametrize(("shape", "reason"), [((6000, 8000), "megapixels"), ((320, 224, 1, 4000), "4000 masks")])
def test_a_label_that_cannot_fit_is_refused_by_its_header(label_server, tmp_path, shape, reason):
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    path = tmp_path / "huge.nii.gz"
    with gzip.open(path, "wb") as file:  # without its pixels: whoever reads them fails
        file.write(header.binaryblock + b"\0" * 100)
    url, body = label_server.url, path.read_bytes()
    label = {"label": (path.name, body)}
    put = requests.put(f"{url}/datastore/label?image=stillc_001", files=label, timeout=60)
    prior = requests.post(f"{url}/infer/effusion_interactive?image=stillc_001", files=label, timeout=60)
    for answer in (put, prior):
        assert answer.status_code == 400 and reason in answer.json()["detail"]


def test_many_frames_at_once_open_no_path_and_need_no_gpu(label_server):
    url = label_server.url
    other = Image.fromarray(np.asarray(Image.open(label_server.folder / "stilla_001.png"))[:, ::-1])
    other.save(label_server.folder.parent / "outside.png")
    wanted = {
        "images": ["none", "stilla_001"],
        "label_tag": "many",
        "upload": str(label_server.folder.parent / "outside.png"),
    }
    assert requests.post(f"{url}/batch/infer/effusion", json=wanted, timeout=60).ok
    for _ in range(600):
        state = requests.get(f"{url}/batch/infer", timeout=60).json()
        if state["status"] in ("DONE", "ERROR"):
            break
        time.sleep(0.2)
    assert state["status"] == "DONE", state
    assert state["details"] and str(label_server.folder) not in json.dumps(state)
    answer = requests.post(f"{url}/infer/effusion?image=stilla_001&output=image", timeout=60)
    kept = np.asarray(Image.open(label_server.folder / "labels/many/stilla_001.png"))
    assert np.array_equal(kept > 0, np.asarray(Image.open(io.BytesIO(answer.content))) > 0)


def test_postscript_under_a_pictures_name_is_not_run(label_server, tmp_path):
    run = tmp_path / "run"
    body = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 320 224\n%%EndComments\n({run}) (w) file closefile\nshowpage\n"
    url, file = label_server.url, ("x.png", body.encode())
    put = requests.put(f"{url}/datastore/label?image=stillc_001", files={"label": file}, timeout=60)
    frame = requests.post(f"{url}/infer/effusion", files={"file": file}, timeout=60)
    for answer in (put, frame):
        assert answer.status_code == 400 and "no image that Pillow knows" in answer.json()["detail"]
    assert not run.exists()


def test_dicom_that_unfolds_to_any_size_is_not_unpacked(label_server):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.BitsAllocated, dataset.PixelData = 8, bytes(1 << 20)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    url, file = label_server.url, ("x.dcm", buffer.getvalue())
    session = requests.put(f"{url}/session/", files={"files": file}, timeout=60).json()["session_id"]
    frame = requests.post(f"{url}/infer/effusion", files={"file": file}, timeout=60)
    known = requests.post(f"{url}/infer/effusion?session_id={session}", timeout=60)
    for answer in (frame, known):
        assert answer.status_code == 400 and "deflated" in answer.json()["detail"]


def test_frames_of_an_animation_are_not_counted(label_server):
    buffer = io.BytesIO()
    first, *others = [Image.new("L", (320, 224), 60 * number) for number in range(4)]
    first.save(buffer, "GIF", save_all=True, append_images=others)
    file = {"file": ("x.gif", buffer.getvalue())}
    answer = requests.post(f"{label_server.url}/infer/effusion", files=file, timeout=60)
    assert answer.status_code == 400 and "holds several frames" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "text"),
    [
        ("post", "/effusion/outline", '{"image": NaN}'),
        ("post", "/effusion/outline", f'{{"image": [{HALF}]}}'),
        ("post", "/activelearning/none", '{"strategy": ["first"]}'),
        ("post", "/activelearning/none", '{"strategy": "first"}'),
        ("post", "/activelearning/first", f'{{"client_id": {HALF}}}'),
        ("post", "/train/effusion", f'{{"max_epochs": {HALF}}}'),
        ("post", "/train/effusion", '{"max_epochs": NaN}'),
        ("post", "/train/effusion", '{"max_epochs": "abc"}'),
        ("post", "/train/effusion", '{"max_epochs": 0}'),
        ("post", "/train/effusion", '{"learning_rate": -1}'),
        ("post", "/train", '{"effusion": {"max_epochs": 2.5}}'),
        ("post", "/train/effusion?run_sync=true", "{}"),
        ("post", "/scoring/epistemic?run_sync=true", "{}"),
        ("post", "/scoring/epistemic", f'{{"max_samples": {HALF}}}'),
        ("post", "/batch/infer/effusion?run_sync=true", "{}"),
    ],
)
def test_bodies_that_cannot_be_answered_are_refused(label_server, method, path, text):
    headers = {"Content-Type": "application/json"}
    answer = requests.request(method, label_server.url + path, data=text, headers=headers, timeout=60)
    assert 400 <= answer.status_code < 500 and answer.json()["detail"]
    assert requests.get(f"{label_server.url}/effusion/status", timeout=60).ok


@pytest.mark.parametrize("text", ["no json", "[1]", "null", "[" * 50000, '{"a": NaN}', f'{{"a": {HALF}}}'])
def test_notes_that_are_none_are_refused(label_server, text):
    url = label_server.url
    for path in ("image/info?image=stillb_001", "label/info?label=stillb_001&tag=final"):
        answer = requests.put(f"{url}/datastore/{path}", data={"info": text}, timeout=60)
        assert answer.status_code == 400
    assert requests.get(f"{url}/datastore/image/info?image=stillb_001", timeout=60).ok


def test_a_click_of_hundreds_of_digits_is_no_point(label_server):
    data = {"params": f'{{"foreground": [[{HUGE}, 2]]}}'}
    answer = requests.post(f"{label_server.url}/infer/effusion_interactive?image=stillb_001", data=data, timeout=60)
    assert answer.status_code == 400 and "is no point" in answer.json()["detail"]


def test_an_unreadable_frame_does_not_tell_where_the_folder_is(label_server):
    url, damaged = label_server.url, label_server.folder / "damaged.png"
    damaged.write_bytes(b"no picture")
    try:
        assert requests.get(f"{url}/effusion/frames?refresh=true", timeout=60).ok
        answer = requests.get(f"{url}/effusion/frame?image=damaged", timeout=60)
        assert answer.status_code == 400 and "damaged.png" in answer.json()["detail"]
        assert str(label_server.folder) not in answer.text
    finally:
        damaged.unlink()
        requests.get(f"{url}/effusion/frames?refresh=true", timeout=60)


@pytest.mark.parametrize("name", ["a" * 300 + ".png", "a\0b.png", "é" * 200 + ".PNG", ".png"])
def test_the_name_of_an_upload_does_not_matter(label_server, name):
    body = (label_server.folder / "stilla_001.png").read_bytes()
    form = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode() + body
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    session = requests.put(f"{label_server.url}/session/", data=form + b"\r\n--x--\r\n", headers=headers, timeout=60)
    assert session.status_code == 200
    params = {"session_id": session.json()["session_id"], "output": "image"}
    answer = requests.post(f"{label_server.url}/infer/effusion", params=params, data={"params": "{}"}, timeout=60)
    assert answer.status_code == 200


@pytest.mark.parametrize("name", ["label", "label.dcm"])
def test_a_label_without_a_suffix_is_told_which_to_have(label_server, name):
    body = png(np.zeros((224, 320), np.uint8))
    address = f"{label_server.url}/datastore/label?image=stillb_001&tag=odd"
    answer = requests.put(address, files={"label": (name, body)}, timeout=60)
    assert answer.status_code == 400 and "under a name that ends so" in answer.json()["detail"]


def test_notes_are_kept(label_server):
    address = f"{label_server.url}/datastore/image/info?image=stillb_001"
    before = requests.get(address, timeout=60).json()
    noted = {"seen": "by me", "name": "../../evil.png", "id": "stilla_001", "strategy": "mine", "clip": 5}
    assert requests.put(address, data={"info": json.dumps(noted)}, timeout=60).ok
    after = requests.get(address, timeout=60).json()
    assert after.pop("seen") == "by me" and {**after, "user": ""} == {**before, "user": ""}
    chosen = requests.post(f"{label_server.url}/activelearning/first", json={}, timeout=60)
    assert chosen.ok and chosen.json()["name"] != "../../evil.png"


def test_requests_of_monai_label_wait_beside_the_loop():
    import inspect

    pytest.importorskip("monailabel", reason="MONAI Label is not installed; see constraints-label.txt")
    from fastapi import FastAPI

    from pe_monai.label import shims

    shims.install()
    from pe_monai.label.server import fill

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    fill(app)
    paths = {route.path: route.endpoint for route in app.routes if hasattr(route, "endpoint")}
    assert {"/datastore/dataset", "/train/{model}", "/batch/infer"} <= paths.keys()
    assert not [path for path, endpoint in paths.items() if inspect.iscoroutinefunction(endpoint)]


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:8000", True),
        ("127.0.1.1:80", True),
        ("localhost:8000", True),
        ("::1", True),
        ("[::1]", True),
        ("[::1]:8000", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1:80", False),
        ("127.0.0.1.evil.example", False),
        ("evil.example:8000", False),
        ("[evil", False),
        ("", False),
    ],
)
def test_what_is_this_machine_alone(host, local):
    pytest.importorskip("starlette", reason="MONAI Label is not installed; see constraints-label.txt")
    from pe_monai.label.guard import is_local

    assert is_local(host) is local
