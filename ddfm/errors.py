"""What a user can get wrong ends here: one line that says what, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["DdfmError", "MissingExtra", "unknown"]


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
    return DdfmError(f"unknown {kind} {name!r}; {hint}")
