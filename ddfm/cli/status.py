"""Shows the current stage of the work on a terminal, or with --verbose wherever output goes."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from ddfm.errors import printable
from ddfm.progress import LOG, bar_is_shown

__all__ = ["be_quiet", "clear_status", "status_shown", "verbose_option"]

_CLEAR = "\r\x1b[K"


class _Status(logging.Handler):
    """Writes each stage over the last one; with `verbose`, on a line of its own, with its time."""

    def __init__(self) -> None:
        super().__init__()
        self.verbose, self.shown, self.began = False, False, time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        text = printable(record.getMessage())
        if self.verbose:
            line = f"ddfm: {time.monotonic() - self.began:5.1f} s: {text}"
            self._write(f"{_CLEAR}{line}\n" if bar_is_shown() else f"{line}\n")
        elif not bar_is_shown():
            self._write(f"{_CLEAR}{text[:70]} ...")
            self.shown = True

    def clear(self) -> None:
        if self.shown and not bar_is_shown():
            self._write(_CLEAR)
        self.shown = False

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):  # the reader of standard error has gone
            LOG.removeHandler(self)


_status = _Status()
clear_status = _status.clear  # call it before printing a line that stays


@contextmanager
def status_shown() -> Iterator[None]:
    """Shows stages on a terminal while a command runs, until `be_quiet` is called."""
    _status.verbose, _status.began = False, time.monotonic()
    level = LOG.level
    try:
        if sys.stderr.isatty():
            _listen()
        yield
    finally:
        be_quiet()
        LOG.setLevel(level)


def be_quiet() -> None:
    """Shows no more stages."""
    _status.clear()
    LOG.removeHandler(_status)


def _listen() -> None:
    LOG.addHandler(_status)
    LOG.setLevel(logging.INFO)


def _be_verbose(_: click.Context, __: click.Parameter, verbose: bool) -> None:
    if verbose:
        _status.verbose = True
        _listen()


verbose_option: Any = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_be_verbose,
    help="Print each stage of the work on standard error, with the seconds since the start.",
)
