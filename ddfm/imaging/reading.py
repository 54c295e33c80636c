"""What every reader of files of others needs: the file is there, it is not too large, it explains.

Decoders of damaged files raise anything. Inside `explained` it becomes one line about the file.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ddfm.errors import DdfmError, one_line
from ddfm.imaging.quiet import quiet

__all__ = ["BoundedFile", "check_pixels", "existing_file", "explained", "one_line"]

_VOLUMES = (".nii", ".nii.gz", ".dcm", ".nrrd", ".nhdr")


class BoundedFile(io.BufferedReader):
    """A file to read that never asks for more memory than it has bytes.

    Formats say how long their parts are, and a damaged one may say four gigabytes. Python would
    make room for all of it before it finds that the file is shorter.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        raw = io.FileIO(path)
        self._length = os.fstat(raw.fileno()).st_size
        super().__init__(raw)

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            return super().read()
        return super().read(min(size, max(self._length - self.tell(), 0)))


def existing_file(path: str | os.PathLike[str]) -> Path:
    """The path of a file that is there, or an error that says what is instead."""
    path = Path(path)
    try:
        if path.is_dir():
            raise DdfmError(f"cannot read {path}: it is a folder, not an image")
        if not path.exists():
            raise DdfmError(f"cannot read {path}: there is no such file")
        if not path.is_file():
            raise DdfmError(f"cannot read {path}: it is not a regular file")
    except (OSError, ValueError) as error:
        raise DdfmError(f"cannot read {path}: {one_line(error)}") from None
    return path


def check_pixels(width: int, height: int, name: str) -> None:
    """Refuse a picture of more pixels than Pillow would decode, before anything of it is."""
    limit = _max_pixels()
    if limit is not None and width * height > limit:
        raise DdfmError(
            f"{name} says it has {width} x {height} pixels, more than the limit of {limit:,} that "
            "guards against decompression bombs; if you trust it, raise PIL.Image.MAX_IMAGE_PIXELS"
        )


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Whatever a decoder stumbles over becomes one line about the file."""
    try:
        with quiet():
            yield
    except DdfmError:
        raise
    except Image.DecompressionBombError:
        raise DdfmError(
            f"{name} has more pixels than the limit of {_max_pixels():,} that guards against "
            "decompression bombs; if you trust it, raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from None
    except UnidentifiedImageError:
        raise DdfmError(f"{name} {_not_an_image(name)}") from None
    except MemoryError:
        raise DdfmError(f"cannot read {name}: there is not enough memory for it") from None
    except OSError as error:
        if error.errno is not None:
            raise DdfmError(f"cannot read {name}: {error.strerror or error}") from None
        raise DdfmError(f"{name} is truncated or damaged: {one_line(error)}") from None
    except Exception as error:
        raise DdfmError(f"{name} is truncated or damaged: {one_line(error)}") from None


def _not_an_image(name: str) -> str:
    if name.lower().endswith(_VOLUMES):
        return "is not a picture; volumes and DICOM series are for the command `ddfm volume`"
    return "is not an image, or damaged (known: PNG, JPEG, TIFF, WebP, BMP, JPEG 2000, GIF)"


def _max_pixels() -> int | None:
    """Pillow warns from its limit on, and refuses from twice the limit on; we only refuse."""
    return None if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS
