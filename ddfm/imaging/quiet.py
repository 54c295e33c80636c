"""Decoders warn about files of others; those warnings are not for our users' terminal."""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

__all__ = ["quiet", "silence_libtiff"]

# Without a handler of its own, a library's logger falls back to standard error.
for _library in ("PIL", "tifffile"):
    logging.getLogger(_library).addHandler(logging.NullHandler())

_lock = threading.Lock()
_inside = 0
_saved: warnings.catch_warnings | None = None


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back the warnings that Pillow, tifffile and flyr raise.

    The warning filters belong to the whole process, so threads that decode at the same time
    share one change of them: the first one in makes it and the last one out takes it back.
    """
    global _inside, _saved
    with _lock:
        if _inside == 0:
            _saved = warnings.catch_warnings()
            _saved.__enter__()
            warnings.filterwarnings("ignore", module=r"(PIL|tifffile|flyr)(\.|$)")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _saved is not None:
                _saved.__exit__(None, None, None)
                _saved = None


@cache
def silence_libtiff() -> None:
    """Have the libtiff inside Pillow report errors to Pillow alone, which raises them.

    It would also write them to standard error, past Python. Where Pillow does not let us at it,
    as on Windows, nothing happens.
    """
    from PIL import _imaging

    with suppress(AttributeError, OSError, TypeError):
        handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
        handler.restype, handler.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        handler(None)
