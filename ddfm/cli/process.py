"""How the process of the command line uses processors and memory, set before torch is loaded.

Only the command line does this: programs that import ddfm decide for themselves.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

__all__ = ["prepare", "prepare_for_large"]

WAITING = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT")
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # of glibc's mallopt
_LARGE = 2**25  # bytes; the largest threshold that glibc allows
_OURS = False  # whether `_keep_memory` has changed the settings of malloc


def prepare() -> None:
    """Sets up threads and memory, unless torch is loaded: then the process is another program's."""
    if "torch" not in sys.modules:
        _let_threads_sleep()
        _keep_memory()


def _let_threads_sleep() -> None:
    """Makes idle threads sleep; by default they spin and take processors from other programs.

    Spinning makes two programs that compute on two processors sevenfold slower.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # GNU's OpenMP, on Linux
        os.environ["KMP_BLOCKTIME"] = "0"  # Intel's and LLVM's, elsewhere


def _keep_memory() -> None:
    """Makes malloc keep the memory of a tensor for the next one, not return it in between.

    By default, large blocks go back to Linux at once, and come from it again as pages filled with
    zeros, which takes a quarter of the time of a call of the network. Nothing is changed if a
    MALLOC_ variable is set in the environment, or if the C library is not glibc.
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
    """Makes malloc return large planes at once, if a plane of a picture of this size is `_LARGE`.

    If they were kept, smaller blocks would fragment the gaps they leave, and memory would grow by
    half.
    """
    if _OURS and 4 * size[0] * size[1] >= _LARGE:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_MMAP_MAX, 2**16)
