"""Directories of tags, as TIFF files and EXIF blocks have them, read and written entry by entry.

A directory is a count, and for each entry its tag, the kind of its values, how many there are, and
the values themselves, or where they lie (TIFF 6.0, section 2; EXIF 2.32, section 4.6). Values are
copied as they are stored, in the order of bytes that all of ours are written in; so nothing of
them is lost, and nothing is decoded that nobody asks about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import numpy as np

from ddfm.errors import InputError

__all__ = ["Directory", "Entry", "block", "directory_in", "in_block", "integer", "with_entries"]

Order = Literal["<", ">"]

ASCII, SHORT, LONG, UNDEFINED, DOUBLE = 2, 3, 4, 7, 12
# For each kind of value its numbers as NumPy calls them, and how many make one value.
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
MOST_BYTES = 1 << 20  # of the values of one entry


@dataclass(frozen=True)
class Entry:
    """What a tag says.

    Attributes:
        kind: of its values, by the number that TIFF gives it.
        data: the values, the lighter byte first.
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
        """Its numbers; fractions as quotients, without those of denominator 0."""
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
    """The entries of the directory at an offset, or the wanted ones. Damaged ones are left out.

    Args:
        read: the bytes at an offset, as many as there are of so many.
        wanted: the tags to read; None is all.
        big: whether it is one of BigTIFF, whose offsets are of 64 bits.
    """
    pointer, width, head = (8, 20, 8) if big else (4, 12, 2)
    said = read(offset, head)
    count = integer(said, order)
    if len(said) < head or count > MOST_ENTRIES:
        raise InputError("its directory of tags is damaged")
    table = read(offset + head, count * width)
    found: Directory = {}
    chosen = None if wanted is None else frozenset(wanted)
    for at in range(0, len(table) - width + 1, width):
        tag, kind = (integer(table[at + k : at + k + 2], order) for k in (0, 2))
        if kind not in _KINDS or tag in found or (chosen is not None and tag not in chosen):
            continue
        name, numbers = _KINDS[kind]
        held = integer(table[at + 4 : at + 4 + pointer], order)
        size = held * numbers * np.dtype(name).itemsize
        if not 0 < size <= MOST_BYTES:
            continue
        field = table[at + 4 + pointer : at + width]
        data = field[:size] if size <= pointer else read(integer(field, order), size)
        if len(data) == size:
            found[tag] = Entry(
                kind, np.frombuffer(data, f"{order}{name}").astype(f"<{name}").tobytes()
            )
    return found


def _packed(directory: Mapping[int, Entry], offset: int) -> bytes:
    """A directory that is to lie at an offset, its larger values behind it."""
    end = offset + 2 + 12 * len(directory) + 4
    table, behind = len(directory).to_bytes(2, "little"), b""
    for tag, entry in sorted(directory.items()):
        field = entry.data.ljust(4, b"\0")
        if len(entry.data) > 4:
            field = (end + len(behind)).to_bytes(4, "little")
            behind += entry.data + b"\0" * (len(entry.data) % 2)  # values begin at even places
        table += tag.to_bytes(2, "little") + entry.kind.to_bytes(2, "little")
        table += entry.count.to_bytes(4, "little") + field
    return table + bytes(4) + behind


def block(
    entries: Mapping[int, Entry], below: Mapping[int, Mapping[int, Entry]] | None = None
) -> bytes:
    """A TIFF file without pixels, as EXIF is one."""
    file = BytesIO(b"II*\0\x08\0\0\0" + bytes(6))  # whose directory is empty
    with_entries(file, entries, below or {})
    return file.getvalue()


def in_block(
    data: bytes,
) -> tuple[Callable[[int, int], bytes], int, Order] | None:
    """A reader of such a block, the offset of its directory, and its byte order."""
    orders: dict[bytes, Order] = {b"II*\0": "<", b"MM\0*": ">"}
    order = orders.get(data[:4])
    if order is None:
        return None
    return lambda offset, size: data[offset : offset + size], integer(data[4:8], order), order


def with_entries(
    file: BytesIO, entries: Mapping[int, Entry], below: Mapping[int, Mapping[int, Entry]]
) -> None:
    """Gives the first directory of a TIFF file in memory, of our order of bytes, more entries.

    It is written anew behind all else, where there is room for it, and its sub-directories with it.

    Args:
        entries: they take the place of those of the same tag.
        below: by the tag that points to each.
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
    """Of any number of bytes."""
    return int.from_bytes(data, "little" if order == "<" else "big")
