"""Detects truncated videos, which FFmpeg would read as shorter films.

Most containers store the length of their outermost parts: the segment of Matroska (WebM), which is
an EBML element; the boxes of MP4 and MOV; the RIFF chunks of AVI; the tags of FLV; the objects of
WMV; the keys of MXF; the pages of Ogg. If such a part extends beyond the end of the file, the file
was truncated. This cannot be detected in MPEG streams, nor between two parts of FLV and Ogg.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ddfm.errors import InputError

__all__ = ["check_whole"]

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_MXF = bytes.fromhex("060e2b34020501010d010201")
_PARTITION = b"\x02"  # the header of an MXF
_MOST_PARTS = 1_000_000


def check_whole(path: Path) -> None:
    """Raise if the file is truncated, as far as its format shows."""
    length = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(12)
        file.seek(0)
        if head[:4] == _EBML:
            parts = _elements(file)
        elif head[:4] == b"RIFF":
            parts = _chunks(file)
        elif head[:3] == b"FLV":
            parts = _tags(file)
        elif head == _ASF[:12]:
            parts = _objects(file)
        elif head == _MXF:
            parts = _keys(file)
        elif head[:4] == b"OggS":
            parts = _pages(file)
        elif head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            parts = _boxes(file)
        else:
            return
        for _, end in zip(range(_MOST_PARTS), parts, strict=False):
            if end > length:
                raise InputError(f"{path} is truncated: {length:,} of its {end:,} bytes are there")
            file.seek(end)


def _elements(file: BinaryIO) -> Iterator[int]:
    """The end of each element, up to the segment; one that was recorded live has no length."""
    name = b""
    while name != _SEGMENT:
        name, first = file.read(4), file.read(1)
        if len(name) < 4 or not first or not first[0]:
            return
        # The number of leading zero bits is that of the bytes that follow; all ones is unknown.
        more = 8 - first[0].bit_length()
        size = int.from_bytes(bytes([first[0] & (127 >> more)]) + file.read(more), "big")
        if size == (1 << 7 * (more + 1)) - 1:
            return
        yield file.tell() + size


def _boxes(file: BinaryIO) -> Iterator[int]:
    while len(head := file.read(16)) >= 8:
        size = int.from_bytes(head[:4], "big")
        if size == 1:  # the actual size follows the name
            size = int.from_bytes(head[8:], "big")
        if size < 8:  # 0 means up to the end of the file
            return
        yield file.tell() - len(head) + size


def _chunks(file: BinaryIO) -> Iterator[int]:
    while len(head := file.read(8)) == 8 and head[:4] == b"RIFF":
        size = int.from_bytes(head[4:], "little")
        if not size:  # left by a program that was stopped while recording
            return
        yield file.tell() + size + size % 2


def _tags(file: BinaryIO) -> Iterator[int]:
    head = file.read(9)
    file.seek(int.from_bytes(head[5:], "big") + 4)  # each tag is followed by its size, repeated
    while len(head := file.read(11)) == 11:
        yield file.tell() + int.from_bytes(head[1:4], "big") + 4


def _objects(file: BinaryIO) -> Iterator[int]:
    while len(head := file.read(24)) == 24:
        size = int.from_bytes(head[16:], "little")
        if size < 24:  # 0 is left by a program that was stopped while recording
            return
        yield file.tell() - 24 + size


def _keys(file: BinaryIO) -> Iterator[int]:
    while len(head := file.read(17)) == 17 and head[:4] == _MXF[:4]:
        size, more = head[16], head[16] & 127
        if size > 127:
            size = int.from_bytes(file.read(more), "big")
        end = file.tell() + size
        if head[13:14] == _PARTITION and (footer := _footer(file)) > end:
            yield footer + 1
            file.seek(footer)
        else:
            yield end


def _footer(file: BinaryIO) -> int:
    """The offset of an MXF's footer partition, from its header; 0 if unknown."""
    return int.from_bytes(file.read(32)[24:], "big")


def _pages(file: BinaryIO) -> Iterator[int]:
    while len(head := file.read(27)) == 27 and head[:4] == b"OggS":
        yield file.tell() + head[26] + sum(file.read(head[26]))
