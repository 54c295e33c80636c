"""Fuses what requests ask for: one fusion at a time in each worker; other requests wait."""

from __future__ import annotations

import asyncio
import io
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from starlette.exceptions import HTTPException

from ddfm.config import FusionConfig
from ddfm.errors import DdfmWarning, InputError, KeptWarning, is_out_of_memory, printable
from ddfm.fuser import Fuser
from ddfm.imaging.opening import Opening
from ddfm.priors.prior import Prior
from ddfm.progress import ended_by
from ddfm.result import Fusion
from ddfm.serve.limits import Limits
from ddfm.serve.measures import Measures
from ddfm.storage.budget import max_pixels

__all__ = ["Named", "Service", "Work", "enough_memory"]

TOGETHER = 4  # as many pixels as one picture may have, all pictures of a request may have
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


class Named(io.BytesIO):
    """The bytes of an uploaded file, with its name."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = printable(name.replace("\\", "/").rpartition("/")[2])


class Work:
    """Holds the prior, and the one thread that fuses."""

    def __init__(self, service: Service, prior: Prior) -> None:
        self.service = service
        self.prior = prior
        self.measures = Measures()
        self._thread = ThreadPoolExecutor(1, "fusion")

    def end(self) -> None:
        """Waits for the fusion that is running, and ends the thread."""
        self._thread.shutdown()

    async def fused(
        self, sources: list[Named], options: dict[str, Any]
    ) -> tuple[Fusion, list[str]]:
        """Fuses in the thread; returns the result and warnings.

        A fusion that is out of time, or whose client hung up, ends soon, or does not begin.
        """
        end, ended = time.monotonic() + self.service.limits.seconds, Event()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._thread, self._fuse, sources, options, end, ended
            )
        finally:
            ended.set()

    def _fuse(
        self, sources: list[Named], options: dict[str, Any], end: float, ended: Event
    ) -> tuple[Fusion, list[str]]:
        def in_time(_: object = None) -> None:
            if ended.is_set() or time.monotonic() > end:
                raise HTTPException(408, self.service.limits.too_slow())

        in_time()
        began = time.monotonic()
        config = FusionConfig(**options)  # raises before images are read
        _refuse_paths(config)
        with ended_by(in_time), enough_memory(), warnings.catch_warnings(record=True) as noted:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", DdfmWarning)
            warnings.simplefilter("ignore", KeptWarning)  # of which the answer may hold less
            pictures = Opening().pictures(sources, TOGETHER * max_pixels())
            fuser = Fuser(
                self.prior,
                device=self.service.device,
                dtype=self.service.dtype,
                **{name: getattr(config, name) for name in options},
            )
            # dmfuse has no steps after which to call back
            callback = None if config.method == "dmfuse" else in_time
            fusion = fuser(*pictures, progress=False, callback=callback)
        self.measures.pace = time.monotonic() - began
        return fusion, [" ".join(str(word.message).split()) for word in noted]


@contextmanager
def enough_memory() -> Iterator[None]:
    """Refuses the request if memory runs out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise HTTPException(413, NOT_ENOUGH) from None


def _refuse_paths(config: FusionConfig) -> None:
    """Refuses options that name a file, which would be one of this machine."""
    for observation in config.observations:
        for name in ("blur", "mask"):
            if isinstance(observation.get(name), str):
                raise InputError(
                    f"{name} cannot name a file in a request; transparent pixels of a source are "
                    "its mask, and a blur is given by numbers"
                )
