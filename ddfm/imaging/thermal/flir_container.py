"""FLIR's container ("FFF") of records: raw values, camera constants, the photograph and others.

It is a file by itself, or split over the APP1 segments of a JPEG. The package flyr converts raw
values to temperatures. The container is opened here, since flyr skips the last two records of its
directory, and trusts any size given in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from ddfm.errors import InputError, missing_extra
from ddfm.imaging.formats.jpeg import is_cut_off, segments
from ddfm.imaging.unreadable import FLIR_FILMS, advice_for
from ddfm.storage.budget import ask_pixels

__all__ = ["Records", "has_container", "opened_container", "photograph_in", "thermogram_of"]

_RAW, _PHOTOGRAPH, _CAMERA = 1, 14, 32
_NAMES = {_RAW: "raw values", _CAMERA: "camera values", _PHOTOGRAPH: "photograph"}
_MAGIC = b"FFF\0"
_ENTRY = 32  # bytes of an entry of the directory
_LARGEST_SENSOR = 4096 * 1024  # pixels; the largest sensors that FLIR builds have three million
_PHOTOGRAPH_BYTES = 8  # bytes in memory per sample: decoded, copied, cropped, and as float32

Records = dict[int, tuple[int, int, int, int]]


def has_container(path: Path) -> bool:
    """Whether a file has a container, or, if it is cut off, a part of one."""
    return _is_bare(path) or any(True for _ in _segments(path))


def opened_container(path: Path) -> tuple[bytes, Records]:
    """The container of a file, its numbers in the byte order that flyr expects, and its records."""
    if not path.stat().st_size:
        raise InputError(f"{path} is empty")
    container = path.read_bytes() if _is_bare(path) else b"".join(_parts(path))
    if not container:
        what = advice_for(str(path)) or (
            "has no radiometric data of a FLIR camera in it, so it is one image; pass two"
        )
        raise InputError(f"{path} {what}")
    records = _records(container, path)
    _, _, offset, _ = records[_RAW]
    if container[offset : offset + 2] == b"\0\2":  # the kind of the record, big-endian
        container = _turned(container, records)
    _check_record_sizes(container, records, path)
    return container, records


def thermogram_of(container: bytes, records: Records, path: Path) -> Any:
    """What flyr reads from a container: temperatures, placement and the camera's settings."""
    try:
        from flyr.flyr import parse_thermogram
    except ImportError as error:
        raise missing_extra("flyr", "thermal", f"reading temperatures from {path}", error) from None
    # flyr wants the JPEG for its EXIF, which is not needed here; a bare container has none.
    return parse_thermogram(BytesIO(container), records, BytesIO(_blank()))


def photograph_in(container: bytes, records: Records) -> BytesIO | None:
    """The compressed photograph, if there is one."""
    if _PHOTOGRAPH not in records:
        return None
    _, _, offset, length = records[_PHOTOGRAPH]
    return BytesIO(container[offset + 32 : offset + length])


def _is_bare(path: Path) -> bool:
    """Whether a file is a container by itself, and not a film, which has many in a row."""
    with open(path, "rb") as file:
        return file.read(4) == _MAGIC and path.suffix.lower() not in FLIR_FILMS


def _segments(path: Path) -> Iterator[bytes]:
    """The FLIR segments of a JPEG: 8 bytes, with their number and the last one's, and a part."""
    for marker, body in segments(path):
        if marker == 0xE1 and body[:5] == b"FLIR\0" and len(body) > 8:
            yield body


def _parts(path: Path) -> list[bytes]:
    """The parts of the container in a JPEG, in order; empty if it has none."""
    parts: dict[int, bytes] = {}
    last = -1
    for body in _segments(path):
        last = body[7]
        parts[body[6]] = body[8:]
    missing = [number for number in range(last + 1) if number not in parts]
    if is_cut_off(path) and (missing or not parts):
        raise InputError(f"{path} is cut off, in or before its FLIR data")
    if missing:
        raise InputError(
            f"{path} has lost {len(missing)} of the {last + 1} segments of its FLIR data, perhaps "
            "in a program that saved it again; use the camera's original file"
        )
    return [parts[number] for number in range(last + 1)]


def _turned(container: bytes, records: Records) -> bytes:
    """The container of an older camera, which is big-endian, converted to little-endian."""
    turned = bytearray(container)
    for kind, size in ((_RAW, 2), (_CAMERA, 4)):
        number, _, offset, length = records[kind]
        end = offset + length // size * size
        words = np.frombuffer(container[offset:end], f">u{size}")
        if kind == _RAW and container[offset + 32 : offset + 36] == b"\x89PNG":
            # Values in a PNG of these cameras are right already, but flyr would swap their bytes.
            with Image.open(BytesIO(container[offset + 32 : end]), formats=["PNG"]) as image:
                ask_pixels(image.width, image.height, "a sensor")
                words = np.concatenate([words[:16], np.asarray(image).astype(np.uint16).ravel()])
            records[kind] = (number, kind, len(turned), 2 * len(words))
            turned += words.astype("<u2").tobytes()
        else:
            turned[offset:end] = words.astype(f"<u{size}").tobytes()
    return bytes(turned)


def _blank() -> bytes:
    file = BytesIO()
    Image.new("L", (1, 1)).save(file, "JPEG")
    return file.getvalue()


def _records(container: bytes, path: Path) -> Records:
    """For each type of record, what flyr expects: its number, type, offset and length."""
    orders: tuple[Literal["big", "little"], ...] = ("big", "little")
    # Read in the wrong byte order, the directory's offset would lie far beyond the end.
    order = min(orders, key=lambda order: int.from_bytes(container[24:28], order))
    directory = int.from_bytes(container[24:28], order)
    count = int.from_bytes(container[28:32], order)
    count = min(count, max(len(container) - directory, 0) // _ENTRY)
    records: Records = {}
    beyond = set()
    for number in range(count):
        start = directory + number * _ENTRY
        entry = container[start : start + _ENTRY]
        kind = int.from_bytes(entry[:2], order)
        offset, length = (int.from_bytes(entry[at : at + 4], order) for at in (12, 16))
        if offset + length > len(container):
            beyond.add(kind)
        elif kind and length and kind not in records:
            records[kind] = (number, kind, offset, length)
    for kind, name in _NAMES.items():
        if kind in beyond - records.keys():
            raise InputError(f"{path} is cut off: its {name} would end beyond the end of the file")
        if kind not in records and kind != _PHOTOGRAPH:
            raise InputError(f"{path}: its FLIR data lack the record of the {name}")
    return records


def _check_record_sizes(container: bytes, records: Records, path: Path) -> None:
    for kind, limit in ((_RAW, _LARGEST_SENSOR), (_PHOTOGRAPH, None)):
        if kind not in records:
            continue
        _, _, offset, length = records[kind]
        width, height = (
            int.from_bytes(container[offset + at : offset + at + 2], "little") for at in (2, 4)
        )
        sizes = [(width, height)]
        embedded = container[offset + 32 : offset + length]
        if kind == _PHOTOGRAPH or embedded[:4] == b"\x89PNG":
            with Image.open(BytesIO(embedded), formats=["PNG", "JPEG"]) as image:
                sizes.append(image.size)
        for width, height in sizes:
            needed = 3 * width * height * _PHOTOGRAPH_BYTES
            ask_pixels(width, height, str(path), needed, path.stat().st_size)
            if limit is not None and width * height > limit:
                raise InputError(f"{path} is damaged: a sensor of {width} x {height} pixels")
