"""Whether a file of weights is what it should be: as published, or else whole by its own word."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from ddfm.errors import DdfmError, DownloadError
from ddfm.storage.checksum import sha256_of
from ddfm.storage.inputs import json_object, read_text

__all__ = ["verify"]

ZIP, PICKLE = b"PK\x03\x04", b"\x80\x02"  # how files of weights begin


def verify(
    path: Path, sha256: str | None, size: int | None, origin: str = "", least: int = 0
) -> None:
    """Raises DdfmError where `path` is not the file that it should be.

    Args:
        sha256, size: as published, or None.
        origin: what to call it in messages.
        least: bytes that it must have in any case.
    """
    what = origin or str(path)
    found = path.stat().st_size
    if size is not None and found != size:
        raise DownloadError(
            f"{what} has {found} bytes where {size} are expected; it was not accepted"
        )
    if sha256 is not None and (digest := sha256_of(path)) != sha256.lower():
        raise DownloadError(
            f"{what} has the sha256 {digest} where {sha256} is expected; it was not accepted"
        )
    if found < least:
        raise DownloadError(
            f"{what} has {found} bytes, and at least {least:,} are expected; it was not accepted"
        )
    if sha256 is None:
        if _is_cut_off(path):
            raise DownloadError(f"{what} is not complete; it was not accepted")
        if not _looks_right(path):
            raise DownloadError(f"{what} is not a file of weights or settings; it was not accepted")


def _looks_right(path: Path) -> bool:
    """Whether a file begins as its name says: many a server answers with a page to log in."""
    suffix = Path(path.name.removesuffix(".part")).suffix
    if suffix == ".json":
        try:
            return bool(json_object(read_text(path), ""))
        except DdfmError:
            return False
    with open(path, "rb") as file:
        head = file.read(9)
    if suffix == ".safetensors":
        return head[8:] == b"{"
    return head[:4] == ZIP or head[:2] == PICKLE


def _is_cut_off(path: Path) -> bool:
    """The little that can be seen without a checksum: archives and safetensors know their end."""
    with open(path, "rb") as file:
        head = file.read(8)
        if head[:4] == ZIP:
            try:
                return not zipfile.is_zipfile(path)
            except zipfile.BadZipFile:
                return True
        if path.name.removesuffix(".part").endswith(".safetensors"):
            length = int.from_bytes(head, "little")
            try:
                header = json.loads(file.read(min(length, 10**8)))
                ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
                return path.stat().st_size != 8 + length + max(ends, default=0)
            except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
                return True
    return path.stat().st_size == 0
