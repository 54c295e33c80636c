"""Keeps decoders' warnings about damaged files off the terminal.

Pillow's own limit on pixels is lifted as well, since `storage.budget` has one.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

from PIL import Image, _imaging

__all__ = ["quiet", "silence_libtiff"]

# Without a handler of its own, a library's logger writes to standard error.
for _library in ("PIL", "tifffile"):
    logging.getLogger(_library).addHandler(logging.NullHandler())

# nibabel's logger has a handler that writes to standard error about anything odd in a header.
logging.getLogger("nibabel.global").addFilter(lambda _: _inside == 0)

_lock = threading.Lock()
_inside = 0
_DECODERS = r"(PIL|tifffile|flyr|nibabel|nrrd|pydicom|ddfm\.volumes)(\.|$)"
_saved: warnings.catch_warnings | None = None
_saved_limit: int | None = None


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the warnings of decoders.

    The warning filters belong to the whole process, as Pillow's limit does, so threads that decode
    at the same time share one change of them: the first to enter makes it, and the last to leave
    undoes it.
    """
    global _inside, _saved, _saved_limit
    with _lock:
        if _inside == 0:
            _saved = warnings.catch_warnings()
            _saved.__enter__()
            warnings.filterwarnings("ignore", module=_DECODERS)
            _saved_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _saved is not None:
                _saved.__exit__(None, None, None)
                _saved = None
                Image.MAX_IMAGE_PIXELS = _saved_limit


@cache
def silence_libtiff() -> None:
    """Make the libtiff inside Pillow report errors to Pillow only, which raises them.

    By default it also writes them to standard error, bypassing Python. Does nothing where the
    library cannot be reached through Pillow, as on Windows.
    """
    with suppress(AttributeError, OSError, TypeError):
        handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
        handler.restype, handler.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        handler(None)
