"""Finds the XMP packet in a file of any format, without decoding the picture."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ddfm.imaging.formats import jpeg2000
from ddfm.imaging.formats.pil import READABLE, packet_of
from ddfm.imaging.formats.plugins import opened_by
from ddfm.imaging.formats.tiff_pages import XMP, is_tiff, page_tags
from ddfm.storage.inputs import BoundedFile

__all__ = ["packet_in"]


def packet_in(path: Path) -> bytes | None:
    """The packet, if there is one; in a TIFF file, that of the first page."""
    with open(path, "rb") as opened:
        head = opened.read(4096)
    if is_tiff(head):
        entry = page_tags(path, 0, {XMP}).get(XMP)
        return None if entry is None else entry.data
    if jpeg2000.is_boxed(head):
        return jpeg2000.uuid_boxes(path).get(jpeg2000.XMP)
    formats = READABLE + opened_by(path, head, str(path))
    with BoundedFile(path) as file, Image.open(file, formats=formats) as image:
        return packet_of(image)
