"""Files appear whole under their final name, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ddfm.errors import DdfmError

__all__ = ["atomic_path"]


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffixes, moved onto it when the block succeeds."""
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=".partial-", suffix="".join(path.suffixes[-2:])
        )
        os.close(handle)
    except OSError as error:
        raise DdfmError(f"cannot write {path}: {error.strerror or error}") from None
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp made the file private; give it the mode that any new file would have.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as error:
        raise DdfmError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
