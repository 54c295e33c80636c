"""JPEG: the segments that precede the compressed picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["segments"]


def segments(path: Path) -> Iterator[tuple[int, bytes]]:
    """Marker (0xE1 for APP1, ...) and body of each segment; none if the file is not a JPEG."""
    with open(path, "rb") as file:
        if file.read(2) != b"\xff\xd8":
            return
        while True:
            marker = file.read(4)
            # Only what precedes the compressed picture (FFDA) consists of such segments.
            if len(marker) < 4 or marker[0] != 0xFF or marker[1] in (0xDA, 0xD9):
                return
            length = int.from_bytes(marker[2:], "big") - 2
            yield marker[1], file.read(max(length, 0))
