"""Checks a file of weights or settings: against published values, or else that it is complete."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from ddfm.errors import DdfmError, DownloadError
from ddfm.storage.checksum import sha256_of
from ddfm.storage.inputs import json_object, read_text

__all__ = ["verify"]

ZIP, PICKLE = b"PK\x03\x04", b"\x80\x02"  # the first bytes of files of weights


def verify(
    path: Path, sha256: str | None, size: int | None, origin: str = "", least: int = 0
) -> None:
    """Raise DdfmError if `path` is not the file that it should be.

    Args:
        path: the file.
        sha256, size: the published values, or None.
        origin: its name in messages; by default its path.
        least: the least number of bytes that it must have.
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
            f"{what} has {found} bytes where at least {least:,} are expected; it was not accepted"
        )
    if sha256 is None:
        if _is_cut_off(path):
            raise DownloadError(f"{what} is not complete; it was not accepted")
        if not _looks_right(path):
            raise DownloadError(f"{what} is not a file of weights or settings; it was not accepted")


def _looks_right(path: Path) -> bool:
    """Whether a file's first bytes fit its suffix; some servers answer with a login page."""
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
    """Whether a file is truncated, as far as that can be seen without a checksum.

    Zip archives and safetensors store where they end; of other files only emptiness is noticed.
    """
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
