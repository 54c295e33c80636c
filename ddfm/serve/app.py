"""The application: requests become sources and options for a `Fuser`.

Uploaded files are kept in memory only, and error messages are those of the command line. Each
worker runs one fusion at a time; other requests wait.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import io
import json
import logging
import os
import socket
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ddfm.config import FusionConfig
from ddfm.errors import (
    DdfmError,
    DdfmWarning,
    HostError,
    InputError,
    MissingExtra,
    is_out_of_memory,
    one_line,
    printable,
    short,
    unknown,
)
from ddfm.fuser import Fuser
from ddfm.imaging.opening import Opening
from ddfm.imaging.writing import held_by, output_suffix
from ddfm.priors import load_prior
from ddfm.priors.prior import Prior
from ddfm.result import Fusion
from ddfm.serve.limits import Admission, Limits
from ddfm.serve.measures import Measures
from ddfm.serve.refusals import POLICY, refusal
from ddfm.storage.inputs import json_object
from ddfm.version import __version__

__all__ = ["SETTINGS", "Service", "free_port", "from_environment", "make_app"]

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
NOT_ENOUGH = "not enough memory for images of this size"


@dataclass(frozen=True)
class Service:
    """The settings of a worker.

    Attributes:
        prior, device, dtype: as for `Fuser`.
        threads: the number of PyTorch threads; 0 leaves it unchanged.
        hosts: the host names that requests may use; this keeps foreign web pages out.
        limits: the limits of requests.
    """

    prior: str = "default"
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 0
    hosts: tuple[str, ...] = ("*",)
    limits: Limits = field(default_factory=Limits)


def from_environment() -> FastAPI:
    """The application of a worker process, with the settings from the environment."""
    settings = json.loads(os.environ[SETTINGS])
    settings |= {"hosts": tuple(settings["hosts"]), "limits": Limits(**settings["limits"])}
    service = Service(**settings)
    if service.threads:
        import torch

        torch.set_num_threads(service.threads)
    return make_app(service)


def free_port(host: str, port: int) -> int:
    """The port, if it is free; for 0, any free port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family) as probe:
            found: int = probe.getsockname()[1]
            return found
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise HostError(
                f"another program listens on port {port} of {host} already; end it, or choose "
                f"another port, such as --port {port + 1} (--port 0 picks a free one)"
            ) from None
        raise HostError(f"cannot listen on {host}, port {port}: {one_line(error)}") from None


def make_app(service: Service, prior: Prior | None = None) -> FastAPI:
    """The application.

    Args:
        service: its settings.
        prior: a prior that is loaded already; None loads that of the service.
    """
    work = _Work(service, load_prior(service.prior) if prior is None else prior)
    # Keep uploads in memory, never on disk; longer ones are refused before.
    MultiPartParser.spool_max_size = service.limits.upload + 1
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # the sender gets the error
    app = FastAPI(
        title="ddfm",
        version=__version__,
        summary="Fuses registered images of one scene",
        docs_url=None,  # FastAPI's own pages load scripts from another host
        redoc_url=None,
        lifespan=work.lifespan,
    )
    app.add_middleware(_Counted, work=work)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(service.hosts))
    app.add_exception_handler(DdfmError, _refused)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _refused)
    _add_routes(app, work)
    return app


def _add_routes(app: FastAPI, work: _Work) -> None:
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
        named = [_Named(await each.read(), each.filename or "") for each in chosen]
        fusion, warned = await work.fused(named, keywords)
        in_json = "application/json" in request.headers.get("accept", "")
        # Large pictures take seconds to encode, and other requests are answered meanwhile.
        return await run_in_threadpool(_answer, fusion, warned, suffix, in_json)

    async def health() -> dict[str, Any]:
        """Tells how many requests are taken, and how many may be."""
        limits, taken = work.service.limits, work.taken
        return {"ddfm": __version__, "prior": work.prior.name, "taken": taken, "of": limits.queue}

    async def metrics() -> str:
        """Requests by status, their seconds, and how many are taken, for Prometheus."""
        measures = Measures() if work.admission is None else work.admission.measures
        return measures.text(work.taken, work.service.limits.queue)

    async def page() -> HTMLResponse:
        text = files("ddfm.serve").joinpath("page.html").read_text(encoding="utf-8")
        return HTMLResponse(text, headers={"Content-Security-Policy": POLICY})

    answers: dict[int | str, dict[str, Any]] = {
        200: {"content": {kind: {} for kind in sorted({*MEDIA.values()})}},
        **{code: {"description": why} for code, why in _WHY.items()},
    }
    app.post("/fuse", responses=answers, response_class=Response)(fuse)
    app.get("/healthz")(health)
    app.get("/metrics", response_class=PlainTextResponse)(metrics)
    app.get("/", include_in_schema=False)(page)
    app.get("/docs", include_in_schema=False)(page)


def _answer(fusion: Fusion, warned: list[str], suffix: str, in_json: bool) -> Response:
    """The response with a fused image, or with JSON that holds it."""
    buffer = io.BytesIO()
    picture, lost = held_by(f"image{suffix}", fusion.picture)
    warned = [*warned, *lost]
    with _enough_memory():
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


_WHY = {
    400: "The request cannot be fused; `error` gives the reason, in one line",
    408: "The request took too long",
    413: "The request is too large",
    503: "Too many requests are waiting; Retry-After gives the time until the next attempt",
}


class _Named(io.BytesIO):
    """The bytes of an uploaded file, with its name."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = printable(name.replace("\\", "/").rpartition("/")[2])


class _Counted(Admission):
    """An `Admission` that its worker knows."""

    def __init__(self, app: Any, work: _Work) -> None:
        super().__init__(app, work.service.limits, "/fuse")
        work.admission = self


class _Work:
    """Holds the prior, and the one thread that fuses."""

    def __init__(self, service: Service, prior: Prior) -> None:
        self.service = service
        self.prior = prior
        self.admission: Admission | None = None
        self._thread = ThreadPoolExecutor(1, "fusion")

    @property
    def taken(self) -> int:
        return 0 if self.admission is None else self.admission.taken

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        yield
        self._thread.shutdown()

    async def fused(
        self, sources: list[_Named], options: dict[str, Any]
    ) -> tuple[Fusion, list[str]]:
        """Fuses in the thread; returns the result and warnings. Fusions out of time end soon."""
        end = time.monotonic() + self.service.limits.seconds
        work = partial(self._fuse, sources, options, end)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _fuse(
        self, sources: list[_Named], options: dict[str, Any], end: float
    ) -> tuple[Fusion, list[str]]:
        def in_time(_: object = None) -> None:
            if time.monotonic() > end:
                raise HTTPException(408, self.service.limits.too_slow())

        in_time()
        began = time.monotonic()
        config = FusionConfig(**options)  # raises before images are read
        _refuse_paths(config)
        with _enough_memory(), warnings.catch_warnings(record=True) as noted:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", DdfmWarning)
            pictures = Opening().pictures(sources)
            fuser = Fuser(
                self.prior,
                device=self.service.device,
                dtype=self.service.dtype,
                **{name: getattr(config, name) for name in options},
            )
            # dmfuse has no steps after which to call back
            callback = None if config.method == "dmfuse" else in_time
            fusion = fuser(*pictures, progress=False, callback=callback)
        if self.admission is not None:
            self.admission.pace = time.monotonic() - began
        return fusion, [" ".join(str(word.message).split()) for word in noted]


@contextmanager
def _enough_memory() -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise HTTPException(413, NOT_ENOUGH) from None


def _options(text: str) -> dict[str, Any]:
    options = json_object(text, "options")
    for name in options:
        if name not in OPTIONS:
            raise unknown("option", printable(name), OPTIONS)
    return options


def _refuse_paths(config: FusionConfig) -> None:
    """Refuses options that name a file, which would be one of this machine."""
    for observation in config.observations:
        for name in ("blur", "mask"):
            if isinstance(observation.get(name), str):
                raise InputError(
                    f"{name} cannot name a file in a request; transparent pixels of a source are "
                    "its mask, and a blur is given by numbers"
                )


async def _refused(request: Request, error: Exception) -> Response:
    """Answers with the error in one line, as on the command line."""
    if isinstance(error, HTTPException):
        return refusal(request.scope, error.status_code, str(error.detail), error.headers)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return refusal(request.scope, 400, printable(f"{where}: {first['msg']}"))
    status = 501 if isinstance(error, MissingExtra) else 400
    return refusal(request.scope, status, printable(error))
