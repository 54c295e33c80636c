"""JPEG 2000: the boxes that a file is made of, which hold its metadata.

A box is its length, four letters, and what is in it (ISO 15444-1, annex I). Metadata lie in boxes
of the kind "uuid", each led by the number of its kind; they may stand behind the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ddfm.imaging.formats.tags import SHORT, Entry, block, directory_in, in_block
from ddfm.imaging.metadata import Metadata, gathered
from ddfm.imaging.metadata.exif import Exif, exif_in
from ddfm.imaging.metadata.geo import GEO_TAGS, Geo, geo_in
from ddfm.imaging.metadata.xmp import kept
from ddfm.storage.inputs import BoundedFile

__all__ = ["XMP", "add_boxes", "boxed_metadata", "is_boxed", "uuid_boxes"]

XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EXIF = b"JpgTiffExif->JP2"
_GEO = bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03")  # GeoJP2: a TIFF of one pixel
_PIXEL = {tag: Entry.of(SHORT, 1) for tag in (256, 257, 259, 262, 277, 278, 279)}
_PIXEL |= {tag: Entry.of(SHORT, 8) for tag in (258, 273)}
MOST_BOXES = 1000
MOST_BYTES = 1 << 22


def is_boxed(head: bytes) -> bool:
    """Whether a file's first bytes are those of JPEG 2000 in boxes."""
    return head[:12] == b"\0\0\0\x0cjP  \r\n\x87\n"


def uuid_boxes(path: Path) -> dict[bytes, bytes]:
    """The content of the boxes of metadata, by their numbers; of two of one kind the first."""
    with BoundedFile(path) as file:
        return dict(reversed(list(_uuid_boxes(file, file.length))))


def boxed_metadata(path: Path) -> Metadata:
    """The metadata in a JPEG 2000 file."""
    found = uuid_boxes(path)

    def geo() -> Geo | None:
        opened = in_block(found.get(_GEO, b""))
        return geo_in(directory_in(*opened, GEO_TAGS)) if opened else None

    return gathered(
        lambda: exif_in(found[_EXIF]) if _EXIF in found else Exif(),
        lambda: kept(found[XMP]) if XMP in found else None,
        geo,
    )


def add_boxes(file: BytesIO, exif: bytes | None, xmp: bytes | None, geo: Geo | None) -> None:
    """Adds metadata, if there is any, to the end of a file in memory."""
    placed = None
    if geo is not None and geo.is_placed:
        placed = block(_PIXEL | replace(geo, nodata=None).entries(np.dtype(np.uint8)))
    for number, data in ((_EXIF, exif), (XMP, xmp), (_GEO, placed)):
        if data:
            file.seek(0, 2)
            file.write((8 + 16 + len(data)).to_bytes(4, "big") + b"uuid" + number + data)


def _uuid_boxes(file: BinaryIO, end: int) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    for _ in range(MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        length, kind, body = int.from_bytes(head[:4], "big"), head[4:8], at + 8
        if length == 1:
            length, body = int.from_bytes(head[8:16], "big"), at + 16
        stop = at + length if length else end
        if stop <= body or stop > end:
            return
        if kind == b"uuid" and 16 <= stop - body <= MOST_BYTES:
            file.seek(body)
            data = file.read(stop - body)
            yield data[:16], data[16:]
        at = stop
