"""JPEG 2000: the depth of a file, and the boxes that make it up, which hold its metadata.

A box consists of its length, four letters for its type, and its content (ISO 15444-1, annex I).
Metadata are in boxes of type "uuid", whose content begins with an identifier of 16 bytes; they may
follow the picture. The colour profile is in a box "colr" within the header box, "jp2h".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from ddfm.errors import InputError
from ddfm.imaging.formats.tags import ORIENTATION, SHORT, Entry, block, directory_in, in_block
from ddfm.imaging.metadata import Metadata, gathered
from ddfm.imaging.metadata.exif import Exif, exif_in
from ddfm.imaging.metadata.geo import GEO_TAGS, Geo, geo_in, turned
from ddfm.imaging.metadata.xmp import kept
from ddfm.storage.inputs import BoundedFile

__all__ = [
    "XMP",
    "add_boxes",
    "boxed_metadata",
    "boxed_orientation",
    "boxed_profile",
    "is_boxed",
    "is_deep",
    "uuid_boxes",
    "with_profile",
]

XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EXIF = b"JpgTiffExif->JP2"
_GEO = bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03")  # GeoJP2: a GeoTIFF of one pixel
_PIXEL = {tag: Entry.of(SHORT, 1) for tag in (256, 257, 259, 262, 277, 278, 279)}
_PIXEL |= {tag: Entry.of(SHORT, 8) for tag in (258, 273)}
_BY_PROFILE = (2, 3)  # first byte of a "colr" whose content, from the fourth byte, is a profile
MOST_BOXES = 1000
MOST_BYTES = 1 << 22


def is_boxed(head: bytes) -> bool:
    """Whether a file's first bytes are those of JPEG 2000 in boxes."""
    return head[:12] == b"\0\0\0\x0cjP  \r\n\x87\n"


def is_deep(path: Path, head: bytes) -> bool:
    """Whether this is JPEG 2000 in colour of more than 8 bits, by its SIZ marker segment."""
    if head[4:8] != b"jP  " and head[:4] != b"\xff\x4f\xff\x51":
        return False
    with open(path, "rb") as file:
        data = file.read(1 << 20)
    siz = re.search(rb"\xff\x4f\xff\x51.{36}(..)(.)", data, re.DOTALL)
    if siz is None:
        return False
    channels, precision = int.from_bytes(siz[1], "big"), (siz[2][0] & 127) + 1
    return channels > 1 and precision > 8


def uuid_boxes(path: Path) -> dict[bytes, bytes]:
    """The content of the metadata boxes by identifier; of two with the same one, the first."""
    with BoundedFile(path) as file:
        found = [_read(file, box) for box in _boxes(file, file.length) if box.kind == b"uuid"]
    return {data[:16]: data[16:] for data in reversed(found) if len(data) >= 16}


def boxed_orientation(path: Path) -> int:
    """The EXIF orientation of a JPEG 2000 file, 1 if it has none."""
    opened = in_block(uuid_boxes(path).get(_EXIF, b"").removeprefix(b"Exif\0\0"))
    try:
        found = directory_in(*opened, {ORIENTATION}) if opened else {}
    except InputError:  # damaged EXIF is reported with the other metadata
        return 1
    number = next(iter(found[ORIENTATION].numbers), 1) if ORIENTATION in found else 1
    return int(number) if number in range(1, 9) else 1  # a damaged one may be NaN


def boxed_metadata(path: Path, size: tuple[int, int], orientation: int) -> Metadata:
    """The metadata in a JPEG 2000 file.

    Args:
        size: height and width of the picture as it is stored.
        orientation: by which the picture is turned.
    """
    found = uuid_boxes(path)

    def geo() -> Geo | None:
        opened = in_block(found.get(_GEO, b""))
        place = geo_in(directory_in(*opened, GEO_TAGS)) if opened else None
        return place and place.on_grid(turned(size, orientation))

    return gathered(
        lambda: exif_in(found[_EXIF], orientation) if _EXIF in found else Exif(),
        lambda: kept(found[XMP]) if XMP in found else None,
        geo,
    )


def add_boxes(file: BytesIO, exif: bytes | None, xmp: bytes | None, geo: Geo | None) -> None:
    """Append metadata, if there is any, to a file in memory."""
    placed = None
    if geo is not None and geo.is_placed:
        placed = block(_PIXEL | replace(geo, nodata=None).entries(np.dtype(np.uint8)))
    for number, data in ((_EXIF, exif), (XMP, xmp), (_GEO, placed)):
        if data:
            file.seek(0, 2)
            file.write((8 + 16 + len(data)).to_bytes(4, "big") + b"uuid" + number + data)


def boxed_profile(path: Path) -> bytes | None:
    """The colour profile of a JPEG 2000 file, if it has one."""
    with BoundedFile(path) as file:
        for box in _boxes(file, file.length, within=b"jp2h"):
            data = _read(file, box) if box.kind == b"colr" else b""
            if len(data) > 3 and data[0] in _BY_PROFILE:
                return data[3:]
    return None


def with_profile(file: bytes, icc: bytes) -> bytes:
    """The file with this colour profile in place of the colour box in its header."""
    opened = BytesIO(file)
    head = next(box for box in _boxes(opened, len(file)) if box.kind == b"jp2h")
    color = next(box for box in _boxes(opened, len(file), within=b"jp2h") if box.kind == b"colr")
    color_box = (8 + 3 + len(icc)).to_bytes(4, "big") + b"colr" + b"\2\0\0" + icc
    within = file[head.body : color.start] + color_box + file[color.stop : head.stop]
    length = (8 + len(within)).to_bytes(4, "big")
    return file[: head.start] + length + b"jp2h" + within + file[head.stop :]


class _Box(NamedTuple):
    """A box: where it starts, its type, and where its content starts and stops."""

    start: int
    kind: bytes
    body: int
    stop: int


def _read(file: BinaryIO, box: _Box) -> bytes:
    if box.stop - box.body > MOST_BYTES:
        return b""
    file.seek(box.body)
    return file.read(box.stop - box.body)


def _boxes(file: BinaryIO, end: int, at: int = 0, within: bytes = b"") -> Iterator[_Box]:
    """The boxes from offset `at` to `end`, or those within the first box of type `within`."""
    for _ in range(MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        length, kind, body = int.from_bytes(head[:4], "big"), head[4:8], at + 8
        if length == 1:
            length, body = int.from_bytes(head[8:16], "big"), at + 16
        stop = at + length if length else end
        if stop < body or stop > end or stop <= at:
            return
        if kind == within:
            yield from _boxes(file, stop, body)
            return
        if not within:
            yield _Box(at, kind, body, stop)
        at = stop
        if at >= end:
            return
