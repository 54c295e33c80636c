"""Errors and warnings for users: one line that names what is wrong, where, and what to do.

DdfmError              the base class of all errors
  Cancelled            a callback returned False
  InputError           the input cannot be used (also a ValueError)
  HostError            the input may be fine, but cannot be used on this machine
    StorageError       a file or folder cannot be read or written (also an OSError)
    DownloadError      a file cannot be downloaded (also an OSError)
    MissingExtra       an optional library cannot be imported (also an ImportError)
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import shlex
import sys
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = [
    "Cancelled",
    "DdfmError",
    "DdfmWarning",
    "DownloadError",
    "HostError",
    "InputError",
    "KeptWarning",
    "MissingExtra",
    "StorageError",
    "cannot_listen",
    "disk_explained",
    "is_out_of_memory",
    "missing_extra",
    "one_line",
    "percent",
    "printable",
    "quoted",
    "short",
    "unknown",
    "warn",
    "why_failed",
]

_WINDOWS = os.name == "nt"
# Unicode categories: control, format, surrogate, separators of lines and paragraphs.
_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")


class DdfmError(Exception):
    """An error of the input or the machine, not of the program; its message is one line."""


class Cancelled(DdfmError):
    """A callback returned False. Results up to then are complete, and no partial ones remain."""


class InputError(DdfmError, ValueError):
    """A value, a picture or the content of a file that cannot be used."""


class HostError(DdfmError):
    """The input may be fine, but this machine, its disk, network or installation refuses it."""


class StorageError(HostError, OSError):
    """A file or folder cannot be read, or may not be written."""


class DownloadError(HostError, OSError):
    """A file cannot be downloaded, or not completely."""


class DdfmWarning(UserWarning):
    """A warning about the input, of one line: the result may not be what the user expects."""


class KeptWarning(DdfmWarning):
    """Names what the result has taken over that may identify a person or a place."""


class MissingExtra(HostError, ImportError):
    """An optional library is not installed, or cannot be imported."""


def warn(message: str, category: type[DdfmWarning] = DdfmWarning) -> None:
    """Issues a warning that names the caller's line: the last one before ddfm was entered."""
    frame, level, outside = sys._getframe(), 1, 1
    while frame.f_back is not None:
        level += 1
        if frame.f_globals.get("__name__", "").partition(".")[0] == "ddfm":
            outside = level
        frame = frame.f_back
    warnings.warn(message, category, stacklevel=outside)


def quoted(word: str) -> str:
    """A word of a command as the user types it: the shells of Windows take double quotes only."""
    if not _WINDOWS:
        return shlex.quote(word)
    return word if re.fullmatch(r"[\w.:/\\-]+", word) else f'"{word}"'


def missing_extra(library: str, extra: str, purpose: str, error: ImportError) -> MissingExtra:
    """What to raise if an optional library cannot be imported.

    Args:
        library: the package that installs it.
        extra: the extra of ddfm that includes it.
        purpose: what needs it.
        error: what its import raised.
    """
    wanted = quoted(f"ddfm[{extra}]")
    if isinstance(error, ModuleNotFoundError):
        return MissingExtra(f"{purpose} needs the package {library}: pip install {wanted}")
    return MissingExtra(
        f"{purpose} needs the package {library}, which is installed but cannot be imported "
        f"({one_line(error)}): pip install --upgrade {wanted}"
    )


def cannot_listen(host: str, port: int, error: OSError) -> HostError:
    """What to raise if a server cannot listen on a port."""
    if error.errno == errno.EADDRINUSE:
        return HostError(
            f"another program listens on port {port} of {host} already; end it, or choose another "
            f"port, such as --port {port + 1} (--port 0 picks a free one)"
        )
    return HostError(f"cannot listen on {host}, port {port}: {one_line(error)}")


@contextmanager
def disk_explained(doing: str) -> Iterator[None]:
    """Turns an OSError into a `StorageError` of one line, "cannot" followed by `doing`."""
    try:
        yield
    except DdfmError:
        raise
    except OSError as error:
        raise StorageError(f"cannot {doing}: {error.strerror or error}") from None


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for an unknown name, with the most similar known names."""
    known = sorted(known)
    if not known:
        return InputError(f"unknown {kind} {short(name)}; there is none")
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return InputError(f"unknown {kind} {short(name)}; {hint}")


def why_failed(error: Exception) -> str:
    """The message for a pair that failed while others go on; reraises errors of the program."""
    if isinstance(error, DdfmError) and not isinstance(error, Cancelled):
        return str(error)
    if is_out_of_memory(error):
        return "not enough memory for images of this size; smaller tiles may help"
    raise error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether NumPy, or torch on any device, has run out of memory."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
    )


def one_line(error: object) -> str:
    """The text of an exception, or of an answer of a server, on one line of limited length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."


def percent(share: float) -> str:
    """A share that is not all, for use in a message: at most 99 %, as 99.9 would be 1e+02."""
    return f"{min(100 * share, 99):.2g} %"


def short(value: object) -> str:
    """Any value for use in a message, with limited length."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def printable(text: object) -> str:
    r"""Text that is safe for a terminal or a file: control characters are escaped, as in \x1b.

    File names and answers of servers may contain anything. Line breaks are kept.
    """
    return "".join(map(_printable, str(text)))


def _printable(sign: str) -> str:
    if sign in "\n\t" or unicodedata.category(sign) not in _STEERING:
        return sign
    code = ord(sign)
    if 0xDC80 <= code <= 0xDCFF:  # Python's surrogate for a byte that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
