"""What a user can get wrong ends here: one line that says what, where, and what to do.

DdfmError              all of them
  Cancelled            a callback returned False
  InputError           what was given cannot be used (also a ValueError)
  HostError            it could be used, but not here
    StorageError       a file or folder cannot be read or written (also an OSError)
    DownloadError      a file cannot be had from the web (also an OSError)
    MissingExtra       an optional library is not installed (also an ImportError)
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = [
    "Cancelled",
    "DdfmError",
    "DdfmWarning",
    "DownloadError",
    "HostError",
    "InputError",
    "MissingExtra",
    "StorageError",
    "disk_explained",
    "is_out_of_memory",
    "one_line",
    "printable",
    "short",
    "unknown",
    "why_failed",
]

_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, format, surrogate, separators of lines


class DdfmError(Exception):
    """An error of the input, not of the program. Its message is one line for the user."""


class Cancelled(DdfmError):
    """A callback returned False. What was done until then is whole, and nothing else is there."""


class InputError(DdfmError, ValueError):
    """A value, a picture or the content of a file that cannot be used."""


class HostError(DdfmError):
    """The input may be right; this machine, its disk, network or installation refuses."""


class StorageError(HostError, OSError):
    """A file or folder that cannot be read, or may not be written."""


class DownloadError(HostError, OSError):
    """A file that the web does not give, or not whole."""


class DdfmWarning(UserWarning):
    """Of the input: the work is done, but perhaps not as the user would wish. One line."""


class MissingExtra(HostError, ImportError):
    """An optional library is not installed."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {library}: pip install 'ddfm[{extra}]'")


@contextmanager
def disk_explained(doing: str) -> Iterator[None]:
    """What a disk refuses becomes one line, which says what could not be done."""
    try:
        yield
    except DdfmError:
        raise
    except OSError as error:
        raise StorageError(f"cannot {doing}: {error.strerror or error}") from None


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that does not exist, with the nearest ones that do."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return InputError(f"unknown {kind} {short(name)}; {hint}")


def why_failed(error: Exception) -> str:
    """A line for a pair that failed, while others go on; errors of the program are raised."""
    if isinstance(error, DdfmError) and not isinstance(error, Cancelled):
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


def printable(text: object) -> str:
    r"""Text for a terminal or a file: what would steer a terminal, or is no Unicode, as \x1b.

    File names and the answers of servers may hold anything. Lines stay lines.
    """
    return "".join(map(_printable, str(text)))


def _printable(sign: str) -> str:
    if sign in "\n\t" or unicodedata.category(sign) not in _STEERING:
        return sign
    code = ord(sign)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte of a name that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
