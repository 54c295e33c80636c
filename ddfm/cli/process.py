"""How the process of the command line uses processors and memory. To be set before torch is loaded.

Only the command line does this: a program that imports ddfm has its own wishes.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

__all__ = ["prepare", "prepare_for_large"]

WAITING = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT")
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # of glibc's mallopt
_LARGE = 2**25  # bytes; as many as glibc lets a threshold be
_OURS = False  # whether memory is kept as said here


def prepare() -> None:
    """Sets both, unless torch is loaded already, and the process is another program's."""
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
    global _OURS
    if not sys.platform.startswith("linux") or any(x.startswith("MALLOC_") for x in os.environ):
        return
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        _OURS = True


def prepare_for_large(size: tuple[int, int]) -> None:
    """Of a picture so large that a plane of it is `_LARGE`, such planes are handed back at once.

    Kept, each would leave a gap that smaller blocks nibble at, and memory would grow by half.
    """
    if _OURS and 4 * size[0] * size[1] >= _LARGE:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_MMAP_MAX, 2**16)
