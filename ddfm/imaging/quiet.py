"""Keeps warnings of decoders about damaged files from the terminal.

Pillow's own limit of pixels, about which it warns as well, gives way to that of `storage.budget`.
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

# Without a handler of its own, a library's logger falls back to standard error.
for _library in ("PIL", "tifffile"):
    logging.getLogger(_library).addHandler(logging.NullHandler())

# It writes to standard error by itself, of what is odd in a header.
logging.getLogger("nibabel.global").addFilter(lambda _: _inside == 0)

_lock = threading.Lock()
_inside = 0
_DECODERS = r"(PIL|tifffile|flyr|nibabel|nrrd|pydicom|ddfm\.volumes)(\.|$)"
_saved: warnings.catch_warnings | None = None
_saved_limit: int | None = None


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back the warnings of decoders.

    The warning filters belong to the whole process, as Pillow's limit does, so threads that decode
    at the same time share one change of them: the first one in makes it and the last one out takes
    it back.
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
    """Have the libtiff inside Pillow report errors to Pillow alone, which raises them.

    It would also write them to standard error, past Python. Where Pillow does not let us at it,
    as on Windows, nothing happens.
    """
    with suppress(AttributeError, OSError, TypeError):
        handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
        handler.restype, handler.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        handler(None)
