"""One runner for many fusions: items, a work that fuses them, a sink that keeps the results.

    for each item:    does the sink have its result?  recall it
                      if not:                         load, fuse, write

Folders, films, volumes and the bench say what these words mean for them; what is done in which
order and where (an `Engine`), what happens on an error, and what is reported, is decided here.
What counts as a result that is there already is said by `Manifest.find`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ddfm.errors import Cancelled, DdfmError, StorageError, why_failed
from ddfm.pipeline.summary import Outcome, Summary
from ddfm.storage.checksum import KnownFile, Source
from ddfm.storage.lines import Entry
from ddfm.storage.manifest import Manifest, as_json
from ddfm.storage.outputs import keep_sources

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = [
    "Engine",
    "FolderSink",
    "InTurn",
    "Item",
    "Made",
    "Overlapping",
    "Sink",
    "Wait",
    "Work",
    "check_outputs",
    "run",
    "timed",
    "written",
]

UNWRITTEN = 8  # results in a row that could not be written: those that follow will not be either

T = TypeVar("T")
# Waits for an item, and gives what was made, or None if that was there before; or raises why not.
Wait = Callable[[], "Made | None"]
Done = Generator[tuple["Item", Wait], None, None]
Read = tuple["Entry | None", Any]  # what is noted of the result that is there, or what was loaded


@dataclass(frozen=True, eq=False)
class Item:
    """One result that there is to be.

    Attributes:
        output: what the sink calls it.
        sources: what it is made of, as a manifest notes it.
        given: whatever the work loads it from.
        size: how far it brings the progress bar.
    """

    output: str
    sources: Sequence[Source]
    given: Any
    size: int = 1


@dataclass(frozen=True, eq=False)
class Made:
    """A result.

    Attributes:
        entry: what a manifest is to say of it: at least its settings.
        words: warnings about its sources, for the summary.
        kept: what it has of persons and places, by its names, likewise.
        corrected: what was corrected in its sources, likewise.
    """

    result: Any
    entry: Entry
    words: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    corrected: tuple[str, ...] = ()


class Work(Protocol):
    """How an item is loaded and fused."""

    def load(self, item: Item) -> Any:
        """Reads its sources; in whatever thread, while another item is fused."""

    def fuse(self, item: Item, loaded: Any) -> Made:
        """Called for one item after the other, in their order."""

    def recall(self, item: Item, entry: Entry) -> None:
        """Called in the place of `fuse` where the result is there; a work may need what it says."""
        return  # most know nothing of other items


class Sink(Protocol):
    """Where the results are kept."""

    def path(self, item: Item) -> Path:
        """The file that it is in, or becomes a part of."""

    def find(self, item: Item) -> Entry | None:
        """What is noted of its result, if that is there and is what it would become now."""

    def write(self, item: Item, made: Made) -> None:
        """Called for one item after the other, in their order."""


class Engine(Protocol):
    """Where the work is done, and what of it at the same time."""

    def run(self, items: Iterable[Item], work: Work, sink: Sink) -> Done:
        """The items, in their order, each with a function that waits for it.

        Where `Work.fuse` fails, that is given out before the next item is fused.
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
    """Makes all results that are not there yet.

    Args:
        stop: whether an error ends it, and is raised; else it is reported, and the others go on.
        bar: of the progress.
        engine: None is `Overlapping()`.
        callback: is called with each outcome, in the thread that asked; if it returns False, that
            is the end (`Cancelled`), and the next run goes on from there.
    """
    begin = time.monotonic()
    outcomes: list[Outcome] = []
    unwritten = 0
    with closing((engine or Overlapping()).run(items, work, sink)) as done:
        for item, wait in done:
            outcomes.append(_outcome(sink.path(item), wait, stop))
            bar.update(item.size)
            unwritten = 0 if outcomes[-1].status == "fused" else unwritten + outcomes[-1].unwritten
            if unwritten == UNWRITTEN:
                raise StorageError(
                    f"{outcomes[-1].error}; {unwritten} results in a row could not be written, so "
                    "the run ends here, and goes on from there when it is started again"
                )
            if callback is not None and callback(outcomes[-1]) is False:
                raise Cancelled(f"cancelled by the callback, with {len(outcomes)} done")
    return Summary(outcomes, time.monotonic() - begin)


@dataclass(frozen=True)
class Overlapping:
    """While an item is fused, the next ones are read and the last ones written by other threads.

    Attributes:
        ahead: how many wait to be fused, or to be written; each takes memory.
    """

    ahead: int = 2

    def run(self, items: Iterable[Item], work: Work, sink: Sink) -> Done:
        reader, writer = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        context = copy_context()  # what the caller has set for its own thread
        behind: deque[tuple[Item, Future[Made | None]]] = deque()
        try:
            for item, read in self._read_ahead(reader, iter(items), work, sink):
                made = _tried(_make, item, read, work)
                item = replace(item, given=None)  # which may be large
                behind.append((item, writer.submit(context.run, _write, item, made, sink)))
                failed = made.exception() is not None
                while behind and (failed or len(behind) > self.ahead or behind[0][1].done()):
                    item, future = behind.popleft()
                    yield item, future.result
            for item, future in behind:
                yield item, future.result
        finally:
            # What was fused is still written; what waits to be read is not begun.
            reader.shutdown(cancel_futures=True)
            writer.shutdown()

    def _read_ahead(
        self, reader: ThreadPoolExecutor, items: Iterator[Item], work: Work, sink: Sink
    ) -> Iterator[tuple[Item, Future[Read]]]:
        """Items come from the reader's thread too: those of a video are decoded there."""

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
    """Nothing at the same time, where seconds are to be those of the fusion alone."""

    def run(self, items: Iterable[Item], work: Work, sink: Sink) -> Done:
        for item in items:
            read = _tried(_read, item, work, sink)
            yield item, partial(_write, item, _tried(_make, item, read, work), sink)


class FolderSink:
    """Results as files of a folder, with their manifest.

    Args:
        manifest: of the folder.
        settings: what `Made.entry` may say of settings, for a result that is what it would become.
        save: writes a result to a path; what it returns is noted too.
        verify: whether contents of files are compared, where sizes and times would do.
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
                source.noted()  # before it is loaded: if it changes meanwhile, that will be seen
        return entry

    def write(self, item: Item, made: Made) -> None:
        sources = [{"name": source.name} | source.noted() for source in item.sources]
        entry = {"sources": sources} | made.entry
        with self.manifest.adding(item.output, entry) as temporary:
            entry |= self.save(made.result, temporary) or {}


def check_outputs(manifest: Manifest, items: Sequence[Item]) -> None:
    """Raise if a result would replace a source, or a file that was not made here."""
    manifest.keep_others(item.output for item in items)
    sources = (source for item in items for source in item.sources)
    files = [source.path for source in sources if isinstance(source, KnownFile)]
    keep_sources((manifest.folder / item.output for item in items), files)


def _outcome(output: Path, wait: Wait, stop: bool) -> Outcome:
    try:
        made = wait()
        if made is None:
            return Outcome(output, "skipped")
        words, kept, corrected = made.words, made.kept, made.corrected
        return Outcome(output, "fused", words=words, kept=kept, corrected=corrected)
    except (DdfmError, MemoryError, RuntimeError) as error:
        if stop:
            raise
        return Outcome(output, "failed", why_failed(error), unwritten=isinstance(error, _Unwritten))


def _read(item: Item, work: Work, sink: Sink) -> Read:
    entry = sink.find(item)
    return entry, None if entry is not None else work.load(item)


def _make(item: Item, read: Future[Read], work: Work) -> Made | None:
    """None for what is there."""
    entry, loaded = read.result()
    if entry is not None:
        work.recall(item, entry)
        return None
    return timed(work, item, loaded)


def timed(work: Work, item: Item, loaded: Any) -> Made:
    """What is made of an item, and the seconds that it took."""
    begin = time.perf_counter()
    made = work.fuse(item, loaded)
    seconds = round(time.perf_counter() - begin, 4)
    return replace(made, entry=made.entry | {"seconds": seconds})


def _write(item: Item, made: Future[Made | None], sink: Sink) -> Made | None:
    result = made.result()
    return None if result is None else written(item, result, sink)


def written(item: Item, made: Made, sink: Sink) -> Made:
    """What was made, but without what takes memory."""
    try:
        sink.write(item, made)
    except StorageError as error:
        raise _Unwritten(str(error)) from None
    return replace(made, result=None)


class _Unwritten(StorageError):
    """A result that was made, and could not be written."""


def _tried(function: Callable[..., T], *args: Any) -> Future[T]:
    """What it returns or raises, for later."""
    future: Future[T] = Future()
    try:
        future.set_result(function(*args))
    except Exception as error:
        future.set_exception(error)
    return future
