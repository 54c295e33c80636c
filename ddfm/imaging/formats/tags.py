"""Reads and writes directories of tags, as TIFF files and EXIF blocks have them.

A directory is a count, and for each entry its tag, the kind of its values, their number, and the
values themselves or their offset (TIFF 6.0, section 2; EXIF 2.32, section 4.6). Values are kept as
bytes, without decoding, so that nothing is lost; their byte order becomes little-endian, in which
ddfm writes all its files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import numpy as np

from ddfm.errors import InputError

__all__ = [
    "ORIENTATION",
    "Directory",
    "Entry",
    "block",
    "directory_in",
    "in_block",
    "integer",
    "with_entries",
]

Order = Literal["<", ">"]

ORIENTATION = 274  # the tag by which pictures are turned, in TIFF and EXIF
ASCII, SHORT, LONG, UNDEFINED, DOUBLE = 2, 3, 4, 7, 12
# For each kind of value, the type of its numbers in NumPy, and how many of them make a value.
_KINDS = {
    1: ("u1", 1),
    2: ("u1", 1),
    3: ("u2", 1),
    4: ("u4", 1),
    5: ("u4", 2),
    6: ("i1", 1),
    7: ("u1", 1),
    8: ("i2", 1),
    9: ("i4", 1),
    10: ("i4", 2),
    11: ("f4", 1),
    12: ("f8", 1),
    13: ("u4", 1),
    16: ("u8", 1),
    17: ("i8", 1),
    18: ("u8", 1),
}
MOST_ENTRIES = 4096
MOST_BYTES = 1 << 20  # bytes of the values of one entry


@dataclass(frozen=True)
class Entry:
    """The values of a tag.

    Attributes:
        kind: the kind of the values, by its number in TIFF.
        data: the values, little-endian.
    """

    kind: int
    data: bytes

    @classmethod
    def of(cls, kind: int, *values: float) -> Entry:
        """An entry with these numbers."""
        return cls(kind, np.array(values, f"<{_KINDS[kind][0]}").tobytes())

    @classmethod
    def of_text(cls, text: str) -> Entry:
        return cls(ASCII, text.encode() + b"\0")

    @property
    def count(self) -> int:
        name, numbers = _KINDS[self.kind]
        return len(self.data) // (np.dtype(name).itemsize * numbers)

    @property
    def numbers(self) -> tuple[float, ...]:
        """The values as numbers; fractions as quotients, leaving out those with denominator 0."""
        name, numbers = _KINDS[self.kind]
        values = np.frombuffer(self.data, f"<{name}")
        if numbers == 1:
            return tuple(values.tolist())
        return tuple(above / below for above, below in values.reshape(-1, 2).tolist() if below)

    @property
    def text(self) -> str:
        return self.data.split(b"\0")[0].decode("utf-8", "replace").strip()


Directory = dict[int, Entry]


def directory_in(
    read: Callable[[int, int], bytes],
    offset: int,
    order: Order,
    wanted: Iterable[int] | None = None,
    *,
    big: bool = False,
) -> Directory:
    """The entries of the directory at an offset, or the wanted ones, without damaged ones.

    Args:
        read: takes an offset and a size, and returns that many bytes, or fewer at the end.
        wanted: the tags to read; None reads all.
        big: whether it is a BigTIFF directory, whose offsets have 64 bits.
    """
    pointer, width, head = (8, 20, 8) if big else (4, 12, 2)
    start = read(offset, head)
    count = integer(start, order)
    if len(start) < head or count > MOST_ENTRIES:
        raise InputError("its directory of tags is damaged")
    table = read(offset + head, count * width)
    found: Directory = {}
    chosen = None if wanted is None else frozenset(wanted)
    for at in range(0, len(table) - width + 1, width):
        line = table[at : at + width]
        tag = integer(line[:2], order)
        if tag in found or (chosen is not None and tag not in chosen):
            continue
        if (entry := _entry(line, read, order, pointer)) is not None:
            found[tag] = entry
    return found


def _entry(
    line: bytes, read: Callable[[int, int], bytes], order: Order, pointer: int
) -> Entry | None:
    """The entry in one line of a directory; None if it is damaged.

    Args:
        read: as for `directory_in`.
        pointer: bytes of an offset, and of a value that stands in the line itself.
    """
    kind = integer(line[2:4], order)
    if kind not in _KINDS:
        return None
    name, numbers = _KINDS[kind]
    count, value = integer(line[4 : 4 + pointer], order), line[4 + pointer :]
    size = count * numbers * np.dtype(name).itemsize
    if not 0 < size <= MOST_BYTES:
        return None
    data = value[:size] if size <= pointer else read(integer(value, order), size)
    if len(data) != size:
        return None
    return Entry(kind, np.frombuffer(data, f"{order}{name}").astype(f"<{name}").tobytes())


def _packed(directory: Mapping[int, Entry], offset: int) -> bytes:
    """The bytes of a directory to be written at an offset, followed by its larger values."""
    end = offset + 2 + 12 * len(directory) + 4
    table, behind = len(directory).to_bytes(2, "little"), b""
    for tag, entry in sorted(directory.items()):
        field = entry.data.ljust(4, b"\0")
        if len(entry.data) > 4:
            field = (end + len(behind)).to_bytes(4, "little")
            behind += entry.data + b"\0" * (len(entry.data) % 2)  # values begin at even offsets
        table += tag.to_bytes(2, "little") + entry.kind.to_bytes(2, "little")
        table += entry.count.to_bytes(4, "little") + field
    return table + bytes(4) + behind


def block(
    entries: Mapping[int, Entry], below: Mapping[int, Mapping[int, Entry]] | None = None
) -> bytes:
    """A TIFF file without pixels, which is what an EXIF block is.

    Args:
        entries: those of its directory.
        below: sub-directories, each by the tag that points to it.
    """
    file = BytesIO(b"II*\0\x08\0\0\0" + bytes(6))  # with an empty directory
    with_entries(file, entries, below or {})
    return file.getvalue()


def in_block(
    data: bytes,
) -> tuple[Callable[[int, int], bytes], int, Order] | None:
    """The first arguments of `directory_in` for such a block; None if it is not one."""
    orders: dict[bytes, Order] = {b"II*\0": "<", b"MM\0*": ">"}
    order = orders.get(data[:4])
    if order is None:
        return None
    return lambda offset, size: data[offset : offset + size], integer(data[4:8], order), order


def with_entries(
    file: BytesIO, entries: Mapping[int, Entry], below: Mapping[int, Mapping[int, Entry]]
) -> None:
    """Add entries to the first directory of a little-endian TIFF file in memory.

    The directory and its sub-directories are written again at the end, where there is room.

    Args:
        file: the file.
        entries: those to add; they replace existing ones with the same tag.
        below: sub-directories, each by the tag that points to it.
    """

    def read(offset: int, size: int) -> bytes:
        file.seek(offset)
        return file.read(size)

    directory = directory_in(read, integer(read(4, 4), "<"), "<") | dict(entries)
    end = file.seek(0, 2)
    end += file.write(b"\0" * (end % 2))
    for tag, sub in below.items():
        if sub:
            directory[tag] = Entry.of(LONG, end)
            end += file.write(_packed(sub, end))
    file.write(_packed(directory, end))
    file.seek(4)
    file.write(end.to_bytes(4, "little"))


def integer(data: bytes, order: Order) -> int:
    """The unsigned integer in any number of bytes."""
    return int.from_bytes(data, "little" if order == "<" else "big")
