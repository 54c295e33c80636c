"""Limits what a file may unpack to. Every reader asks here before it allocates memory.

A file of one kilobyte can claim gigabytes; most that do are damaged or meant to harm. There are
two limits, both in the environment, so that child processes inherit them:

- DDFM_MAX_MEGAPIXELS (--max-megapixels): the size of a picture, a page, a frame or a slice.
- DDFM_MAX_BYTES: the memory that one file may take, unpacked and as numbers to compute with. By
  default, a quarter of the memory of the machine; and, beyond one gigabyte, at most `RATIO` times
  the size of the file, which no real photograph or scan comes near.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from ddfm.errors import InputError

__all__ = ["ask_bytes", "ask_enlarged", "ask_pixels", "limited", "max_bytes", "max_pixels"]

PIXELS, BYTES = "DDFM_MAX_MEGAPIXELS", "DDFM_MAX_BYTES"
MEGAPIXELS = 180.0
_OPTION = f"--max-megapixels ({PIXELS})", f"{MEGAPIXELS:g}"
SHARE = 1 / 4  # of the memory of the machine, for one file
ALWAYS = 2**30  # bytes that any file may take, however small it is
RATIO = 200  # most bytes of memory per byte of the file, beyond `ALWAYS`
UNKNOWN_MEMORY = 8 * 2**30  # bytes of memory assumed if the system gives no number


def max_pixels() -> float:
    """How many pixels a picture may have."""
    return 1e6 * (_in_environment(PIXELS) or MEGAPIXELS)


def max_bytes(packed: int | None = None) -> float:
    """How many bytes of memory a file may take.

    Args:
        packed: the size of the file in bytes, if known.
    """
    given = _in_environment(BYTES)
    if given is not None:
        return given
    limit = SHARE * _memory()
    return limit if packed is None else min(limit, max(ALWAYS, RATIO * packed))


def ask_pixels(
    width: int, height: int, name: str, needed: float = 0, packed: int | None = None
) -> None:
    """Refuse a picture with too many pixels, or one that would take too much memory.

    Args:
        width, height: its size.
        name: its name in messages.
        needed, packed: as for `ask_bytes`.
    """
    if width * height <= max_pixels():
        ask_bytes(needed, name, packed)
        return
    more = ""
    if needed > max_bytes(packed):
        more = f", and the memory it may take with {BYTES}={needed:.0f}"
    raise InputError(
        f"{name} claims to have {width} x {height} pixels, more than the limit of "
        f"{max_pixels() / 1e6:g} megapixels that guards against decompression bombs; if you "
        f"trust it, raise the limit with --max-megapixels or {PIXELS}{more}"
    )


def ask_enlarged(width: int, height: int, name: str, other: str) -> None:
    """Refuse to enlarge one picture to the resolution of another, to align it, beyond the limit."""
    if width * height > max_pixels():
        raise InputError(
            f"to align {name}, it would be enlarged to {width} x {height} pixels, to be as fine as "
            f"{other}; that is more than the limit of {max_pixels() / 1e6:g} megapixels; crop the "
            f"larger one, or raise the limit with --max-megapixels or {PIXELS}"
        )


def ask_bytes(needed: float, name: str, packed: int | None = None) -> None:
    """Refuse a file that would take too much memory.

    Args:
        needed: bytes in memory, unpacked and as numbers to compute with.
        packed: the size of the file in bytes, if known.
    """
    limit = max_bytes(packed)
    if needed > limit:
        raise InputError(
            f"{name} would take {_megabytes(needed)} of memory, more than the limit of "
            f"{_megabytes(limit)} that guards against decompression bombs; if you trust it, raise "
            f"the limit with {BYTES}={needed:.0f}"
        )


@contextmanager
def limited(megapixels: float | None, usual: float | None = None) -> Iterator[None]:
    """Sets another limit of megapixels while the block lasts; None leaves it unchanged.

    Args:
        usual: the limit if neither this nor the environment sets one.
    """
    before = os.environ.get(PIXELS)
    if megapixels is None and not (before or "").strip():
        megapixels = usual
    if megapixels is not None:
        os.environ[PIXELS] = f"{megapixels:g}"
    try:
        max_pixels()  # raises at once if the limit is invalid
        yield
    finally:
        if before is None:
            os.environ.pop(PIXELS, None)
        else:
            os.environ[PIXELS] = before


def _in_environment(variable: str) -> float | None:
    text = os.environ.get(variable, "").strip()
    if not text:
        return None
    with suppress(ValueError):
        number = float(text)
        if number > 0 and not math.isnan(number):
            return number
    name, usual = _OPTION if variable == PIXELS else (variable, "4e9")
    raise InputError(f"{name} must be a number above 0, such as {usual}, not {text!r}")


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.0f} MB"


@cache
def _memory() -> int:
    """The memory in bytes of the machine, or of the container that this process is in."""
    found = [UNKNOWN_MEMORY]
    with suppress(AttributeError, OSError, ValueError):  # Windows has no sysconf
        found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for place in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            found.append(int(Path("/sys/fs/cgroup", place).read_text("utf-8")))
    return min(found)
