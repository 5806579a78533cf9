# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI Label's own Python client, of which 3D Slicer's extension holds a copy, as an annotator's day uses it."""

from __future__ import annotations

import hashlib
import json
import time

import itk
import numpy as np
import pytest
from PIL import Image, ImageDraw

requests = pytest.importorskip("requests")
client_module = pytest.importorskip(
    "monailabel.client", reason="MONAI Label is not installed; see constraints-label.txt"
)
# what 3D Slicer adds to every request for an outline
SLICER = {"result_extension": ".nrrd", "result_dtype": "uint16", "result_compress": False}


@pytest.fixture
def client(label_server, tmp_path):
    return client_module.MONAILabelClient(label_server.url, str(tmp_path), "a-workstation")


def mask_of(path):
    return np.asarray(itk.imread(str(path))) > 0


def test_a_frame_is_chosen_outlined_corrected_and_saved(client, label_server):
    info = client.info()
    assert not client.auth_enabled() and "effusion" in info["trainers"]
    sample = client.next_sample("random", {})
    image_id = sample["id"]
    outline, told = client.infer("effusion", image_id, dict(SLICER))
    assert outline.endswith(".nrrd") and told["label_names"] == {"effusion": 1}
    before = mask_of(outline)
    assert before.shape == (224, 320)
    row, column = next((row, column) for row, column in np.argwhere(~before).tolist() if row > 100)
    clicks = {"effusion": [[column, row, 0]], "background": [], "label": "effusion"}
    corrected, _ = client.infer("effusion_interactive", image_id, {**SLICER, **clicks}, label_in=outline)
    mask = mask_of(corrected)
    assert mask[row, column] and (mask | before == mask).all()
    label = {"name": "effusion", "idx": 1}
    client.save_label(image_id, corrected, params={"label_info": [label]})
    assert np.array_equal(np.asarray(Image.open(label_server.folder / f"labels/final/{image_id}.png")) > 0, mask)
    assert np.array_equal(mask_of(client.download_label(image_id, "final")), mask)
    assert "final" in client.datastore()["objects"][image_id]["labels"]


def test_a_frame_is_fetched_as_3d_slicer_does(client, label_server):
    sample = client.next_sample("first", {})
    address = f"{client.get_server_url()}/datastore/image?image={sample['id']}"
    body = requests.get(address, timeout=60).content
    assert sample["checksum"] == f"SHA256:{hashlib.sha256(body).hexdigest()}"
    assert sample["name"].endswith(".png") and body.startswith(b"\x89PNG") and "path" not in sample


def test_polygons_are_told_to_cvat(client, label_server, tmp_path):
    path = tmp_path / "frame.jpg"
    Image.open(label_server.folder / "stilla_001.png").save(path, quality=95)
    mask, told = client.infer("effusion", "", {"output": "json"}, file=str(path))
    (annotation,) = told["annotations"]
    (element,) = annotation["annotation"]["elements"]
    canvas = Image.new("L", (320, 224))
    for contour in element["contours"]:
        ImageDraw.Draw(canvas).polygon([tuple(point) for point in contour], fill=1, outline=1)
    drawn, mask = np.asarray(canvas) > 0, np.asarray(Image.open(mask)) > 0
    assert element["label"] == "effusion" and mask.any()
    assert (drawn & mask).sum() / (drawn | mask).sum() > 0.97


def test_a_frame_of_the_clients_own_is_outlined_in_a_session(client, label_server, tmp_path):
    path = label_server.folder / "stilla_001.png"
    session = client.create_session(str(path))["session_id"]
    assert client.get_session(session)["image"] == "upload.png"
    in_session, _ = client.infer("effusion", "", dict(SLICER), session_id=session)
    sent, _ = client.infer("effusion", "", dict(SLICER), file=str(path))
    known, _ = client.infer("effusion", "stilla_001", dict(SLICER))
    assert np.array_equal(mask_of(in_session), mask_of(known)) and np.array_equal(mask_of(sent), mask_of(known))
    client.remove_session(session)
    with pytest.raises(client_module.client.MONAILabelClientException, match="404"):
        client.get_session(session)


def test_a_training_is_started_followed_and_stopped(client):
    with pytest.raises(client_module.client.MONAILabelClientException, match="404"):
        client.train_start("segmentation", {})
    client.train_start("effusion", {"max_epochs": 1})
    for _ in range(300):  # MONAI Label passes over a stop that comes before the process of the training is there
        state = client.train_status(check_if_running=False)
        if state["status"] != "SUBMITTED":
            break
        time.sleep(0.1)
    assert state["status"] == "RUNNING"
    client.train_stop()
    assert not client.train_status(check_if_running=True)
    state = client.train_status(check_if_running=False)
    assert state["status"] == "STOPPED"
    assert "/tmp" not in json.dumps(state["request"])
