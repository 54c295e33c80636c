"""Decoders of damaged files raise anything; inside `explained` it becomes one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import UnidentifiedImageError

from ddfm.errors import DdfmError, one_line
from ddfm.imaging.quiet import quiet

__all__ = ["explained"]

_VOLUMES = (".nii", ".nii.gz", ".dcm", ".nrrd", ".nhdr")


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Whatever a decoder stumbles over becomes one line about the file."""
    try:
        with quiet():
            yield
    except DdfmError:
        raise
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
