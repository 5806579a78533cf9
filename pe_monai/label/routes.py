# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI Label's requests that take a file or a path, anew: no path is believed, nothing waits for an inference."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, HTTPException, UploadFile
from fastapi.background import BackgroundTasks
from fastapi.responses import FileResponse, Response
from monailabel.config import settings
from monailabel.endpoints import activelearning, session
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.utils.app import app_instance
from requests_toolbelt import MultipartEncoder

from pe_monai.data.reader import SUFFIXES
from pe_monai.errors import FrameError
from pe_monai.label.labels import FINAL, read_mask, write_index

USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
ANNOTATOR = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))
_SESSION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# what only the server itself may put into a request
_OURS = {"model", "image", "upload", "prior", "session"}
_TYPES = {".png": "image/png"}

router = APIRouter()


class Output(str, Enum):
    """What an inference answers with."""

    image = "image"
    json = "json"
    all = "all"


@router.post("/infer/{model}", tags=["Infer"], dependencies=[USER])
def infer(
    model: str,
    background: BackgroundTasks,
    image: str = "",
    session_id: str = "",
    params: Annotated[str, Form()] = "{}",
    file: Annotated[UploadFile | None, File()] = None,
    label: Annotated[UploadFile | None, File()] = None,
    output: Output = Output.all,
) -> Response:
    """Outline an image of the datastore, of a session, or one that is sent along; a label sent along is corrected."""
    request: dict[str, Any] = {key: value for key, value in read_json(params).items() if key not in _OURS}
    request.update(model=model, image=image)
    with received(file) as upload, received(label) as prior:
        if upload is not None:
            request["upload"] = upload
        elif session_id:
            request["upload"] = Path(_session_image(session_id))
        elif not image:
            raise HTTPException(400, "name an image of the datastore, a session_id, or send a file.")
        if prior is not None:
            request["prior"] = prior
        result = app_instance().infer(request)
    path = Path(result["file"])
    background.add_task(shutil.rmtree, path.parent, ignore_errors=True)
    return _respond(path, result["params"], output)


@router.put("/datastore/label", tags=["Datastore"], dependencies=[ANNOTATOR])
def save_label(image: str, label: UploadFile, tag: str = FINAL, params: str = Form("{}")) -> dict[str, str]:
    """Save a label: PNG, NIfTI or NRRD of the frame's size, 0 and 1, 0 and 255, or green."""
    read_json(params)
    datastore = app_instance().datastore()
    frame = datastore.frame(image)
    with received(label) as path:
        assert path is not None
        datastore.labels.save(frame, read_mask(path), tag or FINAL)
    return {"image": image, "label": image}


@router.get("/datastore/label", tags=["Datastore"], dependencies=[USER])
def load_label(
    label: str, background: BackgroundTasks, tag: str = FINAL, result_extension: str = ".png"
) -> FileResponse:
    """The label of an image as a label map, 0 and 1."""
    datastore = app_instance().datastore()
    frame = datastore.frame(label)
    mask = datastore.labels.read(frame, tag)
    if mask is None:
        raise HTTPException(404, "this image has no such label.")
    folder = Path(tempfile.mkdtemp(prefix="pe_monai-mask-"))
    background.add_task(shutil.rmtree, folder, ignore_errors=True)
    path = write_index(mask, folder, result_extension, datastore.studies.affine(frame))
    return FileResponse(path, media_type=_media_type(path), filename=f"{frame.id}{''.join(path.suffixes)}")


@router.post("/activelearning/{strategy}", tags=["ActiveLearning"])
def choose(strategy: str, params: dict | None = None, user: Any = USER) -> dict[str, Any]:
    """The next image to label."""
    return activelearning.sample(strategy, params, user.username)


@router.put("/session/", tags=["Session"], dependencies=[USER])
def open_session(
    background: BackgroundTasks, files: list[UploadFile], uncompress: bool = False, expiry: int = 0
) -> dict[str, Any]:
    """Upload one image for several requests; archives are not unpacked."""
    if uncompress or len(files) != 1:
        raise HTTPException(400, "upload one frame; archives and folders are not taken.")
    _suffix(files[0])
    return session.create_session(background, False, min(max(expiry, 0), 86400), files)


@router.get("/session/{session_id}", tags=["Session"], dependencies=[USER])
def look_at_session(session_id: str, update_ts: bool = False, image: bool = False) -> Any:
    """What a session holds."""
    _check_session(session_id)
    return session.get_session(session_id, update_ts, image)


@router.delete("/session/{session_id}", tags=["Session"], dependencies=[USER])
def close_session(session_id: str) -> Any:
    """Forget a session and its image."""
    _check_session(session_id)
    return session.remove_session(session_id)


def read_json(text: str) -> dict[str, Any]:
    """Parameters of a request.

    Raises:
        HTTPException: they are no JSON object.
    """
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError) as e:
        raise HTTPException(400, "params is no JSON.") from e
    if not isinstance(value, dict):
        raise HTTPException(400, "params must be a JSON object.")
    return value


@contextmanager
def received(file: UploadFile | None) -> Iterator[Path | None]:
    """An uploaded file on the disk, under a name of ours, for as long as it is needed; None if none was sent.

    Raises:
        FrameError: what the body raises, without the path.
    """
    if file is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="pe_monai-upload-") as folder:
        path = Path(folder) / f"upload{_suffix(file)}"
        with path.open("wb") as target:
            shutil.copyfileobj(file.file, target)
        try:
            yield path
        except FrameError as e:
            raise FrameError(str(e).replace(str(path), "the upload").replace(path.name, "the upload")) from e


def _suffix(file: UploadFile) -> str:
    """The suffix that says how to read an upload; of its name nothing else is used."""
    name = (file.filename or "").lower()
    for suffix in (".seg.nrrd", ".nii.gz", *SUFFIXES):
        if name.endswith(suffix):
            return suffix.replace(".seg", "")
    if not file.filename or "." not in name:
        return ".dcm"
    raise HTTPException(415, f"a file of this kind is not taken; send one of {' '.join(SUFFIXES)}.")


def _check_session(session_id: str) -> None:
    if not _SESSION.fullmatch(session_id):
        raise HTTPException(404, "no such session.")


def _session_image(session_id: str) -> str:
    _check_session(session_id)
    sessions = app_instance().sessions()
    found = sessions.get_session(session_id) if sessions is not None else None
    if not found:
        raise HTTPException(404, "no such session.")
    return found.image


def _respond(path: Path, params: dict[str, Any], output: Output) -> Response:
    if output is Output.json:
        return Response(json.dumps(params), media_type="application/json")
    if output is Output.image:
        return FileResponse(path, media_type=_media_type(path), filename=path.name)
    fields = {
        "params": (None, json.dumps(params), "application/json"),
        "image": (path.name, path.read_bytes(), _media_type(path)),
    }
    body = MultipartEncoder(fields=fields)
    return Response(body.to_string(), media_type=body.content_type)


def _media_type(path: Path) -> str:
    return _TYPES.get(path.suffix, "application/octet-stream")
