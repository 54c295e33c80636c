"""An engine for pairs of folders: many processes, on one machine or several, by Dask.

The calling process (the driver) holds the manifest, checks which results exist, and writes; the
workers read and fuse. Only a few items per worker thread are in flight at a time.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from ddfm.errors import DdfmError, HostError, InputError, missing_extra, one_line, warn, why_failed
from ddfm.pipeline.runner import Done, EngineLost, Item, Made, Sink, Wait, Work, timed, written
from ddfm.progress import quieter

__all__ = ["OnDask"]

# Dask serves HTTP even without its page to watch a cluster; 0 is any free port.
_NO_PAGE = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
_LARGE = "distributed.admin.large-graph-warning-threshold"
AHEAD = 2  # items in flight per worker thread: one is fused, one waits


class OnDask:
    """Has items read and fused by the workers of a Dask cluster; items must be independent.

    Args:
        scheduler: the address of the cluster, such as "tcp://node1:8786"; None starts one worker
            per processor of this machine, and ends them with the run. The workers of a cluster need
            the same version of ddfm, and must reach the sources by the same paths.
        workers: how many workers to start on this machine.
    """

    def __init__(self, scheduler: str | None = None, workers: int | None = None) -> None:
        self.scheduler, self.workers = scheduler, workers

    def run(self, items: Iterable[Item], work: Work, sink: Sink) -> Done:
        with ExitStack() as stack:
            client = stack.enter_context(self._client(stack))
            stack.enter_context(_connected())
            self._wait_for_a_worker(client)
            # This sends the weights to each worker once. They are not scattered: scattered data,
            # and all that depends on it, is lost with the worker that holds it.
            shared = client.submit(_itself, work, pure=False)
            waiting: deque[tuple[Item, Wait]] = deque()
            most = AHEAD
            for item in items:
                wait = _begun(client, shared, item, work, sink)
                waiting.append((item, wait))
                if wait is not _exists:
                    most = AHEAD * sum(client.nthreads().values())  # workers come and go
                if len(waiting) >= most:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()

    def _client(self, stack: ExitStack) -> Any:
        try:
            import dask
            from distributed import Client, LocalCluster
        except ImportError as error:
            raise missing_extra("distributed", "dask", "the engine dask", error) from None
        # It prints lost connections itself. Its import sets the levels, so ours come after it.
        for name in ("distributed", "distributed.client"):
            stack.enter_context(quieter(name))
        stack.enter_context(dask.config.set({_LARGE: "4 GB"}))  # the work includes the weights
        try:
            if self.scheduler is not None:
                return Client(self.scheduler)
            count = self.workers or _processors()
            options: dict[str, Any] = {"n_workers": count, "threads_per_worker": 1}
            # The messages of Dask are about its workers; pairs that fail are reported in any case.
            options |= {"scheduler_kwargs": _NO_PAGE, "silence_logs": logging.ERROR}
            if os.name == "posix":
                _quiet_tracker()
            return Client(stack.enter_context(LocalCluster(**options)))
        except (OSError, ValueError, RuntimeError) as error:
            where = self.scheduler or "this machine"
            raise HostError(f"there is no Dask cluster at {where}: {one_line(error)}") from None

    def _wait_for_a_worker(self, client: Any) -> None:
        if not client.nthreads():
            warn(f"the Dask cluster at {self.scheduler} has no workers yet; waiting for the first")
            client.wait_for_workers(1)


def _quiet_tracker() -> None:
    """Starts Python's tracker of semaphores so that it tidies up silently if a signal ends the run.

    It is a process of its own, which reads the environment once; by default it prints two lines.
    """
    from multiprocessing.resource_tracker import ensure_running

    given = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore::UserWarning:multiprocessing.resource_tracker"
    try:
        ensure_running()
    finally:
        if given is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = given


def _processors() -> int:
    """How many processors this process may use; Windows and macOS tell only how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _connected() -> Iterator[None]:
    """Ends the run with one line if the scheduler is lost."""
    from distributed.client import ClosedClientError

    try:
        yield
    except DdfmError:
        raise
    except (CancelledError, ClosedClientError, OSError):
        raise EngineLost(
            "the connection to the Dask cluster was lost; give the same command again to continue"
        ) from None


def _begun(client: Any, shared: Any, item: Item, work: Work, sink: Sink) -> Wait:
    """Submits an item unless its result exists, and returns a function that waits for it."""
    try:
        entry = sink.find(item)
    except DdfmError as error:
        return partial(_raise, error)
    if entry is not None:
        work.recall(item, entry)
        return _exists
    future = client.submit(_fused, shared, item, pure=False)

    def wait() -> Made:
        from distributed import KilledWorker

        try:
            made = _answer(future)
        except KilledWorker:
            # Try once more: another item of the same workers may have killed them.
            try:
                made = _answer(client.submit(_fused, shared, item, pure=False))
            except KilledWorker:
                raise HostError(
                    f"{item.output}: all workers that tried to fuse it have died"
                ) from None
        if isinstance(made, str):
            raise InputError(made)
        return written(item, made, sink)

    return wait


def _answer(future: Any) -> Made | str:
    """The answer of a worker, which is then released from the memory of the cluster."""
    try:
        with _connected():
            return future.result()
    finally:
        future.release()


def _itself(work: Work) -> Work:
    return work


def _fused(work: Work, item: Item) -> Made | str:
    """Runs on a worker: the result of an item, or the reason why it failed."""
    import torch

    torch.set_num_threads(1)  # there are as many workers as processors
    try:
        return timed(work, item, work.load(item))
    except (DdfmError, MemoryError, RuntimeError) as error:
        return why_failed(error)


def _exists() -> None:
    """Waits for an item whose result exists."""


def _raise(error: DdfmError) -> None:
    raise error
