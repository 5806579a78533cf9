# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What the page asks of the server beyond MONAI Label's own requests."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, Response
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.async_tasks.task import AsyncTask
from PIL import Image
from pydantic import BaseModel, Field

from pe_monai import __version__
from pe_monai.label.labels import DRAFT, FINAL
from pe_monai.label.routes import TURN, USER
from pe_monai.label.tasks import AUTOMATIC, INTERACTIVE

PAGE = Path(__file__).parent / "page"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
_PARTS = {path.name for path in PAGE.iterdir()}
_EPOCH = re.compile(r"Epoch\[(\d+)\] Metrics -- .*?val_dice: ([\d.]+)")
_RESULT = re.compile(r"Result: (\{.*\})")

router = APIRouter()
api = APIRouter(prefix="/effusion", tags=["Page"], dependencies=[USER])


class Wanted(BaseModel):
    """A frame, clicks and the mask to go on from.

    Attributes:
        image: id of the frame.
        foreground, background: clicks, [x, y] in pixels.
        points, point_labels: clicks of both kinds in the order in which they were set, 1 inside and 0 outside.
        mask: PNG in base64, of the frame's size; None without one.
    """

    image: str
    foreground: list[tuple[float, float]] = Field(default_factory=list, max_length=500)
    background: list[tuple[float, float]] = Field(default_factory=list, max_length=500)
    points: list[tuple[float, float]] = Field(default_factory=list, max_length=500)
    point_labels: list[int] = Field(default_factory=list, max_length=500)
    mask: str | None = None


@router.get("/", include_in_schema=False)
def page() -> FileResponse:
    """The page."""
    return _part("index.html")


@router.get("/page/{name}", include_in_schema=False)
def part(name: str) -> FileResponse:
    """A part of the page."""
    if name not in _PARTS:
        raise HTTPException(404, "no such file.")
    return _part(name)


@router.get("/favicon.ico", include_in_schema=False)
def icon() -> Response:
    """None."""
    return Response(status_code=204)


@api.get("/frames")
def frames(refresh: bool = False, draft: str = DRAFT) -> dict[str, Any]:
    """All frames: id, clip, whether a label is saved, whether there is one of the tag of this browser's drafts.

    And the files that hold none which can be used, each with the reason.
    """
    datastore = app_instance().datastore()
    if refresh:
        datastore.refresh()
    labelled, drafts = (datastore.labels.labelled(tag) for tag in (FINAL, draft))
    studies = datastore.studies
    listed = [[f.id, f.clip, f.id in labelled, f.id in drafts] for f in studies.frames.values()]
    return {"frames": listed, "left_out": list(studies.left_out.items())}


@api.get("/labels")
def labels(image: str, draft: str = DRAFT) -> dict[str, Any]:
    """Revision of a frame's label, "" without one, and whether there is a draft."""
    datastore = app_instance().datastore()
    wanted, kept = datastore.frame(image), datastore.labels
    return {"saved": kept.revision(wanted), "draft": draft in kept.tags(wanted.id)}


@api.get("/frame")
def frame(image: str) -> Response:
    """A frame as PNG."""
    datastore = app_instance().datastore()
    return Response(_png(datastore.studies.pixels(datastore.frame(image))), media_type="image/png")


@api.post("/outline", dependencies=[TURN])
def outline(wanted: Wanted) -> dict[str, Any]:
    """Outline a frame, by itself or by clicks, and measure the outline."""
    app = app_instance()
    picture = app.picture(wanted.image)
    prior = None if wanted.mask is None else _mask(wanted.mask, picture.pixels)
    clicks = wanted.model_dump(include={"foreground", "background", "points", "point_labels"})
    model = INTERACTIVE if wanted.foreground or wanted.background or wanted.points else AUTOMATIC
    version, prediction = app.outline(model, picture, clicks, prior)
    described = app.describe(prediction, picture)
    return {"mask": _base64(prediction.mask), "version": version, **described}


@api.post("/measure", dependencies=[TURN])
def measure(wanted: Wanted) -> dict[str, Any]:
    """Measure a mask that was drawn."""
    app = app_instance()
    picture = app.picture(wanted.image)
    return {"measurement": app.measure(_mask(wanted.mask or "", picture.pixels), picture)}


@api.get("/status")
def status() -> dict[str, Any]:
    """Version of the model, number of labels, and how the training is going."""
    app = app_instance()
    version = app.models.version
    return {
        "package": __version__,
        "version": version.name,
        "trained": version.info,
        "clicks": app.models.has_clicks(),
        "why_no_clicks": app.models.clicks_missing,
        "datastore": app.datastore().status(),
        "training": _training(),
    }


def _training() -> dict[str, Any] | None:
    """State of the last training: its status, epoch, validation Dice, and what came of it."""
    task, _ = AsyncTask.status("train")
    if task is None:
        return None
    lines = [str(line) for line in list(task.get("details", ()))]
    epochs = [match for line in lines if (match := _EPOCH.search(line))]
    results = [match[1] for line in lines if (match := _RESULT.search(line))]
    return {
        "status": task["status"],
        "epoch": int(epochs[-1][1]) if epochs else 0,
        "epochs": task["request"].get("max_epochs"),
        "dice": float(epochs[-1][2]) if epochs else None,
        "result": results[-1] if results and task["status"] == "DONE" else None,
        "last": app_instance().folder.hide(lines[-1])[-300:] if lines else "",
    }


def _part(name: str) -> FileResponse:
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
    }
    return FileResponse(PAGE / name, media_type=_TYPES[Path(name).suffix], headers=headers)


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _base64(mask: np.ndarray) -> str:
    return base64.b64encode(_png(mask.astype(np.uint8) * 255)).decode()


def _mask(text: str, pixels: np.ndarray) -> np.ndarray:
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=["PNG"])
        if picture.size != (pixels.shape[1], pixels.shape[0]):
            raise HTTPException(400, "the mask has another size than the frame.")
        return np.asarray(picture.convert("RGB"))[..., 1] > 0
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as e:
        raise HTTPException(400, "mask is no PNG in base64.") from e


__all__ = ["api", "router"]
