"""The content of a file in a few digits: to know it again, and to see that it has changed."""

from __future__ import annotations

import hashlib
import os

from ddfm.errors import StorageError

__all__ = ["sha256_of"]

CHUNK = 1 << 20


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from None
    return digest.hexdigest()
