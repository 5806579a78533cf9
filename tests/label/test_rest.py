# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What clients of MONAI Label ask for, over HTTP: outlines, clicks, labels, the next frame."""

from __future__ import annotations

import io
import json
import tempfile
import time
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from label_service import png, still
from PIL import Image
from stub_label import RADIUS

requests = pytest.importorskip("requests")


@pytest.fixture(scope="module")
def offline():
    """Mask of a frame without a server."""
    import torch

    from pe_monai.predictor import Predictor

    torch.set_num_threads(1)
    predictor = Predictor()
    return lambda pixels: predictor.predict([pixels])[0].mask


def infer(server, image="", model="effusion", output="image", files=None, **params):
    data = {"params": json.dumps(params)}
    address = f"{server.url}/infer/{model}?image={image}&output={output}"
    return requests.post(address, data=data, files=files, timeout=60)


def picture(answer):
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def read(path):
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("name", ["stilla_001", "stillb_001"])
def test_png_equals_the_offline_mask(label_server, offline, name):
    mask = picture(infer(label_server, name))
    assert mask.dtype == np.uint8 and set(np.unique(mask)) <= {0, 1}
    assert np.array_equal(mask > 0, offline(read(label_server.folder / f"{name}.png")))


def test_frames_of_a_clip_are_images(label_server, offline):
    clip = Image.open(label_server.folder / "beat.tif")
    clip.seek(3)
    assert np.array_equal(picture(infer(label_server, "beat@004")) > 0, offline(np.asarray(clip)))


def test_nifti_is_x_first_and_lies_where_itk_puts_a_picture(label_server, offline, tmp_path):
    path = tmp_path / "mask.nii.gz"
    path.write_bytes(infer(label_server, "stilla_001", result_extension=".nii.gz").content)
    image = nibabel.load(path)
    assert np.array_equal(np.asarray(image.dataobj).T > 0, offline(read(label_server.folder / "stilla_001.png")))
    assert np.array_equal(np.diag(image.affine), [-1, -1, 1, 1])


def test_nrrd_as_3d_slicer_and_ohif_want_it(label_server, offline, tmp_path):
    nrrd = pytest.importorskip("nrrd")
    path = tmp_path / "mask.nrrd"
    path.write_bytes(infer(label_server, "stilla_001", result_extension=".nrrd").content)
    mask, header = nrrd.read(str(path))
    assert np.array_equal(mask.T > 0, offline(read(label_server.folder / "stilla_001.png")))
    assert np.allclose(header["space directions"], np.eye(2))


def test_answer_of_both_parts_has_measurement_and_notice(label_server):
    answer = infer(label_server, "stilla_001", output="all")
    assert answer.headers["content-type"].startswith("multipart/form-data")
    params = infer(label_server, "stilla_001", output="json").json()
    assert params["label_names"] == {"effusion": 1}
    assert params["measurement"]["thickness_px"] > 5 and params["measurement"]["thickness_mm"] is None
    assert "research use" in params["notice"]


@pytest.mark.parametrize(
    "params",
    [
        {"foreground": [[100, 60]], "background": []},
        {"foreground": [[100, 60, 0]]},
        {"effusion": [[100, 60, 0]], "background": [], "label": "effusion"},
        {"foreground": "[[100, 60]]", "background": "[]"},
        {"points": [[100, 60, 0]], "point_labels": [1]},
    ],
    ids=["CVAT", "3D Slicer", "deepedit", "text", "VISTA"],
)
def test_clicks_of_every_client_are_column_first(label_server, params):
    mask = picture(infer(label_server, "stillb_001", "effusion_interactive", **params))
    rows, columns = np.ogrid[:224, :320]
    clicked = (rows - 60) ** 2 + (columns - 100) ** 2 <= RADIUS**2
    assert np.array_equal(mask > 0, (picture(infer(label_server, "stillb_001")) > 0) | clicked)


@pytest.mark.parametrize("foreground", [[[320, 60]], [[100, -1]], [[60]], [["a", 1]], [[float("nan"), 2]], {"x": 1}])
def test_clicks_that_are_none_are_named(label_server, foreground):
    answer = infer(label_server, "stillb_001", "effusion_interactive", foreground=foreground)
    assert answer.status_code == 400 and answer.json()["detail"]


def test_more_clicks_than_can_be_answered_at_once_are_refused(label_server):
    answer = infer(label_server, "stillb_001", "effusion_interactive", foreground=[[100, 60]] * 101)
    assert answer.status_code == 400 and "101 clicks are too many" in answer.json()["detail"]


@pytest.mark.parametrize("mark", ["0", -1, 2, None, [0]])
def test_a_point_that_is_neither_inside_nor_outside_is_refused(label_server, mark):
    points = {"points": [[100, 60]], "point_labels": [mark]}
    answer = infer(label_server, "stillb_001", "effusion_interactive", **points)
    assert answer.status_code == 400 and "point_labels" in answer.json()["detail"]


def test_a_mark_without_its_point_is_refused(label_server):
    answer = infer(label_server, "stillb_001", "effusion_interactive", points=[], point_labels=[1])
    assert answer.status_code == 400 and "0 of them, but 1 point_labels" in answer.json()["detail"]


def test_a_word_for_whether_to_save_saves_nothing(label_server):
    answer = infer(label_server, "stillb_001", save_label="false", label_tag="word")
    assert answer.status_code == 400 and "save_label: give true or false" in answer.json()["detail"]
    assert not (label_server.folder / "labels/word").exists()


def test_upload_as_cvat_sends_it_gives_a_png(label_server, offline):
    buffer = io.BytesIO()
    Image.open(label_server.folder / "stilla_001.png").save(buffer, format="JPEG", quality=95)
    answer = infer(label_server, files={"file": ("image.jpg", buffer.getvalue())}, output="image")
    assert answer.headers["content-type"] == "image/png"
    assert np.array_equal(picture(answer) > 0, offline(np.asarray(Image.open(buffer))))


def test_mask_sent_along_is_corrected(label_server):
    prior = np.zeros((224, 320), np.uint8)
    prior[10:20, 30:50] = 255
    files = {"label": ("prior.png", png(prior))}
    answer = infer(label_server, "stillb_001", "effusion_interactive", files=files, background=[[200, 100]])
    assert np.array_equal(picture(answer) > 0, prior > 0)


@pytest.mark.parametrize("extension", [".png", ".nii.gz", ".nrrd"])
def test_label_comes_back_as_it_went(label_server, tmp_path, extension):
    truth = still(0)
    if extension == ".png":
        body = png(np.dstack([np.zeros_like(truth), truth, np.zeros_like(truth)]).astype(np.uint8) * 255)
    else:
        path = tmp_path / f"label{extension}"
        if extension == ".nrrd":
            pytest.importorskip("nrrd").write(str(path), truth.T.astype(np.uint8))
        else:
            nibabel.save(nibabel.Nifti1Image(truth.T.astype(np.uint8), np.eye(4)), path)
        body = path.read_bytes()
    url = f"{label_server.url}/datastore/label"
    answer = requests.put(f"{url}?image=stilla_001", files={"label": (f"x{extension}", body)}, timeout=60)
    assert answer.json() == {"image": "stilla_001", "label": "stilla_001"}
    assert np.array_equal(read(label_server.folder / "labels/final/stilla_001.png") > 0, truth)
    back = requests.get(f"{url}?label=stilla_001&tag=final", timeout=60)
    assert np.array_equal(picture(back) == 1, truth)


@pytest.mark.parametrize(("outside", "inside"), [(0, -1), (0, 0.001)])
def test_a_label_whose_values_say_nothing_is_not_saved(label_server, tmp_path, outside, inside):
    values = np.where(still(0), inside, outside).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values.T, np.eye(4)), tmp_path / "label.nii.gz")
    files = {"label": ("x.nii.gz", (tmp_path / "label.nii.gz").read_bytes())}
    address = f"{label_server.url}/datastore/label?image=stilla_001&tag=odd"
    answer = requests.put(address, files=files, timeout=60)
    assert answer.status_code == 400
    low, high = sorted((outside, inside))
    assert f"is no mask, it is {low} and {high}; give masks that are 0 and 255" in answer.json()["detail"]
    assert not (label_server.folder / "labels/odd").exists()


def test_an_archive_of_the_labels_does_not_stay(label_server):
    url, label = label_server.url, {"label": ("x.png", png(still(0).astype(np.uint8) * 255))}
    requests.put(f"{url}/datastore/label?image=stilla_001", files=label, timeout=60)
    before = set(Path(tempfile.gettempdir()).glob("pe_monai-*/label-*/*.zip"))
    answer = requests.get(f"{url}/datastore/dataset", timeout=60)
    names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert {"image/stilla_001.png", "label/stilla_001.png"} <= set(names)
    time.sleep(0.5)
    assert set(Path(tempfile.gettempdir()).glob("pe_monai-*/label-*/*.zip")) <= before


def test_a_label_that_someone_else_saved_meanwhile_is_not_replaced(label_server):
    address = f"{label_server.url}/datastore/label"

    def put(value, ends="", **headers):
        headers = {name.replace("_", "-"): text for name, text in headers.items()}
        files = {"label": ("x.png", png(np.full((224, 320), value, np.uint8)))}
        params = {"image": "beat@004", "tag": "mine", "ends": ends}
        return requests.put(address, params=params, files=files, headers=headers, timeout=60)

    assert put(255, If_Match='"another"').status_code == 412
    first = put(255, If_None_Match="*")
    loaded = requests.get(address, params={"label": "beat@004", "tag": "mine"}, timeout=60)
    assert first.ok and first.headers["ETag"] == loaded.headers["ETag"]
    assert put(0, If_None_Match="*").status_code == 412
    assert put(255, If_None_Match="*").ok  # the same once more: its first answer may have been lost
    second = put(0, If_Match=first.headers["ETag"])
    assert second.ok and second.headers["ETag"] != first.headers["ETag"]
    assert put(255, If_Match=first.headers["ETag"]).status_code == 412
    assert not np.asarray(Image.open(label_server.folder / "labels/mine/beat@004.png")).any()
    assert put(255, ends="mine").ok  # ends drafts alone
    assert np.asarray(Image.open(label_server.folder / "labels/mine/beat@004.png")).all()


def test_a_draft_ends_only_if_nobody_went_on_with_it(label_server):
    address = f"{label_server.url}/datastore/label"

    def put(value, **params):
        files = {"label": ("x.png", png(np.full((224, 320), value, np.uint8)))}
        return requests.put(address, params={"image": "beat@005", **params}, files=files, timeout=60)

    first, second = (put(value, tag="draft-a").headers["ETag"].strip('"') for value in (255, 0))
    file = label_server.folder / "labels/draft-a/beat@005.png"
    assert put(255, tag="mine", ends="draft-a", ended=first).ok and file.exists()
    assert put(255, tag="mine", ends="draft-a", ended=second).ok and not file.exists()


def test_a_label_of_another_size_in_the_folder_is_no_label(label_server):
    folder = label_server.folder / "labels/other"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((448, 640), 255, np.uint8)).save(folder / "beat@002.png")
    requests.get(f"{label_server.url}/effusion/frames?refresh=true", timeout=60)
    answer = requests.get(f"{label_server.url}/datastore/label?label=beat@002&tag=other", timeout=60)
    assert answer.status_code == 400 and "640 x 448 pixels, the frame 320 x 224" in answer.json()["detail"]


def test_a_label_is_deleted_in_every_kind_of_file(label_server):
    folder = label_server.folder / "labels/theirs"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("beat@002.nii.gz", "beat@003.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(np.ones((320, 224), np.uint8), np.eye(4)), folder / name)
    requests.get(f"{label_server.url}/effusion/frames?refresh=true", timeout=60)
    address = f"{label_server.url}/datastore/label"
    files = {"label": ("x.png", png(np.full((224, 320), 255, np.uint8)))}
    assert requests.put(f"{address}?image=beat@002&tag=theirs", files=files, timeout=60).ok
    assert len(list(folder.iterdir())) == 3
    assert requests.delete(f"{address}?id=beat@002&tag=theirs", timeout=60).ok
    assert [path.name for path in folder.iterdir()] == ["beat@003.nii.gz"]


def test_label_of_another_size_is_refused(label_server):
    file = label_server.folder / "labels/final/stillc_001.png"
    before = file.read_bytes() if file.exists() else None  # another test may have saved one
    answer = requests.put(
        f"{label_server.url}/datastore/label?image=stillc_001",
        files={"label": ("x.png", png(np.zeros((50, 60), np.uint8)))},
        timeout=60,
    )
    assert answer.status_code == 400 and "60 x 50" in answer.json()["detail"]
    assert (file.read_bytes() if file.exists() else None) == before


@pytest.mark.parametrize("strategy", ["first", "random", "epistemic"])
def test_next_frame_has_no_label(label_server, strategy):
    requests.put(
        f"{label_server.url}/datastore/label?image=stilla_001",
        files={"label": ("x.png", png(np.zeros((224, 320), np.uint8)))},
        timeout=60,
    )
    answer = requests.post(f"{label_server.url}/activelearning/{strategy}", json={}, timeout=120).json()
    assert answer["id"] not in ("stilla_001", "") and answer["name"] == f"{answer['id']}.png"
    assert str(label_server.folder) not in json.dumps(answer)


def test_session_of_one_upload(label_server):
    body = (label_server.folder / "stilla_001.png").read_bytes()
    answer = requests.put(f"{label_server.url}/session/", files={"files": ("a.png", body)}, timeout=60).json()
    address = f"{label_server.url}/session/{answer['session_id']}"
    for held in (answer["session_info"], requests.get(address, timeout=60).json()):
        assert "/" not in held["path"] + held["image"]
    assert requests.get(address, params={"image": True}, timeout=60).content == body
    params = {"session_id": answer["session_id"], "output": "image"}
    mask = requests.post(f"{label_server.url}/infer/effusion", params=params, data={"params": "{}"}, timeout=60)
    assert np.array_equal(picture(mask), picture(infer(label_server, "stilla_001")))
    assert "/" not in requests.delete(address, timeout=60).json()["image"]


def test_info_is_what_the_clients_look_for(label_server):
    info = requests.get(f"{label_server.url}/info/", timeout=60).json()
    assert info["models"].keys() == {"effusion", "effusion_interactive"}
    assert info["models"]["effusion"]["dimension"] == 2 and info["labels"] == {"effusion": 1}
    assert info["models"]["effusion_interactive"]["type"] == "deepgrow"
    assert info["strategies"].keys() == {"first", "random", "epistemic"}
    assert str(label_server.folder) not in json.dumps(info)
