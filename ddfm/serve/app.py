"""The application: requests become sources and options, and fusions become answers.

Uploaded files are kept in memory only, and error messages are those of the command line.
`ddfm.serve.work` fuses.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ddfm.arguments import check_known
from ddfm.config import FusionConfig
from ddfm.errors import (
    DdfmError,
    InputError,
    MissingExtra,
    cannot_listen,
    printable,
    short,
)
from ddfm.imaging.writing import held_by, output_suffix
from ddfm.priors import load_prior
from ddfm.priors.prior import Prior
from ddfm.result import Fusion
from ddfm.serve.limits import Admission, Limits
from ddfm.serve.refusals import POLICY, refusal
from ddfm.serve.work import Named, Service, Work, enough_memory
from ddfm.storage.inputs import json_object
from ddfm.version import __version__

__all__ = ["SETTINGS", "free_port", "from_environment", "make_app"]

SETTINGS = "DDFM_SERVICE"  # environment variable that passes the settings to workers
OPTIONS = tuple(each.name for each in fields(FusionConfig))
FIELDS = ("sources", "options", "format")
MEDIA = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".jp2": "image/jp2",
    ".j2k": "image/jp2",
}
_WHY = {
    400: "The request cannot be fused; `error` gives the reason, in one line",
    403: "A page of another web site sent the request to a service for this machine only",
    408: "The request took too long",
    413: "The request is too large",
    503: "Too many requests are waiting; Retry-After gives the time until the next attempt",
}


def from_environment() -> FastAPI:
    """The application of a worker process, with the settings from the environment."""
    settings = json.loads(os.environ[SETTINGS])
    settings |= {"hosts": tuple(settings["hosts"]), "limits": Limits(**settings["limits"])}
    service = Service(**settings)
    if service.threads:
        import torch

        torch.set_num_threads(service.threads)
        if hasattr(signal, "SIGHUP"):  # a terminal that closes tells all; the parent ends them
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return make_app(service)


def free_port(host: str, port: int) -> int:
    """The port, if it is free; for 0, any free port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family) as probe:
            found: int = probe.getsockname()[1]
            return found
    except OSError as error:
        raise cannot_listen(host, port, error) from None


def make_app(service: Service, prior: Prior | None = None) -> FastAPI:
    """The application.

    Args:
        service: its settings.
        prior: a prior that is loaded already; None loads that of the service.
    """
    work = Work(service, load_prior(service.prior) if prior is None else prior)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        work.end()

    # Keep uploads in memory, never on disk; longer ones are refused before.
    MultiPartParser.spool_max_size = service.limits.upload + 1
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # the sender gets the error
    app = FastAPI(
        title="ddfm",
        version=__version__,
        summary="Fuses registered images of one scene",
        docs_url=None,  # FastAPI's own pages load scripts from another host
        redoc_url=None,
        lifespan=lifespan,
    )
    limits, measures = service.limits, work.measures
    local = "*" not in service.hosts
    app.add_middleware(Admission, limits=limits, path="/fuse", measures=measures, local=local)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(service.hosts))
    app.add_exception_handler(DdfmError, _refused)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _refused)
    _add_fuse(app, work)
    _add_others(app, work)
    return app


def _add_fuse(app: FastAPI, work: Work) -> None:
    async def fuse(
        request: Request,
        sources: Annotated[list[UploadFile], File(description="infrared, then visible; or more")],
        options: Annotated[str, Form(description=f"JSON: any of {', '.join(OPTIONS)}")] = "{}",
        format: Annotated[str, Form(description="png, tif, jpg, webp, bmp or jp2")] = "png",
    ) -> Response:
        """Fuses the files, and answers with the fused image.

        If `Accept` is application/json, answers with settings, warnings and the image in base64.
        """
        in_form = [name for name in await request.form() if name not in FIELDS]
        _refuse_others([*in_form, *request.query_params])
        suffix = output_suffix(printable(format))
        keywords = _options(options)
        # File fields of a form may be empty.
        chosen = [each for each in sources if each.filename or each.size]
        named = [Named(await each.read(), each.filename or "") for each in chosen]
        fusion, warned = await work.fused(named, keywords)
        in_json = "application/json" in request.headers.get("accept", "")
        # Large pictures take seconds to encode, and other requests are answered meanwhile.
        return await run_in_threadpool(_answer, fusion, warned, suffix, in_json)

    answers: dict[int | str, dict[str, Any]] = {
        200: {"content": {kind: {} for kind in sorted({*MEDIA.values()})}},
        **{code: {"description": why} for code, why in _WHY.items()},
    }
    app.post("/fuse", responses=answers, response_class=Response)(fuse)


def _add_others(app: FastAPI, work: Work) -> None:
    most = work.service.limits.queue

    async def health() -> dict[str, Any]:
        """Tells how many requests are taken, and how many may be."""
        taken = work.measures.taken
        return {"ddfm": __version__, "prior": work.prior.name, "taken": taken, "of": most}

    async def metrics() -> str:
        """Requests by status, their seconds, and how many are taken, for Prometheus."""
        return work.measures.text(most)

    async def page() -> HTMLResponse:
        text = files("ddfm.serve").joinpath("page.html").read_text(encoding="utf-8")
        return HTMLResponse(text, headers={"Content-Security-Policy": POLICY})

    app.get("/healthz")(health)
    app.get("/metrics", response_class=PlainTextResponse)(metrics)
    app.get("/", include_in_schema=False)(page)
    app.get("/docs", include_in_schema=False)(page)


def _answer(fusion: Fusion, warned: list[str], suffix: str, in_json: bool) -> Response:
    """The response with a fused image, or with JSON that holds it."""
    buffer = io.BytesIO()
    picture, lost = held_by(f"image{suffix}", fusion.picture)
    warned = [*warned, *lost, *picture.metadata.notes]
    with enough_memory():
        replace(fusion, picture=picture).save(buffer, format=suffix)
    if not in_json:
        headers = {"DDFM-Warnings": json.dumps(warned)} if warned else {}
        return Response(buffer.getvalue(), 200, headers, MEDIA[suffix.lower()])
    about = {
        "settings": fusion.settings,
        "warnings": warned,
        "format": suffix[1:],
        "picture": base64.b64encode(buffer.getvalue()).decode(),
    }
    return Response(json.dumps(about, default=str), 200, {}, "application/json")


def _refuse_others(names: list[str]) -> None:
    """Refuses fields that would otherwise be ignored, such as a task outside the options."""
    if names:
        raise InputError(
            f"the fields of a form are {', '.join(FIELDS)}, not {short(names[0])}; settings go "
            'into options, as JSON: {"task": "medical"}'
        )


def _options(text: str) -> dict[str, Any]:
    options = json_object(text, "options")
    check_known("option", options, OPTIONS)
    return options


async def _refused(request: Request, error: Exception) -> Response:
    """Answers with the error in one line, as on the command line."""
    if isinstance(error, HTTPException):
        return refusal(request.scope, error.status_code, str(error.detail), error.headers)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        words = f"{where}: {first['msg']}"
        if where.startswith("sources."):
            words = "a source was sent as text, not as a file; with curl: -F sources=@infrared.png"
        return refusal(request.scope, 400, printable(words))
    status = 501 if isinstance(error, MissingExtra) else 400
    return refusal(request.scope, status, printable(error))
