"""The runner: its order, what runs at the same time, and the effect of errors."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddfm.errors import DdfmError, StorageError
from ddfm.pipeline.runner import UNWRITTEN, FolderSink, InTurn, Item, Made, Overlapping, run
from ddfm.progress import progress_bar
from ddfm.storage.checksum import KnownData
from ddfm.storage.manifest import Manifest

ENGINES = {"overlapping": Overlapping(), "narrow": Overlapping(0), "in turn": InTurn()}


class Words:
    """A work that writes words in capitals, and the words before; it fails on some words."""

    def __init__(self, wrong: dict[str, type[Exception]] | None = None) -> None:
        self.wrong, self.seen, self.log = wrong or {}, [], []

    def load(self, item: Item) -> str:
        self.log.append(f"load {item.given}")
        if self.wrong.get(item.given) is FileNotFoundError:
            raise DdfmError(f"cannot read {item.given}")
        return item.given

    def fuse(self, item: Item, loaded: str) -> Made:
        self.log.append(f"fuse {loaded}")
        if loaded in self.wrong:
            raise self.wrong[loaded](f"cannot fuse {loaded}")
        self.seen.append(loaded)
        return Made(" ".join(self.seen).upper(), {"settings": {"words": 1}})

    def recall(self, item: Item, entry: dict) -> None:
        self.log.append(f"recall {item.given}")
        self.seen.append(item.given)


def items(words: str) -> Iterator[Item]:
    for word in words.split():
        yield Item(f"{word}.txt", [KnownData("word", word.encode())], word)


def written(work: Words, words: str, folder: Path, stop: bool = False, engine=None, save=None):
    bar = progress_bar(False)
    with Manifest(folder) as manifest, bar:
        sink = FolderSink(manifest, [{"words": 1}], save or save_text)
        return run(items(words), work, sink, stop=stop, bar=bar, engine=engine)


def save_text(text: str, path: Path) -> None:
    path.write_text(text)


def contents(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in folder.glob("*.txt")}


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_items_are_fused_in_order_and_finished_ones_are_recalled(tmp_path, engine):
    summary = written(Words(), "one two three", tmp_path, engine=engine)
    assert [outcome.status for outcome in summary.outcomes] == ["fused"] * 3
    whole = contents(tmp_path)
    assert whole == {"one": "ONE", "two": "ONE TWO", "three": "ONE TWO THREE"}
    (tmp_path / "two.txt").unlink()
    work = Words()
    summary = written(work, "one two three", tmp_path, engine=engine)
    assert [outcome.status for outcome in summary.outcomes] == ["skipped", "fused", "skipped"]
    assert contents(tmp_path) == whole
    assert [line for line in work.log if line.startswith("load")] == ["load two"]


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_an_error_is_reported_and_the_others_go_on(tmp_path, engine):
    wrong = {"two": FileNotFoundError, "three": DdfmError, "four": MemoryError}
    summary = written(Words(wrong), "one two three four five", tmp_path, engine=engine)
    status = [outcome.status for outcome in summary.outcomes]
    assert status == ["fused", "failed", "failed", "failed", "fused"]
    assert contents(tmp_path) == {"one": "ONE", "five": "ONE FIVE"}
    assert not summary.ok and "two.txt: failed: cannot read two" in str(summary)
    assert "not enough memory" in summary.outcomes[3].error
    assert "2 fused, 3 failed" in str(summary)


def test_the_log_names_each_result_when_it_is_made(tmp_path, caplog):
    written(Words(), "two", tmp_path)
    caplog.set_level("INFO", "ddfm")
    work, bar = Words({"three": FileNotFoundError}), progress_bar(False, total=3)
    with Manifest(tmp_path) as manifest, bar:
        sink = FolderSink(manifest, [{"words": 1}], save_text)
        run(items("one two three"), work, sink, stop=False, bar=bar)
    assert caplog.messages == [
        f"{tmp_path / 'one.txt'}: fused (1 of 3)",  # "two" existed
        f"{tmp_path / 'three.txt'}: failed: cannot read three (3 of 3)",
    ]


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize(
    "error", [DdfmError, FileNotFoundError, KeyboardInterrupt, ZeroDivisionError]
)
def test_with_stop_an_error_ends_the_run_after_writing_finished_items(tmp_path, engine, error):
    """Later items are not begun: they might depend on the failed one."""
    work = Words({"three": error})
    with pytest.raises(DdfmError if error is FileNotFoundError else error):
        written(work, "one two three four five six seven", tmp_path, stop=True, engine=engine)
    assert contents(tmp_path) == {"one": "ONE", "two": "ONE TWO"}
    assert "fuse four" not in work.log and "load seven" not in work.log


def test_a_bug_is_never_reported_as_the_failure_of_a_picture(tmp_path):
    with pytest.raises(RuntimeError, match="cannot fuse two"):
        written(Words({"two": RuntimeError}), "one two", tmp_path)


def test_an_item_that_cannot_be_written_fails_alone(tmp_path):
    def save(text: str, path: Path) -> None:
        if text == "ONE TWO":
            raise OSError(28, "No space left on device")
        path.write_text(text)

    summary = written(Words(), "one two three", tmp_path, save=save)
    assert [outcome.status for outcome in summary.outcomes] == ["fused", "failed", "fused"]
    assert "two.txt: No space left" in summary.outcomes[1].error
    assert set(contents(tmp_path)) == {"one", "three"}


def test_a_full_disk_ends_the_run_unless_there_is_room_again(tmp_path):
    """Otherwise, thousands of further pairs would be fused for nothing."""

    def save(text: str, path: Path) -> None:
        if path.parent == full and len(text.split()) % room:
            raise OSError(28, "No space left on device")
        path.write_text(text)

    names = " ".join(f"item{k}" for k in range(3 * UNWRITTEN))
    full, room = tmp_path / "some", UNWRITTEN
    summary = written(Words(), names, full, save=save)  # every eighth is written
    assert len(summary.of("fused")) == 3
    full, room, work = tmp_path / "all", 1000, Words()
    with pytest.raises(StorageError, match=f"No space left.*{UNWRITTEN} results in a row"):
        written(work, names, full, save=save)
    assert not contents(full)
    assert f"fuse item{2 * UNWRITTEN}" not in work.log


def test_an_error_while_listing_items_is_raised(tmp_path):
    def broken() -> Iterator[Item]:
        yield from items("one two")
        raise DdfmError("the video is damaged")

    with Manifest(tmp_path) as manifest, progress_bar(False) as bar:
        sink = FolderSink(manifest, [], save_text)
        with pytest.raises(DdfmError, match="damaged"):
            run(broken(), Words(), sink, stop=True, bar=bar)
    assert set(contents(tmp_path)) == {"one", "two"}


def test_reading_and_writing_overlap_with_fusing(tmp_path):
    read, wrote = threading.Event(), threading.Event()

    class Watched(Words):
        def load(self, item: Item) -> str:
            if item.given == "two":
                read.set()
            return super().load(item)

        def fuse(self, item: Item, loaded: str) -> Made:
            event = {"one": read, "two": wrote}.get(loaded)
            assert event is None or event.wait(20)
            return super().fuse(item, loaded)

    def save(text: str, path: Path) -> None:
        path.write_text(text)
        if text == "ONE":
            wrote.set()

    assert written(Watched(), "one two three", tmp_path, save=save).ok


def test_a_written_result_takes_no_memory_while_the_next_one_is_fused(tmp_path):
    class Result(str):
        """A result that can be waited for."""

    before: list[weakref.ref[Result]] = []

    class Watched(Words):
        def fuse(self, item: Item, loaded: str) -> Made:
            end = time.monotonic() + 60
            while any(one() is not None for one in before) and time.monotonic() < end:
                time.sleep(0.01)
            assert all(one() is None for one in before)
            result = Result(loaded)
            before.append(weakref.ref(result))
            return Made(result, {"settings": {"words": 1}})

    assert written(Watched(), "one two three", tmp_path).ok
    assert len(before) == 3


def test_no_more_items_than_allowed_are_read_ahead(tmp_path):
    """Each item takes memory."""
    work, most = Words(), []

    class Counted(Words):
        def fuse(self, item: Item, loaded: str) -> Made:
            made = super().fuse(item, loaded)
            most.append(sum(line.startswith("load") for line in self.log) - len(self.seen))
            return made

    work = Counted()
    written(work, " ".join(map(str, range(30))), tmp_path, engine=Overlapping(3))
    assert len(most) == 30 and max(most) <= 3
