"""The limits of a service: requests at a time, and the bytes and seconds of each."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ddfm.arguments import whole_number
from ddfm.errors import InputError
from ddfm.serve.measures import Measures
from ddfm.serve.refusals import refusal

__all__ = ["Admission", "Limits"]

# Browsers send this header with every request; pages cannot change it.
ORIGIN, FOREIGN = "sec-fetch-site", "cross-site"
CROSS_SITE = "a page of another web site sent this request; this service is for this machine only"
# The statuses under which requests without an answer are counted.
GONE = 499  # the client hung up before the answer, as in the logs of nginx
FAILED = 500  # anything else


@dataclass(frozen=True)
class Limits:
    """The limits of one worker.

    Attributes:
        queue: requests that are accepted at a time, including the one that is being fused.
        upload: bytes of one request, all files together.
        seconds: time for one request, from its first byte to the last byte of the answer.
    """

    queue: int = 16
    upload: int = 200_000_000
    seconds: float = 120.0

    def __post_init__(self) -> None:
        for name in ("queue", "upload"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        if min(self.queue, self.upload) < 1 or not 0 < self.seconds < math.inf:
            raise InputError("queue, upload and seconds of a service must be numbers above 0")

    def too_slow(self) -> str:
        """The refusal of a request that takes too long."""
        return f"the request took longer than the limit of {self.seconds:g} seconds"

    def too_large(self) -> str:
        """The refusal of a request that is too large."""
        return (
            f"the request is larger than the limit of {self.upload / 1e6:,g} MB, all files together"
        )


class Admission:
    """Wraps an application; answers requests beyond its capacity with when to try again.

    Args:
        path: the path of the requests that are limited.
        measures: what is measured of them.
        local: whether the service is for this machine only; then pages of web sites, whose requests
            come from this machine's browser, may not use it either.
    """

    def __init__(
        self, app: ASGIApp, limits: Limits, path: str, measures: Measures, local: bool = False
    ) -> None:
        self.app = app
        self.local = local
        self.limits = limits
        self.path = path
        self.measures = measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self.path or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        status, began = 0, time.monotonic()

        async def heard() -> Message:
            nonlocal status
            message = await receive()
            if message["type"] == "http.disconnect":
                status = status or GONE
            return message

        async def noticed(message: Message) -> None:
            nonlocal status
            status = status or message.get("status", 0)
            await send(message)

        try:
            await self._admitted(scope, heard, noticed)
        finally:
            self.measures.add(status or FAILED, time.monotonic() - began)

    async def _admitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.local and Headers(scope=scope).get(ORIGIN) == FOREIGN:
            await _answer(scope, 403, CROSS_SITE)(scope, receive, send)
            return
        if self.measures.taken >= self.limits.queue:
            await self._busy(scope)(scope, receive, send)
            return
        if _length(scope) > self.limits.upload:
            await _answer(scope, 413, self.limits.too_large())(scope, receive, send)
            return
        self.measures.taken += 1
        try:
            await self._in_time(scope, self._bounded(receive), send)
        finally:
            self.measures.taken -= 1

    async def _in_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers within the limit, and ends the work if the client hangs up before the answer."""
        begun, whole, gone = False, asyncio.Event(), asyncio.Event()

        async def heard() -> Message:
            if whole.is_set():  # the rest is for `hung_up`: a message reaches one reader only
                await gone.wait()
                return {"type": "http.disconnect"}
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                whole.set()
            return message

        async def noticed(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        async def hung_up() -> None:
            await whole.wait()
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()
            if not begun:
                answering.cancel()

        answering = asyncio.ensure_future(self.app(scope, heard, noticed))
        listening = asyncio.ensure_future(hung_up())
        try:
            await asyncio.wait_for(answering, self.limits.seconds)
        except asyncio.TimeoutError:  # not yet the built-in one in Python 3.10
            if not begun:
                await _answer(scope, 408, self.limits.too_slow())(scope, receive, send)
        except asyncio.CancelledError:
            if not gone.is_set():  # the server itself ends
                raise
        finally:
            listening.cancel()

    def _bounded(self, receive: Receive) -> Receive:
        """Limits the length of the body, which may be longer than its header states."""
        length = 0

        async def bounded() -> Message:
            nonlocal length
            message = await receive()
            length += len(message.get("body", b""))
            if length > self.limits.upload:
                raise HTTPException(413, self.limits.too_large())
            return message

        return bounded

    def _busy(self, scope: Scope) -> Response:
        wait = math.ceil(max(1.0, self.measures.pace * self.limits.queue / 2))
        words = f"{self.limits.queue} requests are waiting already; try again in {wait} seconds"
        return _answer(scope, 503, words, {"Retry-After": str(wait)})


def _answer(
    scope: Scope, status: int, words: str, headers: dict[str, str] | None = None
) -> Response:
    # The rest of the body is not read, so the connection cannot be reused.
    return refusal(scope, status, words, {"Connection": "close"} | (headers or {}))


def _length(scope: Scope) -> int:
    """The length of the body by its header; 0 if it has none."""
    length = dict(scope["headers"]).get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0
