# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI Label's requests that take a file or a path, in a safe form: no path is opened, no request blocks others."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Header, HTTPException, UploadFile
from fastapi.background import BackgroundTasks
from fastapi.responses import FileResponse, Response
from monailabel.config import settings
from monailabel.endpoints import activelearning, session
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.utils.app import app_instance
from requests_toolbelt import MultipartEncoder

from pe_monai.data.reader import SUFFIXES, is_dicom
from pe_monai.dicom.deflated import is_deflated
from pe_monai.errors import FrameError
from pe_monai.label.labels import FINAL, OvertakenError, check_extension, read_label, write_index
from pe_monai.scratch import scratch_root

USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
ANNOTATOR = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))
_SESSION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# what params may not say otherwise than the request's address
_OURS = {"model", "image"}
# what the server says of an image, which no note replaces: 3D Slicer writes a file of this name
_KNOWN = {"id", "weight", "strategy", "name", "checksum", "clip", "frame", "spacing_mm"}
_TYPES = {".png": "image/png"}
# MetaImage is a header that may name any file of this machine as its pixels, and so may NRRD (:func:`checked`)
_TAKEN = tuple(suffix for suffix in SUFFIXES if suffix not in (".mha", ".mhd"))
_DETACHED = re.compile(rb"data ?file[ \t]*:", re.IGNORECASE)

# FastAPI answers with 40 threads: those that wait for an outline may not take them all
_AT_ONCE = asyncio.Semaphore(24)

router = APIRouter()


async def _in_turn() -> AsyncIterator[None]:
    async with _AT_ONCE:
        yield


TURN = Depends(_in_turn, scope="function")


class Output(str, Enum):
    """What an inference answers with."""

    image = "image"
    json = "json"
    all = "all"


@router.post("/infer/{model}", tags=["Infer"], dependencies=[TURN])
def infer(
    model: str,
    background: BackgroundTasks,
    image: str = "",
    session_id: str = "",
    params: Annotated[str, Form()] = "{}",
    file: Annotated[UploadFile | None, File()] = None,
    label: Annotated[UploadFile | None, File()] = None,
    output: Output = Output.all,
    user: Any = USER,
) -> Response:
    """Outline an image of the datastore, of a session, or one that is sent along; a label sent along is corrected."""
    request: dict[str, Any] = {key: value for key, value in read_json(params).items() if key not in _OURS}
    request.update(model=model, image=image)
    if request.get("save_label") not in (None, True, False):  # "false" would save it
        raise HTTPException(400, "save_label: give true or false.")
    if request.get("save_label"):
        asyncio.run(ANNOTATOR.dependency(user))  # it may replace what PUT /datastore/label asks this role for
    with ExitStack() as stack:
        upload = stack.enter_context(received(file))
        if upload is None and session_id:
            upload = stack.enter_context(checked(_session_image(session_id)))
        if upload is None and not image:
            raise HTTPException(400, "name an image of the datastore, a session_id, or send a file.")
        prior = stack.enter_context(received(label))
        result = app_instance().infer(request, upload=upload, prior=prior)
    path = Path(result["file"])
    background.add_task(shutil.rmtree, path.parent, ignore_errors=True)
    return _respond(path, result["params"], output)


@router.put("/datastore/label", tags=["Datastore"], dependencies=[ANNOTATOR])
def save_label(
    image: str,
    label: UploadFile,
    response: Response,
    tag: str = FINAL,
    params: str = Form("{}"),
    ends: str = "",
    ended: str | None = None,
    if_match: Annotated[str | None, Header()] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> dict[str, str]:
    """Save a label: PNG, NIfTI or NRRD of the frame's size, 0 and 1, 0 and 255, or green.

    ``If-Match`` with the ETag of the label that it was made from, or ``If-None-Match: *`` where there was none, saves
    it only if nobody else has saved another meanwhile; otherwise the answer is a 412. ``ends`` is the tag of its draft,
    which goes if it is of the revision ``ended``, where one is given.
    """
    read_json(params)
    replaces = "" if if_none_match == "*" else None if if_match is None else if_match.strip('"')
    datastore = app_instance().datastore()
    frame = datastore.frame(image)
    with received(label) as path:
        assert path is not None
        mask = read_label(path, datastore.studies.pixels(frame).shape[:2], datastore.studies.affine(frame))
        try:
            revision = datastore.labels.save(frame, mask, tag or FINAL, replaces, ends, ended)
            response.headers["ETag"] = f'"{revision}"'
        except OvertakenError as e:
            raise HTTPException(412, str(e)) from e
    return {"image": image, "label": image}


@router.get("/datastore/label", tags=["Datastore"], dependencies=[USER])
def load_label(
    label: str, background: BackgroundTasks, tag: str = FINAL, result_extension: str = ".png"
) -> FileResponse:
    """The label of an image as a label map, 0 and 1."""
    datastore = app_instance().datastore()
    frame = datastore.frame(label)
    suffix = check_extension(result_extension)
    revision = datastore.labels.revision(frame, tag)  # before it is read: an older one replaces nothing newer
    mask = datastore.labels.read(frame, tag)
    if mask is None:
        raise HTTPException(404, "this image has no such label.")
    path = write_index(mask, suffix, datastore.studies.affine(frame))
    background.add_task(shutil.rmtree, path.parent, ignore_errors=True)
    name = f"{frame.id}{''.join(path.suffixes)}"
    return FileResponse(path, media_type=_media_type(path), filename=name, headers={"ETag": f'"{revision}"'})


@router.get("/datastore/dataset", tags=["Datastore"], dependencies=[ANNOTATOR])
def download_dataset(background: BackgroundTasks, limit_cases: int | None = None) -> FileResponse:
    """All frames that have a label, with it, as a ZIP archive; it goes once it is sent."""
    path = Path(app_instance().datastore().get_dataset_archive(limit_cases))
    background.add_task(path.unlink, missing_ok=True)
    return FileResponse(path, media_type="application/zip", filename="dataset.zip")


@router.post("/activelearning/{strategy}", tags=["ActiveLearning"], dependencies=[TURN])
def choose(strategy: str, params: dict | None = None, user: Any = USER) -> dict[str, Any]:
    """The next image to label."""
    # MONAI Label lets params name another strategy than the address does
    params = {**_tellable(params or {}), "strategy": strategy}
    return activelearning.sample(strategy, params, user.username)


@router.put("/datastore/image/info", tags=["Datastore"])
def note_image(image: str, info: Annotated[str, Form()] = "{}", user: Any = ANNOTATOR) -> None:
    """Note something about an image, for as long as the server runs."""
    by = {"user": user.username} if user.username else {}
    notes = {key: value for key, value in read_json(info).items() if key not in _KNOWN}
    app_instance().datastore().update_image_info(image, {**notes, **by})


@router.put("/datastore/label/info", tags=["Datastore"], dependencies=[ANNOTATOR])
@router.put("/datastore/updatelabelinfo", include_in_schema=False, dependencies=[ANNOTATOR])
def note_label(
    label: str, tag: str, info: Annotated[str, Form()] = "{}", params: Annotated[str, Form()] = "{}"
) -> None:
    """Whether there is such a label; nothing is noted about labels."""
    read_json(info), read_json(params)
    app_instance().datastore().update_label_info(label, tag, {})


@router.put("/session/", tags=["Session"], dependencies=[USER])
def open_session(
    background: BackgroundTasks, files: list[UploadFile], uncompress: bool = False, expiry: int = 0
) -> dict[str, Any]:
    """Upload one image for several requests; archives are not unpacked."""
    if uncompress or len(files) != 1:
        raise HTTPException(400, "upload one frame; archives and folders are not taken.")
    files[0].filename = f"upload{_suffix(files[0])}"  # any name is taken, also one that no disk would
    answer = session.create_session(background, False, min(max(expiry, 0), 86400), files)
    return {**answer, "session_info": _without_paths(answer["session_info"])}


@router.get("/session/{session_id}", tags=["Session"], dependencies=[USER])
def look_at_session(session_id: str, update_ts: bool = False, image: bool = False) -> Any:
    """What a session holds."""
    _check_session(session_id)
    found = session.get_session(session_id, update_ts, image)
    return found if image else _without_paths(found)


@router.delete("/session/{session_id}", tags=["Session"], dependencies=[USER])
def close_session(session_id: str) -> Any:
    """Forget a session and its image."""
    _check_session(session_id)
    return _without_paths(session.remove_session(session_id))


def read_json(text: str) -> dict[str, Any]:
    """Parameters of a request.

    Raises:
        HTTPException: they are no JSON object, or hold what no answer could tell again: NaN, half a surrogate pair.
    """
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError) as e:
        raise HTTPException(400, "params is no JSON.") from e
    if not isinstance(value, dict):
        raise HTTPException(400, "params must be a JSON object.")
    return _tellable(value)


def _tellable(params: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(params, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as e:
        raise HTTPException(400, "params is no JSON.") from e
    return params


@contextmanager
def received(file: UploadFile | None) -> Iterator[Path | None]:
    """An uploaded file on the disk, under a name of ours, for as long as it is needed; None if none was sent.

    Raises:
        FrameError: as :func:`checked` does.
    """
    if file is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="upload-", dir=scratch_root()) as folder:
        path = Path(folder) / f"upload{_suffix(file)}"
        with path.open("wb") as target:
            shutil.copyfileobj(file.file, target)
        with checked(path):
            yield path


@contextmanager
def checked(path: Path) -> Iterator[Path]:
    """A file that was sent, once it is known to hold its pixels itself.

    Raises:
        FrameError: it names another file to read them from, or is deflated DICOM; or what the body raises, without the
            path.
    """
    try:
        if path.suffix.lower() == ".nrrd" and _DETACHED.search(path.read_bytes()):
            raise FrameError("names another file that holds its pixels; send an NRRD that holds them itself.")
        if is_dicom(path) and is_deflated(path):
            raise FrameError("is deflated as a whole, so that its header cannot say how large it is; send it inflated.")
        yield path
    except FrameError as e:
        raise FrameError(str(e).replace(str(path), "the upload").replace(path.name, "the upload")) from e


def _suffix(file: UploadFile) -> str:
    """The suffix that says how to read an upload; of its name nothing else is used."""
    name = (file.filename or "").lower()
    for suffix in (".seg.nrrd", ".nii.gz", *_TAKEN):
        if name.endswith(suffix):
            return suffix.replace(".seg", "")
    if not file.filename or "." not in name:
        return ".dcm"
    raise HTTPException(415, f"a file of this kind is not taken; send one of {' '.join(_TAKEN)}.")


def _without_paths(info: dict[str, Any]) -> dict[str, Any]:
    """What a session holds; where it lies on this machine is nobody's business."""
    return {**info, "path": "", "image": Path(info["image"]).name}


def _check_session(session_id: str) -> None:
    if not _SESSION.fullmatch(session_id):
        raise HTTPException(404, "no such session.")


def _session_image(session_id: str) -> Path:
    _check_session(session_id)
    sessions = app_instance().sessions()
    found = sessions.get_session(session_id) if sessions is not None else None
    if not found:
        raise HTTPException(404, "no such session.")
    return Path(found.image)


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
