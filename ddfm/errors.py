"""What a user can get wrong ends here: one line that says what, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "DdfmError",
    "MissingExtra",
    "is_out_of_memory",
    "one_line",
    "short",
    "unknown",
    "why_failed",
]


class DdfmError(Exception):
    """An error of the input, not of the program. Its message is one line for the user."""


class MissingExtra(DdfmError):
    """An optional library is not installed."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {library}: pip install 'ddfm[{extra}]'")


def unknown(kind: str, name: str, known: Iterable[str]) -> DdfmError:
    """The error for a name that does not exist, with the nearest ones that do."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return DdfmError(f"unknown {kind} {short(name)}; {hint}")


def why_failed(error: Exception) -> str:
    """A line for a pair that failed, while others go on; errors of the program are raised."""
    if isinstance(error, DdfmError):
        return str(error)
    if is_out_of_memory(error):
        return "not enough memory for images of this size; smaller tiles may help"
    raise error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how NumPy, or torch on any device, says that memory has run out."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
    )


def one_line(error: BaseException) -> str:
    """The text of any exception on one line of bearable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."


def short(value: object) -> str:
    """What was given, for a message: of bearable length, whatever it is."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."
