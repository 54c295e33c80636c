"""Files in formats without a place to say whose they are: the manifest of their folder says it.

Tables and pages are such. Who has changed one by hand has made it a file of theirs.
"""

from __future__ import annotations

import os
from pathlib import Path

from ddfm.storage.files import encoded
from ddfm.storage.manifest import Manifest
from ddfm.storage.outputs import check_writable

__all__ = ["check_noted", "write_noted"]


def write_noted(path: Path, text: str) -> None:
    """As `write_text`, with a line in the manifest of the folder."""
    with Manifest(path.parent) as manifest, manifest.adding(path.name, {}) as temporary:
        temporary.write_bytes(encoded(text))


def check_noted(path: Path) -> None:
    """Raise what `write_noted` would raise about this path, before the work is done."""
    if not os.path.lexists(path):
        return
    with Manifest(path.parent) as manifest:
        check_writable(path, known=manifest.known(path.name))
