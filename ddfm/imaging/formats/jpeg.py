"""JPEG: the segments that precede the compressed picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["is_cut_off", "segments"]

_BEGIN = b"\xff\xd8"
_HEAD = 4  # bytes of marker and length in front of each segment


def segments(path: Path) -> Iterator[tuple[int, bytes]]:
    """Marker (0xE1 for APP1, ...) and body of each segment; none if the file is not a JPEG."""
    with open(path, "rb") as file:
        if file.read(len(_BEGIN)) != _BEGIN:
            return
        while True:
            marker = file.read(_HEAD)
            # Only what precedes the compressed picture (FFDA) consists of such segments.
            if len(marker) < _HEAD or marker[0] != 0xFF or marker[1] in (0xDA, 0xD9):
                return
            length = int.from_bytes(marker[2:], "big") - 2
            yield marker[1], file.read(max(length, 0))


def is_cut_off(path: Path) -> bool:
    """Whether a JPEG ends before its compressed picture, as a file without content does."""
    with open(path, "rb") as file:
        begin = file.read(len(_BEGIN))
    if begin != _BEGIN:
        return not begin
    end = len(_BEGIN) + sum(_HEAD + len(body) for _, body in segments(path))
    return path.stat().st_size < end + _HEAD
