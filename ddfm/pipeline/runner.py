"""One runner for many fusions: items, a work that fuses them, a sink that keeps the results.

    for each item:    does the sink have its result?  recall it
                      if not:                         load, fuse, write

Folders, films, volumes and the bench define what these words mean for them. This module decides
what is done where and in which order (an `Engine`), what happens on an error, and what is
reported. `Manifest.find` decides whether a result exists already.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ddfm.arguments import says_no
from ddfm.errors import Cancelled, DdfmError, HostError, StorageError, why_failed
from ddfm.pipeline.summary import Outcome, Summary
from ddfm.progress import stage
from ddfm.storage.checksum import KnownFile, Source
from ddfm.storage.lines import Entry
from ddfm.storage.manifest import Manifest, as_json, has_manifest, keep_others
from ddfm.storage.outputs import check_folder_writable, keep_sources

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = [
    "Engine",
    "EngineLost",
    "FolderSink",
    "InTurn",
    "Item",
    "Made",
    "Overlapping",
    "Sink",
    "Wait",
    "Work",
    "check_folder_before",
    "check_outputs",
    "run",
    "timed",
    "written",
]

UNWRITTEN = 8  # after so many results in a row that could not be written, the run ends

T = TypeVar("T")
# Waits for an item; returns what was made, or None if it existed; raises if the item failed.
Wait = Callable[[], "Made | None"]
Done = Generator[tuple["Item", Wait], None, None]
Read = tuple["Entry | None", Any]  # the entry of an existing result, or what was loaded


@dataclass(frozen=True, eq=False)
class Item:
    """One result to make.

    Attributes:
        output: its name in the sink.
        sources: what it is made of, as recorded in a manifest.
        given: what the work loads it from.
        size: by how much it advances the progress bar.
    """

    output: str
    sources: Sequence[Source]
    given: Any
    size: int = 1


@dataclass(frozen=True, eq=False)
class Made:
    """A result that was made.

    Attributes:
        result: the result itself, or None once it is written.
        entry: what the manifest records of it: at least its settings.
        warnings: about its sources, for the summary.
        kept: names of metadata it keeps that identify persons or places, for the summary.
        corrected: what was detected and corrected in its sources, for the summary.
    """

    result: Any
    entry: Entry
    warnings: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    corrected: tuple[str, ...] = ()


class Work(Protocol):
    """How an item is loaded and fused."""

    def load(self, item: Item) -> Any:
        """Reads its sources, in any thread, while another item is fused."""

    def fuse(self, item: Item, loaded: Any) -> Made:
        """Called for one item after the other, in order."""

    def recall(self, item: Item, entry: Entry) -> None:
        """Called in place of `fuse` if the result exists; a work may need its entry."""
        return  # most works treat items independently


class Sink(Protocol):
    """Keeps the results."""

    def path(self, item: Item) -> Path:
        """The file that holds the result, or that it becomes a part of."""

    def find(self, item: Item) -> Entry | None:
        """The entry of its result, if it exists and is what would be made now; else None."""

    def write(self, item: Item, made: Made) -> None:
        """Called for one item after the other, in order."""


class EngineLost(HostError):
    """The engine cannot work on any item any more, so the run ends."""


class Engine(Protocol):
    """Decides where the work is done, and what is done at the same time."""

    def run(self, items: Iterable[Item], work: Work, sink: Sink) -> Done:
        """Yields the items in order, each with a function that waits for it.

        An item for which `Work.fuse` failed is yielded before the next item is fused.
        """


def run(
    items: Iterable[Item],
    work: Work,
    sink: Sink,
    *,
    stop: bool,
    bar: tqdm[Any],
    engine: Engine | None = None,
    callback: Callable[[Outcome], object] | None = None,
) -> Summary:
    """Makes all results that do not exist yet.

    Args:
        items: the results to make, in order.
        work: how they are made.
        sink: where they are kept.
        stop: whether an error ends the run and is raised; otherwise it is reported, and the run
            goes on with the other items.
        bar: the progress bar.
        engine: None is `Overlapping()`.
        callback: is called with each outcome, in the calling thread; if it returns False, the run
            ends (`Cancelled`), and the next run continues from there.
    """
    begin = time.monotonic()
    outcomes: list[Outcome] = []
    unwritten = done_so_far = 0
    with closing((engine or Overlapping()).run(items, work, sink)) as done:
        for item, wait in done:
            outcomes.append(_outcome(sink.path(item), wait, stop))
            bar.update(item.size)
            done_so_far += item.size
            _report(outcomes[-1], done_so_far, bar.total)
            if callback is not None and says_no(callback(outcomes[-1])):
                raise Cancelled(f"cancelled by the callback, with {len(outcomes)} done")
            unwritten = 0 if outcomes[-1].status == "fused" else unwritten + outcomes[-1].unwritten
            if unwritten == UNWRITTEN:
                raise StorageError(
                    f"{outcomes[-1].error}; {unwritten} results in a row could not be written, so "
                    "the run ends; give the same command again to continue it"
                )
    return Summary(outcomes, time.monotonic() - begin)


@dataclass(frozen=True)
class Overlapping:
    """Fuses one item while other threads read the next items and write the last ones.

    Attributes:
        ahead: how many items may wait to be fused, and to be written; each takes memory.
    """

    ahead: int = 2

    def run(self, items: Iterable[Item], work: Work, sink: Sink) -> Done:
        reader, writer = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        context = copy_context()  # the context variables of the calling thread
        behind: deque[tuple[Item, Future[Made | None]]] = deque()
        try:
            for item, read in self._read_ahead(reader, iter(items), work, sink):
                made = _tried(_make, item, read, work)
                item = replace(item, given=None)  # frees memory
                behind.append((item, writer.submit(context.run, _write, item, made, sink)))
                failed = made.exception() is not None
                del made  # once it is written, its pixels take no memory beside the next fusion's
                while behind and (failed or len(behind) > self.ahead or behind[0][1].done()):
                    item, future = behind.popleft()
                    yield item, future.result
            for item, future in behind:
                yield item, future.result
        finally:
            # Write what has been fused, but do not start to read what waits.
            reader.shutdown(cancel_futures=True)
            writer.shutdown()

    def _read_ahead(
        self, reader: ThreadPoolExecutor, items: Iterator[Item], work: Work, sink: Sink
    ) -> Iterator[tuple[Item, Future[Read]]]:
        """Yields items and what was read; the reader also iterates, which decodes videos."""

        def read() -> tuple[Item, Future[Read]] | None:
            item = next(items, None)
            return None if item is None else (item, _tried(_read, item, work, sink))

        context = copy_context()
        waiting: deque[Future[tuple[Item, Future[Read]] | None]] = deque()
        while True:
            while len(waiting) <= self.ahead:
                waiting.append(reader.submit(context.run, read))
            found = waiting.popleft().result()
            if found is None:
                return
            yield found


class InTurn:
    """Does one thing at a time, so that measured seconds are those of the fusion alone."""

    def run(self, items: Iterable[Item], work: Work, sink: Sink) -> Done:
        for item in items:
            read = _tried(_read, item, work, sink)
            yield item, partial(_write, item, _tried(_make, item, read, work), sink)


class FolderSink:
    """Keeps results as files of a folder, with their manifest.

    Args:
        manifest: the manifest of the folder.
        settings: the settings that an existing result may have to be kept.
        save: writes a result to a path; what it returns is added to the entry.
        verify: whether to compare the contents of files, not just sizes and times.
    """

    def __init__(
        self,
        manifest: Manifest,
        settings: Sequence[Mapping[str, Any]],
        save: Callable[[Any, Path], Entry | None],
        verify: bool = False,
    ) -> None:
        self.manifest, self.save, self.verify = manifest, save, verify
        self.settings = [as_json(some) for some in settings]

    def path(self, item: Item) -> Path:
        return self.manifest.folder / item.output

    def known(self, item: Item) -> Entry | None:
        return self.manifest.find(item.output, item.sources, self.settings, verify=self.verify)

    def find(self, item: Item) -> Entry | None:
        entry = self.known(item)
        if entry is None:
            for source in item.sources:
                source.noted()  # before it is loaded, so that a later change is noticed
        return entry

    def write(self, item: Item, made: Made) -> None:
        sources = [{"name": source.name} | source.noted() for source in item.sources]
        entry = {"sources": sources} | made.entry
        with self.manifest.adding(item.output, entry) as temporary:
            entry |= self.save(made.result, temporary) or {}


def check_outputs(manifest: Manifest, items: Sequence[Item]) -> None:
    """Raise if a result would replace a source, or a file that is not in the manifest."""
    _keep_files(manifest.folder, items, manifest.entries)


def check_folder_before(folder: Path, items: Sequence[Item]) -> None:
    """Raise, before it is made or gets a manifest, if results cannot be written to a folder."""
    check_folder_writable(folder)
    if not has_manifest(folder):  # else `check_outputs` knows more
        _keep_files(folder, items)


def _keep_files(folder: Path, items: Sequence[Item], listed: Container[str] = ()) -> None:
    keep_others(folder, (item.output for item in items), listed)
    sources = (source for item in items for source in item.sources)
    files = [source.path for source in sources if isinstance(source, KnownFile)]
    keep_sources((folder / item.output for item in items), files)


def _report(outcome: Outcome, done: int, of: int | None) -> None:
    """Names what was fused or failed, for the log of a long run."""
    if outcome.status != "skipped":
        stage(f"{outcome} ({done} of {of})" if of else str(outcome))


def _outcome(output: Path, wait: Wait, stop: bool) -> Outcome:
    try:
        made = wait()
        if made is None:
            return Outcome(output, "skipped")
        return Outcome(
            output, "fused", warnings=made.warnings, kept=made.kept, corrected=made.corrected
        )
    except (DdfmError, MemoryError, RuntimeError) as error:
        if stop or isinstance(error, EngineLost):
            raise
        return Outcome(output, "failed", why_failed(error), unwritten=isinstance(error, _Unwritten))


def _read(item: Item, work: Work, sink: Sink) -> Read:
    entry = sink.find(item)
    return entry, None if entry is not None else work.load(item)


def _make(item: Item, read: Future[Read], work: Work) -> Made | None:
    """What is made of an item, or None if its result exists."""
    entry, loaded = read.result()
    if entry is not None:
        work.recall(item, entry)
        return None
    return timed(work, item, loaded)


def timed(work: Work, item: Item, loaded: Any) -> Made:
    """Fuses an item, and adds the seconds that this took to its entry."""
    begin = time.perf_counter()
    made = work.fuse(item, loaded)
    seconds = round(time.perf_counter() - begin, 4)
    return replace(made, entry=made.entry | {"seconds": seconds})


def _write(item: Item, made: Future[Made | None], sink: Sink) -> Made | None:
    result = made.result()
    return None if result is None else written(item, result, sink)


def written(item: Item, made: Made, sink: Sink) -> Made:
    """Writes a result; returns it without its pixels, which take memory."""
    try:
        sink.write(item, made)
    except StorageError as error:
        raise _Unwritten(str(error)) from None
    return replace(made, result=None)


class _Unwritten(StorageError):
    """Raised for a result that was made but could not be written."""


def _tried(function: Callable[..., T], *args: Any) -> Future[T]:
    """Calls the function, and keeps what it returns or raises for later."""
    future: Future[T] = Future()
    try:
        future.set_result(function(*args))
    except Exception as error:
        future.set_exception(error)
    return future
