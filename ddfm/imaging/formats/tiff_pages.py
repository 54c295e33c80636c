"""The pages of a TIFF file: their number, and their tags, without their pixels.

The directories of the pages form a chain, which a damaged file may make endless.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ddfm.errors import InputError
from ddfm.imaging.formats.tags import ORIENTATION, Directory, Order, directory_in, integer
from ddfm.imaging.metadata import Metadata, gathered
from ddfm.imaging.metadata.exif import read_exif
from ddfm.imaging.metadata.geo import GEO_TAGS, Geo, geo_in, turned
from ddfm.imaging.metadata.xmp import kept
from ddfm.storage.inputs import BoundedFile

if TYPE_CHECKING:
    from tifffile import FileHandle

__all__ = [
    "MASK",
    "REDUCED",
    "XMP",
    "bytes_at",
    "is_raw",
    "is_tiff",
    "page_count",
    "page_metadata",
    "page_tags",
    "whole_pages",
]

XMP = 700  # a tag, as those that follow
_WIDTH, _HEIGHT, _IPTC, _SUBFILE = 256, 257, 33723, 254
_SUBFILES, _DNG = 330, 50706  # the tags of further images within a page, and of DNG's version
_RPC = 50844
_NO_RPC = (
    "its rational polynomials (RPC) are left out; orthorectify it first: gdalwarp -rpc IN.tif "
    "OUT.tif"
)
_OF_RAW = {_SUBFILE, _SUBFILES, _DNG}
REDUCED, MASK = 1, 4  # bits of the tag _SUBFILE
_MOST_PAGES = 100_000  # a longer chain is not from a real file, and takes minutes to follow


def is_tiff(head: bytes) -> bool:
    """Whether a file's first bytes are those of a TIFF or BigTIFF."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_raw(path: Path) -> bool:
    """Whether this is a camera's raw file, whose first page is a small preview of the image.

    In DNG, NEF and ARW, the page is marked as a reduced copy of one that is within it; CR2 has two
    letters after the header.
    """
    tags: Directory = {}
    # Whoever reads a damaged file, or one without pages, finds out what is wrong with it.
    with BoundedFile(path) as file, suppress(InputError, StopIteration):
        if file.read(10)[8:] == b"CR":
            return True
        offset, order, big = _page(file, 0)
        tags = directory_in(partial(bytes_at, file), offset, order, _OF_RAW, big=big)
    kind = next(iter(tags[_SUBFILE].numbers), 0) if _SUBFILE in tags else 0
    return _DNG in tags or (_SUBFILES in tags and bool(int(kind) & REDUCED))


def page_count(path: Path) -> int:
    """The number of pages, counted along their chain; raises if the chain is a loop."""
    with BoundedFile(path) as file:
        seen: set[int] = set()
        for offset in _pages(file):
            if offset in seen:
                raise InputError(f"{path} is damaged: its pages form a loop")
            seen.add(offset)
            if len(seen) > _MOST_PAGES:
                raise InputError(f"{path} was refused: it has more than {_MOST_PAGES:,} pages")
    return len(seen)


def whole_pages(path: Path) -> int:
    """How many pages are pictures of their own, not smaller copies of another or masks."""
    with BoundedFile(path) as file:
        read = partial(bytes_at, file)
        order, big = _layout(file)
        count = 0
        for offset in islice(_pages(file), _MOST_PAGES):
            kind = directory_in(read, offset, order, [_SUBFILE], big=big).get(_SUBFILE)
            count += not (kind and int(next(iter(kind.numbers), 0)) & (REDUCED | MASK))
    return count


def page_tags(path: Path, page: int, wanted: Iterable[int]) -> Directory:
    """The wanted tags of an existing page."""
    with BoundedFile(path) as file:
        offset, order, big = _page(file, page)
        return directory_in(partial(bytes_at, file), offset, order, wanted, big=big)


def page_metadata(path: Path, page: int) -> Metadata:
    """The metadata of an existing page."""
    with BoundedFile(path) as file:
        read = partial(bytes_at, file)
        offset, order, big = _page(file, page)
        wanted = GEO_TAGS | {_WIDTH, _HEIGHT, ORIENTATION, XMP, _IPTC, _RPC}
        tags = directory_in(read, offset, order, wanted, big=big)
        height, width, orientation = (
            int(next(iter(tags[tag].numbers), 1)) if tag in tags else 1
            for tag in (_HEIGHT, _WIDTH, ORIENTATION)
        )

        def geo() -> Geo | None:
            found = geo_in(tags)
            return found and found.on_grid(turned((height, width), orientation))

        packet, iptc = (tags[tag].data if tag in tags else None for tag in (XMP, _IPTC))
        found = gathered(
            lambda: read_exif(read, offset, order, orientation, big=big),
            lambda: kept(packet, iptc) if packet or iptc else None,
            geo,
        )
        return replace(found, unplaced=(_NO_RPC,) if _RPC in tags else ())


def _page(file: BinaryIO, page: int) -> tuple[int, Order, bool]:
    """The offset of the directory of a page, the byte order, and whether it is BigTIFF."""
    return next(islice(_pages(file), page, None)), *_layout(file)


def _layout(file: BinaryIO) -> tuple[Order, bool]:
    """The byte order, and whether it is BigTIFF."""
    head = bytes_at(file, 0, 4)
    return "<" if head[:2] == b"II" else ">", head[2:] in (b"+\0", b"\0+")


def _pages(file: BinaryIO) -> Iterator[int]:
    """The offsets of the directories of the pages, along a chain that may be endless."""
    order, big = _layout(file)
    pointer, entry, count = (8, 20, 8) if big else (4, 12, 2)
    offset = integer(bytes_at(file, pointer, pointer), order)
    while offset:
        yield offset
        entries = integer(bytes_at(file, offset, count), order)
        offset = integer(bytes_at(file, offset + count + entries * entry, pointer), order)


def bytes_at(file: BinaryIO | FileHandle, offset: int, size: int) -> bytes:
    """The bytes of a file at an offset; fewer if it ends before."""
    file.seek(offset)
    return file.read(size)
