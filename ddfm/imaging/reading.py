"""Reads image files at their own depth, with their colour profile, alpha and orientation.

PNG, JPEG, TIFF (any page), WebP, BMP, JPEG 2000, GIF, PGM, PPM and HEIC are read at 8 and 16 bits;
AVIF and JPEG XL at 8; TIFF, PFM, NPY and CSV as floating point, too. `ddfm.imaging.picture`
describes how values of any range are scaled. JPEG 2000 colour of more than 8 bits is refused, since
Pillow would drop its lower bits.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from ddfm.arguments import by_annotation
from ddfm.errors import DdfmError, InputError, warn
from ddfm.imaging.formats.jpeg2000 import (
    boxed_metadata,
    boxed_orientation,
    boxed_profile,
    is_boxed,
    is_deep,
)
from ddfm.imaging.formats.pil import READABLE, bytes_needed, from_pil, from_pil_file
from ddfm.imaging.formats.plugins import opened_by, suffix_is_read
from ddfm.imaging.formats.tables import TABLES, read_table
from ddfm.imaging.formats.tiff import page_mask, page_nodata, read_page, unread_compression
from ddfm.imaging.formats.tiff_pages import (
    is_raw,
    is_tiff,
    page_count,
    page_metadata,
    whole_pages,
)
from ddfm.imaging.levels import Levels, with_levels
from ddfm.imaging.picture import Picture, from_array, no_valid_pixel, orient
from ddfm.imaging.quiet import silence_libtiff
from ddfm.imaging.thermal.degrees import PERCENTILES, Celsius
from ddfm.imaging.thermal.radiometric import is_radiometric, read_radiometric
from ddfm.imaging.unreadable import RAW, explained, suffix_is_raw
from ddfm.storage.budget import ask_pixels
from ddfm.storage.checksum import sha256_of
from ddfm.storage.in_memory import as_path, has_no_path, name_of
from ddfm.storage.inputs import BoundedFile, existing_file

__all__ = ["SUFFIXES", "is_image", "pages_in", "read_image", "read_source"]

# Suffixes of images in a folder. Without CSV and TSV, which may be anything and must be named.
SUFFIXES = frozenset(
    ".png .jpg .jpeg .tif .tiff .webp .bmp .jp2 .j2k .gif .pgm .ppm .pfm .npy .fff .irg".split()
)

_MASK_BESIDE = (
    "{}: {} beside it is not read; gdal_translate --config GDAL_TIFF_INTERNAL_MASK YES IN.tif "
    "OUT.tif writes it into the file"
)
_FIRST = (
    "{} holds {} pictures, and the first is used; page (--page, ddfm.read_image) selects another, "
    "counted from 0"
)


def is_image(path: Path) -> bool:
    """Whether a file can be read as an image here, by its suffix."""
    return path.suffix.lower() in SUFFIXES or suffix_is_read(path.suffix)


@by_annotation
def read_image(
    source: Any, *, page: int | None = None, name: str | None = None, levels: Any = None
) -> Picture:
    """Read the picture in a file, a PIL image, a NumPy array or a tensor. The source is unchanged.

    Args:
        source: a path, bytes, or a file that is open for reading; a PIL image; an array of shape
            (H, W) or (H, W, C); a tensor of shape (H, W) or (C, H, W). C is 1 (grey), 2 (grey,
            alpha), 3 (RGB) or 4 (RGBA).
        page: which page of a TIFF file, or picture of another file that holds several, counted from
            0; None is the first, with a warning if there are more.
        name: the picture's name in messages; by default its path or kind.
        levels: the values that become black and white: (LOW, HIGH), "full" or "auto"; see
            `ddfm.imaging.levels`. With None they are left open, and a fusion uses "auto".
    """
    if levels is not None:
        return with_levels(read_image(source, page=page, name=name), levels)
    if page and not isinstance(source, (str, os.PathLike)) and not has_no_path(source):
        raise InputError(
            f"{name or 'image'}: page selects one of the pictures in a file, and the source is of "
            f"type {type(source).__name__}"
        )
    if isinstance(source, Picture):
        return source
    if isinstance(source, (str, os.PathLike)):
        return replace(_read_file(Path(source), page, name), sha256=sha256_of(source))
    if has_no_path(source):
        name = name or name_of(source, "image")
        with as_path(source, name) as path:
            return read_image(path, page=page, name=name)
    if isinstance(source, Image.Image):
        name = name or getattr(source, "filename", "") or "PIL image"
        with explained(name):
            return from_pil(source, name)
    if isinstance(source, np.ndarray):
        return from_array(source, name or "array")
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.Tensor):
        return _from_tensor(source, name or "tensor")
    raise InputError(
        f"{name or 'image'}: cannot read an image from {type(source).__name__}; "
        "pass a path, bytes, an open file, a PIL image, a NumPy array or a tensor"
    )


def read_source(
    path: str | os.PathLike[str],
    *,
    levels: str | Levels | None = None,
    page: int | None = None,
    celsius: Celsius | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
    name: str | None = None,
) -> Picture:
    """Read a file to be fused; of a radiometric one, what the sensor measured, not its rendering.

    The rendering often has a logo and numbers in it.

    Args:
        path: the file.
        levels, page, name: as for `read_image`; in a radiometric file, `levels` are in its values.
        celsius, percentiles: for a radiometric file, as for `read_flir`.
    """
    if not is_radiometric(path):
        return read_image(path, levels=levels, page=page, name=name)
    if levels is not None and not isinstance(levels, str):
        return read_radiometric(path, percentiles=percentiles, counts=levels)
    return read_radiometric(path, celsius=celsius, percentiles=percentiles)


def pages_in(path: str | os.PathLike[str], name: str | None = None) -> int:
    """How many pictures a file holds, not counting smaller copies and masks.

    TIFF, GIF, animated PNG and WebP, AVIF and HEIC may hold several.
    """
    path = existing_file(path)
    with explained(name or str(path)):
        return _pages_in(path, _head(path), name or str(path))


def _pages_in(path: Path, head: bytes, name: str) -> int:
    if is_tiff(head):
        return max(1, whole_pages(path)) if page_count(path) > 1 else 1
    if head.startswith((b"GIF8", b"\x89PNG")) or head[8:12] == b"WEBP" or head[4:8] == b"ftyp":
        with _open(path, 0, name) as image:
            return int(getattr(image, "n_frames", 1))
    return 1


def _read_file(path: Path, page: int | None, name: str | None) -> Picture:
    path = existing_file(path)
    name = name or str(path)
    if page is None:
        if (pages := pages_in(path, name)) > 1:
            warn(_FIRST.format(name, pages))
        page = 0
    with explained(name):
        head = _head(path)
        if is_tiff(head):
            return _with_world(_read_tiff(path, page, name), path)
        if path.suffix.lower() in TABLES and not page:
            return read_table(path, name)
        _check_page(page, _pages_in(path, head, name), name)
        if is_deep(path, head):
            raise InputError(
                f"{name}: JPEG 2000 colour of more than 8 bits cannot be read without loss; "
                "convert it to PNG or TIFF first"
            )
        picture = from_pil_file(lambda: _open(path, page, name), name)
        if not is_boxed(head):
            return _with_world(picture, path)
        orientation = boxed_orientation(path)
        metadata = boxed_metadata(path, picture.size, orientation)
        if orientation != 1:
            alpha = None if picture.alpha is None else orient(picture.alpha, orientation)
            samples = orient(picture.samples, orientation)
            picture = replace(picture, samples=samples, alpha=alpha)
        return _with_world(replace(picture, metadata=metadata, icc=boxed_profile(path)), path)


def _with_world(picture: Picture, path: Path) -> Picture:
    unplaced = (*picture.metadata.unplaced, *_unread_world(path))
    return replace(picture, metadata=replace(picture.metadata, unplaced=unplaced))


def _unread_world(path: Path) -> tuple[str, ...]:
    """What to do about the world file of a picture, six lines of text beside it; or nothing."""
    kind = path.suffix[1:].lower()
    short = f"{kind[:1]}{kind[-1:]}w"
    for suffix in (short, short.upper(), f"{kind}w", "wld"):
        if (beside := path.with_suffix(f".{suffix}")).is_file():
            into = f"gdal_translate IN{path.suffix} OUT.tif writes it into a GeoTIFF"
            return (f"its world file {beside.name} is not read; {into}",)
    return ()


def _read_tiff(path: Path, page: int, name: str) -> Picture:
    if suffix_is_raw(path.suffix) or is_raw(path):
        raise InputError(f"{name} {RAW}")
    _check_page(page, max(page_count(path), 1), name)
    picture = read_page(path, page, name)
    if picture is None:
        picture = _decoded_tiff(path, page, name)
    if (beside := path.with_name(path.name + ".msk")).is_file():
        warn(_MASK_BESIDE.format(name, beside.name))
    mask = page_mask(path, page, name)
    if mask is not None and picture.mask is not None:
        mask = mask & picture.mask
    if mask is not None and not mask.any():
        raise no_valid_pixel(name)
    mask = picture.mask if mask is None or mask.all() else mask
    return replace(picture, mask=mask, metadata=page_metadata(path, page))


def _decoded_tiff(path: Path, page: int, name: str) -> Picture:
    """A page that Pillow decodes."""
    nodata = page_nodata(path, page, name)
    silence_libtiff()
    try:
        return from_pil_file(lambda: _open(path, page, name), name, nodata)
    except DdfmError:
        raise
    except Exception as error:
        if method := unread_compression(path, page):
            raise InputError(
                f"{name}: its compression ({method}) cannot be read; convert it first: "
                "gdal_translate -co COMPRESS=DEFLATE IN.tif OUT.tif"
            ) from None
        if not isinstance(error, UnidentifiedImageError):
            raise
        raise InputError(
            f"{name} is damaged, or a TIFF of a rare kind; save it again with 8 or 16 bits, "
            "uncompressed"
        ) from None


def _check_page(page: int, pages: int, name: str) -> None:
    if not 0 <= page < pages:
        has = f"{pages} pages" if pages > 1 else "one page"
        raise InputError(f"{name} has {has}, so there is no page {page} (they count from 0)")


@contextmanager
def _open(path: Path, page: int, name: str) -> Iterator[ImageFile.ImageFile]:
    formats = READABLE + opened_by(path, _head(path), name)
    with BoundedFile(path) as file, Image.open(file, formats=formats) as image:
        if page:
            image.seek(page)
        ask_pixels(image.width, image.height, name, bytes_needed(image), file.length)
        yield image


def _from_tensor(tensor: Any, name: str) -> Picture:
    import torch

    if tensor.ndim not in (2, 3):
        raise InputError(
            f"{name}: an image has shape (H, W) or (C, H, W), not {tuple(tensor.shape)}; "
            "pass one image at a time"
        )
    with explained(name):
        if tensor.dtype == torch.bfloat16:
            tensor = tensor.float()
        array = tensor.numpy(force=True)
    if array.ndim == 3:
        if not 1 <= array.shape[0] <= 4:
            raise InputError(
                f"{name}: {array.shape[0]} channels (shape {array.shape}), but an image has 1 to "
                "4; in tensors the channels come first"
            )
        array = np.moveaxis(array, 0, 2)
    return from_array(array, name)


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(4096)
