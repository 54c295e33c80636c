"""Reports progress: the current stage, by the logger "ddfm", and progress bars.

Bars are shown on a terminal only, unless the caller requests one.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = [
    "LOG",
    "bar_is_shown",
    "counting_parts",
    "ended_by",
    "holding",
    "lines_where_no_bar_is",
    "part_done",
    "progress_bar",
    "quieter",
    "stage",
]

Held = TypeVar("Held")

LOG = logging.getLogger("ddfm")
LOG.addHandler(logging.NullHandler())

_of_parts: ContextVar[Callable[[int, int], None] | None] = ContextVar("parts", default=None)
_check: ContextVar[Callable[[], object] | None] = ContextVar("check", default=None)


def stage(text: str, *, detail: bool = False) -> None:
    """Reports what is being done now, in a few words; a detail only to who logs at DEBUG."""
    LOG.log(logging.DEBUG if detail else logging.INFO, text)
    _may_end()


@contextmanager
def quieter(name: str, level: int = logging.CRITICAL) -> Iterator[None]:
    """Within this context, the logger of a library passes on only messages of this level."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def part_done(number: int, of: int) -> None:
    """Reports that part `number` of `of`, such as a tile of a picture, is done."""
    _may_end()
    listener = _of_parts.get()
    if listener is not None:
        listener(number, of)


def counting_parts(listener: Callable[[int, int], None]) -> AbstractContextManager[None]:
    """Within this context, the listener is called for each part that is done."""
    return holding(_of_parts, listener)


def ended_by(check: Callable[[], object]) -> AbstractContextManager[None]:
    """Within this context, `check` is called at each stage and part; what it raises ends the work.

    It is for work that nobody waits for any more: it ends within seconds, wherever it is.
    """
    return holding(_check, check)


@contextmanager
def holding(variable: ContextVar[Held], value: Held) -> Iterator[None]:
    """Within this context, a context variable has this value."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def _may_end() -> None:
    check = _check.get()
    if check is not None:
        check()


def progress_bar(progress: bool | None, /, *args: Any, **kwargs: Any) -> tqdm[Any]:
    """A bar of tqdm, which takes the other arguments; it disappears when it is done.

    Args:
        progress: whether to show it; None shows it on a terminal only.
    """
    kwargs = {"leave": False, "disable": None if progress is None else not progress} | kwargs
    return _bar()(*args, **kwargs)


@cache
def _bar() -> type[tqdm[Any]]:
    """tqdm with a lock for one process: its own is a semaphore that a signal would leave behind."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        pass

    Bar.set_lock(threading.RLock())
    return Bar


def lines_where_no_bar_is(progress: bool | None, every: float = 0.0, **of_bar: Any) -> tqdm[Any]:
    """Like `progress_bar`, but without a terminal it prints a line when the bar moves.

    Args:
        every: least number of seconds between two lines.
    """
    if progress is not None or (sys.stderr is not None and sys.stderr.isatty()):
        return progress_bar(progress, **of_bar)
    form = "ddfm: {desc}{n_fmt} of {total_fmt}, {elapsed}{postfix}"
    how: dict[str, Any] = {"file": _Lines(), "bar_format": form, "miniters": 1}
    how["mininterval"] = every
    return progress_bar(True, **how, **of_bar)


class _Lines(io.TextIOBase):
    """Prints a progress bar as a line each time it moves."""

    last = ""

    def write(self, text: str) -> int:
        line = text.strip()
        if line and line != self.last and sys.stderr is not None:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        self.last = line or self.last
        return len(text)


def bar_is_shown() -> bool:
    """Whether a bar is shown on the terminal at the moment."""
    bars = getattr(getattr(sys.modules.get("tqdm"), "tqdm", None), "_instances", ())
    return any(not bar.disable and time.time() >= bar.start_t + bar.delay for bar in list(bars))
