"""Writes files whose format has no place for a mark of ddfm, listed in the manifest of the folder.

Tables and web pages are such. A file that somebody changed by hand is no longer replaced.
"""

from __future__ import annotations

import os
from pathlib import Path

from ddfm.storage.files import encoded
from ddfm.storage.manifest import Manifest
from ddfm.storage.outputs import check_writable

__all__ = ["check_noted", "write_noted"]


def write_noted(path: Path, text: str) -> None:
    """Like `write_text`, and adds a line to the manifest of the folder."""
    with Manifest(path.parent) as manifest, manifest.adding(path.name, {}) as temporary:
        temporary.write_bytes(encoded(text))


def check_noted(path: Path) -> None:
    """Raise, before any work is done, what `write_noted` would raise about this path."""
    if not os.path.lexists(path):
        return
    with Manifest(path.parent) as manifest:
        check_writable(path, known=manifest.known(path.name))
