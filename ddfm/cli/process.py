"""How the process of the command line uses processors and memory. To be set before torch is loaded.

Only the command line does this: a program that imports ddfm has its own wishes.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

__all__ = ["prepare"]

WAITING = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT")
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's mallopt


def prepare() -> None:
    """All of it; nothing where torch is loaded already, and the process is somebody else's."""
    if "torch" not in sys.modules:
        _let_threads_sleep()
        _keep_memory()


def _let_threads_sleep() -> None:
    """Threads without work sleep. By default they spin, and take processors from other programs.

    Two programs that compute on two processors slow each other down sevenfold that way.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # GNU's OpenMP, on Linux
        os.environ["KMP_BLOCKTIME"] = "0"  # Intel's and LLVM's, elsewhere


def _keep_memory() -> None:
    """Memory of a tensor is kept for the next one of its size, and not handed back in between.

    By default Linux takes all large blocks back at once, and hands them out again in pages of
    zeros: a quarter of the time of a network's call. Nothing is done where MALLOC_ variables of
    the environment say what is wanted, or where the C library is another one.
    """
    if not sys.platform.startswith("linux") or any(x.startswith("MALLOC_") for x in os.environ):
        return
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
