"""Many processes, on one machine or on many, by way of Dask: an engine for pairs of folders.

The process that asks (the driver) holds the manifest, looks what is there, and writes; the workers
read and fuse. A few items for each of their threads are in flight, however many there are to come.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

from ddfm.errors import DdfmError, HostError, InputError, MissingExtra, one_line, why_failed
from ddfm.pipeline.runner import Done, Item, Made, Sink, Wait, Work, timed, written

__all__ = ["OnDask"]

_LARGE = "distributed.admin.large-graph-warning-threshold"
AHEAD = 2  # items for each thread of a worker: one is fused, one waits


class OnDask:
    """Items are read and fused by the workers of a Dask cluster; what is independent only.

    Args:
        scheduler: its address, such as "tcp://node1:8786"; None starts as many workers on this
            machine as it has processors, and ends them with the run. Workers of a cluster need
            ddfm of the same version, and the sources by the same paths.
        workers: how many there are to be on this machine.
    """

    def __init__(self, scheduler: str | None = None, workers: int | None = None) -> None:
        self.scheduler, self.workers = scheduler, workers

    def run(self, items: Iterable[Item], work: Work, sink: Sink) -> Done:
        with ExitStack() as stack:
            client = stack.enter_context(self._client(stack))
            # The weights travel once to each worker; not scattered, for what is scattered is lost
            # with the worker that has it, and all that depends on it.
            shared = client.submit(_itself, work, pure=False)
            most = AHEAD * max(1, sum(client.nthreads().values()))
            waiting: deque[tuple[Item, Wait]] = deque()
            for item in items:
                waiting.append((item, _begun(client, shared, item, work, sink)))
                if len(waiting) >= most:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()

    def _client(self, stack: ExitStack) -> Any:
        try:
            import dask
            from distributed import Client, LocalCluster
        except ImportError:
            raise MissingExtra("distributed", "dask", "the engine dask") from None
        stack.enter_context(dask.config.set({_LARGE: "4 GB"}))  # a work has the weights with it
        try:
            if self.scheduler is not None:
                return Client(self.scheduler)
            count = self.workers or len(os.sched_getaffinity(0))
            options: dict[str, Any] = {"n_workers": count, "threads_per_worker": 1}
            # What Dask says of its workers is no news of a pair; a pair that fails is reported.
            options |= {"dashboard_address": None, "silence_logs": logging.ERROR}
            return Client(stack.enter_context(LocalCluster(**options)))
        except (OSError, ValueError, RuntimeError) as error:
            where = self.scheduler or "this machine"
            raise HostError(f"there is no Dask cluster at {where}: {one_line(error)}") from None


def _begun(client: Any, shared: Any, item: Item, work: Work, sink: Sink) -> Wait:
    """Submits an item that is not there yet, and says how to wait for it."""
    try:
        entry = sink.find(item)
    except DdfmError as error:
        return partial(_raise, error)
    if entry is not None:
        work.recall(item, entry)
        return lambda: None
    future = client.submit(_fused, shared, item, pure=False)

    def wait() -> Made:
        from distributed import KilledWorker

        try:
            made = _answer(future)
        except KilledWorker:
            # Perhaps another item was to blame, that the same workers had.
            try:
                made = _answer(client.submit(_fused, shared, item, pure=False))
            except KilledWorker:
                raise HostError(f"{item.output}: the workers that tried it have died") from None
        if isinstance(made, str):
            raise InputError(made)
        return written(item, made, sink)

    return wait


def _answer(future: Any) -> Made | str:
    """What a worker says, which the cluster then forgets."""
    try:
        return future.result()
    finally:
        future.release()


def _itself(work: Work) -> Work:
    return work


def _fused(work: Work, item: Item) -> Made | str:
    """By a worker: what is made of an item, or why it failed."""
    import torch

    torch.set_num_threads(1)  # there are as many workers as processors
    try:
        return timed(work, item, work.load(item))
    except (DdfmError, MemoryError, RuntimeError) as error:
        return why_failed(error)


def _raise(error: DdfmError) -> None:
    raise error
