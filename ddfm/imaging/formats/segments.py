"""JPEG: the segments that stand before the compressed picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["segments"]


def segments(path: Path) -> Iterator[tuple[int, bytes]]:
    """Marker and body of each: 0xE1 is APP1, ...; none of a file that is no JPEG."""
    with open(path, "rb") as file:
        if file.read(2) != b"\xff\xd8":
            return
        while True:
            marker = file.read(4)
            # Only what comes before the compressed image (FFDA) is made of such segments.
            if len(marker) < 4 or marker[0] != 0xFF or marker[1] in (0xDA, 0xD9):
                return
            length = int.from_bytes(marker[2:], "big") - 2
            yield marker[1], file.read(max(length, 0))
