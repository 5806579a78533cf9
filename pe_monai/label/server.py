# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The server: MONAI Label's requests, ours in place of those that are unsafe or block, and the page."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import logging
import os
import re
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import jwt
import requests
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from monailabel.config import settings
from monailabel.endpoints import batch_infer, datastore, info, login, model, scoring, train
from monailabel.endpoints.user import auth
from monailabel.interfaces.exception import MONAILabelException
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.async_tasks import task
from pydantic import ValidationError

from pe_monai.errors import FrameError, WeightsError
from pe_monai.label import page_routes, routes
from pe_monai.label.app import check_asked
from pe_monai.label.guard import Guard, is_local
from pe_monai.label.processes import announce_server, stop, stop_tasks

logger = logging.getLogger(__name__)
# left out: /proxy, /infer/wsi and /ohif open what a request names, /logs shows paths, uploads replace models
_KEPT = {model: {"/model/{model}", "/model/info/{model}"}}
_TASKS = (batch_infer, train, scoring)
# a task's process is given what was asked in one argument, of which Linux takes 128 KiB
_MOST_ASKED = 100_000
_GPUS = re.compile(r"all|\d+(,\d+)*")


def build() -> FastAPI:
    """The application, with the settings of the environment (``MONAI_LABEL_...`` and ``PE_MONAI_LABEL_...``)."""

    @asynccontextmanager
    async def start(app: FastAPI) -> AsyncIterator[None]:
        instance = app_instance()
        instance.server_mode(True)
        instance.on_init_complete()
        instance.models.predictor()
        instance.models.has_clicks()
        announce_server()
        yield
        stop_tasks()
        instance.datastore().close()

    app = FastAPI(title="pe_monai", docs_url="/docs", redoc_url=None, lifespan=start)
    fill(app)
    return app


def fill(app: FastAPI) -> None:
    """Give an application the requests, the answers to errors and the guards."""
    # PyJWT 2 refuses tokens unless it is told which signatures to accept, which MONAI Label does not do
    auth.jwt = _Jwt  # type: ignore[assignment]
    task.stop_background_task = stop
    if settings.MONAI_LABEL_AUTH_ENABLE:
        app.dependency_overrides[auth.get_current_user] = _in_a_thread(_find_user)
        _take_over(app, login.router)
    for router in (page_routes.router, page_routes.api, routes.router):
        app.include_router(router)
    for module in (info, datastore, model):
        _take_over(app, module.router, _KEPT.get(module))
    for module in _TASKS:
        _take_over(app, module.router, checks=[Depends(_check_task)], told=_without_folder)
    for error, code in ((FrameError, 400), (WeightsError, 503), (MONAILabelException, 400), (OSError, 507)):
        app.add_exception_handler(error, functools.partial(_answer, code))
    app.add_exception_handler(requests.RequestException, _answer_login)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    origins = [str(origin).rstrip("/") for origin in settings.MONAI_LABEL_CORS_ORIGINS]
    if origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=origins, allow_credentials=True, allow_methods=["*"], allow_headers=["*"]
        )
    app.add_middleware(
        Guard,
        most_bytes=int(os.environ.get("PE_MONAI_LABEL_MAX_MB", "64")) << 20,
        origins=origins,
        local=is_local(os.environ.get("PE_MONAI_LABEL_HOST", "")),
    )


def _take_over(
    app: FastAPI,
    router: APIRouter,
    wanted: Collection[str] | None = None,
    checks: Any = (),
    told: Callable[[Any], Any] | None = None,
) -> None:
    """Give an application requests of MONAI Label, of ``wanted`` paths only those that change nothing.

    They are coroutines that never wait for anything: one that writes an archive, say, would hold up everybody.
    """
    for route in router.routes:
        if wanted is None or (route.path in wanted and route.methods == {"GET"}):
            app.add_api_route(
                route.path,
                _in_a_thread(route.endpoint, told),
                methods=route.methods,
                response_model=route.response_model,
                tags=route.tags,
                summary=route.summary,
                include_in_schema=route.include_in_schema,
                dependencies=checks if "POST" in route.methods else (),
            )


async def _check_task(request: Request, run_sync: bool = False, user: Any = routes.USER) -> None:
    """What is asked of a task is told again to everyone who asks how it is going, so it must be fit to be told.

    MONAI Label starts a process for whatever name it is given, and answers that it is going well. The user is asked for
    so that nobody learns before the login which models there are.
    """
    kind = request.scope["route"].path.split("/")[1]
    name = "method" if kind == "scoring" else "model"
    if run_sync:
        raise HTTPException(400, "run_sync is not offered: a task runs beside the server; ask how it is going by GET.")
    asked = routes.read_json((await request.body()).decode(errors="replace"))
    if len(json.dumps(asked)) > _MOST_ASKED:
        raise HTTPException(400, "that is too much for one task; name fewer images, or all, labeled or unlabeled.")
    for given in (request.path_params, asked, *(value for value in asked.values() if isinstance(value, dict))):
        if name in given:  # in the address, or in what is asked, which replaces it
            app_instance().check_task(kind, str(given[name]))
        if "bundle_path" in given:  # MONAI Label lets the task import from that folder, whoever filled it
            raise HTTPException(400, "bundle_path: no folder of a request is used.")
        gpus = given.get("gpus") or "all"  # goes into the environment of the task
        if not isinstance(gpus, str) or not _GPUS.fullmatch(gpus):
            raise HTTPException(400, 'gpus: give "all", or numbers such as "0,1".')
        check_asked(kind, given)


def _without_folder(answer: Any) -> Any:
    """How a task is going; what it printed names files."""
    return json.loads(app_instance().folder.hide(json.dumps(jsonable_encoder(answer), ensure_ascii=False)))


def _in_a_thread(
    call: Callable[..., Coroutine[Any, Any, Any]], told: Callable[[Any], Any] | None = None
) -> Callable[..., Any]:
    """The same as a plain function, which FastAPI runs beside its event loop.

    MONAI Label asks the login's realm from coroutines, too: one that hangs would hold up every request of everybody.
    """

    def plain(**arguments: Any) -> Any:
        answer = asyncio.run(call(**arguments))
        return told(answer) if told else answer

    plain.__name__ = call.__name__
    plain.__signature__ = inspect.signature(call)  # type: ignore[attr-defined]
    return plain


async def _find_user(token: str = Depends(auth.oauth2_scheme)) -> auth.User:
    """Who a token is of. Keycloak leaves out of it what somebody does not have, on which MONAI Label stumbles."""
    try:
        return await auth.get_current_user(token)
    except (AttributeError, ValidationError) as e:
        raise HTTPException(403, "the token has no name or no roles; let the realm give this user a role.") from e


async def _answer(code: int, request: Request, error: Exception) -> JSONResponse:
    text = " ".join(str(getattr(error, "msg", None) or error).split())
    if isinstance(error, OSError):
        logger.error("%s", error)
        text = f"the file could not be written or read ({error.strerror or 'input or output error'})."
    return JSONResponse({"detail": app_instance().folder.hide(text).encode(errors="replace").decode()}, code)


async def _answer_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    # without the value itself, which may be one that JSON cannot hold, such as NaN
    problems = [{key: problem[key] for key in ("type", "loc", "msg")} for problem in error.errors()]
    return JSONResponse({"detail": problems}, 422)


async def _answer_login(request: Request, error: requests.RequestException) -> JSONResponse:
    code = error.response.status_code if error.response is not None else 0
    if 400 <= code < 500:
        return JSONResponse({"detail": "the login was refused: check the name and the password."}, 401)
    logger.error("the login's realm did not answer as it should (%s)", type(error).__name__)
    return JSONResponse(
        {"detail": "the login's realm cannot be reached or failed; try again, or see the server's log."}, 502
    )


class _Jwt:
    decode = staticmethod(functools.partial(jwt.decode, algorithms=["RS256", "RS384", "RS512", "ES256", "ES384"]))
