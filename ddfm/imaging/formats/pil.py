"""Converts Pillow's images of any mode to pictures; 16-bit colour of PNG and PPM has full depth.

Pillow has no mode for 16-bit colour: it decodes such a file, but returns only the upper byte of
each sample. Since it knows both byte orders of PNG, decoding the file a second time as though its
bytes were swapped gives the lower bytes, and the two are combined. PPM is not compressed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from ddfm.errors import InputError, warn
from ddfm.imaging.formats.plugins import deep_samples, heic_depth
from ddfm.imaging.formats.tags import ORIENTATION
from ddfm.imaging.metadata import Metadata, gathered
from ddfm.imaging.metadata.exif import Exif, exif_in
from ddfm.imaging.metadata.xmp import kept
from ddfm.imaging.picture import INKS, Picture, from_array, inks_to_rgb, orient

__all__ = ["READABLE", "bytes_needed", "from_pil", "from_pil_file", "metadata_of", "packet_of"]

# Other formats that Pillow knows run interpreters (EPS) or hold no photographs.
READABLE = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "JPEG2000", "GIF", "PPM")

_IPTC = 0x0404
_SWAPPED = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}
_GREY_ALPHA = "LA;16B"
_TARGET = {  # the mode that each mode is converted to: without, and with a transparent colour
    "1": ("L", "LA"),
    "L": ("L", "LA"),
    "LA": ("LA", "LA"),
    "La": ("LA", "LA"),
    "P": ("RGB", "RGBA"),
    "PA": ("RGBA", "RGBA"),
    "RGB": ("RGB", "RGBA"),
    "RGBA": ("RGBA", "RGBA"),
    "RGBa": ("RGBA", "RGBA"),
    "RGBX": ("RGB", "RGB"),
    "YCbCr": ("RGB", "RGB"),
    "HSV": ("RGB", "RGB"),
}


def bytes_needed(image: ImageFile.ImageFile) -> int:
    """Memory that an image needs in bytes: decoded, copied out of Pillow, and as float32."""
    channels = 4 if image.mode.startswith("P") else len(image.getbands())
    deep = "16" in image.mode + _raw_mode(image) or heic_depth(image) > 8
    deep = deep or _white_of_ppm(image) > 255
    stored = 4 if image.mode in ("I", "F") else 2 if deep else 1
    return image.width * image.height * channels * (2 * stored + 4)


def from_pil(image: Image.Image, name: str, nodata: float | None = None) -> Picture:
    """A picture from a Pillow image: turned upright, palettes and CMYK converted to RGB.

    Args:
        nodata: as for `from_pil_file`.
    """
    image.load()
    if nodata is not None and image.mode in ("P", "PA"):
        indices = np.asarray(image).reshape(image.height, image.width, -1)[:, :, 0]
        return _finish(_samples(image, name), image, name, gaps=indices == nodata)
    return _finish(_samples(image, name), image, name, nodata)


def from_pil_file(
    opened: Callable[[], AbstractContextManager[ImageFile.ImageFile]],
    name: str,
    nodata: float | None = None,
) -> Picture:
    """A picture from a file, at the depth of the file.

    Args:
        opened: opens the file again at each call.
        name: the picture's name in messages.
        nodata: the value that marks pixels without data; in a palette, an index.
    """
    with opened() as image:
        if heic_depth(image) > 8:
            return _finish(deep_samples(image), image, name)
        if (white := _white_of_ppm(image)) > 255:
            return _finish(_deep_ppm(image, white), image, name)
        raw = _raw_mode(image)
        if ";16" not in raw or image.mode.startswith("I"):
            return from_pil(image, name, nodata)
        if raw == _GREY_ALPHA:
            # There are four bytes per pixel, so Pillow can decode them as 8-bit RGBA.
            _load_as(image, "RGBA")
            return _finish(np.asarray(image).view(">u2").astype(np.uint16), image, name, nodata)
        if raw not in _SWAPPED:
            raise InputError(
                f"{name}: 16-bit samples stored as {raw} cannot be read without loss; "
                "save it as a PNG or an uncompressed TIFF first"
            )
        image.load()
        with opened() as again:
            _load_as(again, _SWAPPED[raw])
            low = np.asarray(again)
        return _finish(np.asarray(image).astype(np.uint16) << 8 | low, image, name, nodata)


def _white_of_ppm(image: ImageFile.ImageFile) -> int:
    """The value of white in a binary PPM in colour; 0 for other files."""
    codec, _, _, how = image.tile[0] if image.tile else ("", (), 0, ())
    if codec == "ppm" and image.mode == "RGB" and isinstance(how, tuple):
        return int(how[1])
    return 0


def _deep_ppm(image: ImageFile.ImageFile, white: int) -> np.ndarray:
    """The samples of such a file, as uint16, of which 65535 is white."""
    assert image.fp is not None  # it is open until it is decoded
    image.fp.seek(image.tile[0][2])
    stored = np.frombuffer(image.fp.read(6 * image.width * image.height), ">u2")
    of_16_bits = np.rint(np.arange(65536) * (65535 / white)).clip(0, 65535).astype(np.uint16)
    return of_16_bits[stored].reshape(image.height, image.width, 3)


def _finish(
    samples: np.ndarray,
    image: Image.Image,
    name: str,
    nodata: float | None = None,
    gaps: np.ndarray | None = None,
) -> Picture:
    """A picture from samples, with the transparent colour, orientation and profile of its file.

    Args:
        nodata: the value of pixels without data.
        gaps: True where pixels have no data, (H, W), in place of such a value.
    """
    if samples.dtype == np.uint16:
        samples = _key_out(samples, image.info.get("transparency"))
    orientation = 1 if _is_upright(image) else _orientation(image)
    samples = orient(samples, orientation)
    if gaps is not None:
        hidden = np.broadcast_to(orient(gaps, orientation)[:, :, None], samples.shape)
        samples = np.ma.masked_array(samples, hidden)
    icc = image.info.get("icc_profile")
    if icc and image.mode == "CMYK":
        warn(INKS.format(name))
        icc = None
    picture = from_array(samples, name, icc=icc, nodata=nodata)
    return replace(picture, metadata=metadata_of(image, orientation))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation of a loaded image; PNG may have it at the end of the file."""
    with suppress(Exception):  # damaged EXIF is reported with the other metadata
        stored = image.getexif().get(ORIENTATION)
        return stored if isinstance(stored, int) else 1
    return 1


def _is_upright(image: Image.Image) -> bool:
    """Whether the decoder has turned it upright already, so that its EXIF is ignored.

    So it is for JPEG XL, unless the file is a repacked JPEG.
    """
    return image.format == "JXL" and not getattr(image, "jpeg", False)


def metadata_of(image: Image.Image, orientation: int = 1) -> Metadata:
    """The metadata of an image that was turned by this orientation."""
    block, packet, iptc = image.info.get("exif"), packet_of(image), _iptc_of(image)
    return gathered(
        lambda: exif_in(block, orientation) if isinstance(block, bytes) and block else Exif(),
        lambda: kept(packet, iptc) if packet or iptc else None,
    )


def _iptc_of(image: Image.Image) -> bytes | None:
    """The block of older IPTC records (IIM) among the Photoshop resources of a JPEG."""
    resources = image.info.get("photoshop")
    block = resources.get(_IPTC) if isinstance(resources, dict) else None
    return block if isinstance(block, bytes) else None


def packet_of(image: Image.Image) -> bytes | None:
    """The XMP packet of an image, which Pillow keeps under one of two names."""
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    return packet.encode("utf-8", "replace") if isinstance(packet, str) else packet


def _key_out(samples: np.ndarray, key: object) -> np.ndarray:
    """Samples with alpha that is 0 where the colour is `key`, as Pillow does it for 8 bits."""
    color = samples.reshape(*samples.shape[:2], -1)
    if not isinstance(key, (int, tuple)) or color.shape[2] not in (1, 3):
        return samples
    seen = np.any(color != np.asarray(key), axis=2)
    return np.dstack([color, seen.astype(np.uint16) * np.uint16(65535)])


def _samples(image: Image.Image, name: str) -> np.ndarray:
    mode = image.mode
    if mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if mode == "I" and image.format == "PPM":  # 16 bits
        return np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
    if mode in ("I", "F"):
        return np.asarray(image)
    if mode == "CMYK":
        return inks_to_rgb(np.asarray(image))
    if mode not in _TARGET:
        raise InputError(f"{name}: images of mode {mode} are not supported; convert it to RGB")
    target = _TARGET[mode]["transparency" in image.info]
    return np.asarray(image if mode == target else image.convert(target))


def _raw_mode(image: Image.Image) -> str:
    """The layout of samples in the file, which Pillow keeps among its decoder's arguments."""
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    raw = tiles[0][3] if tiles else ""
    if isinstance(raw, tuple):
        raw = raw[0] if raw else ""
    return raw if isinstance(raw, str) else ""


def _load_as(image: ImageFile.ImageFile, raw: str) -> None:
    def relabelled(tile: Any) -> Any:  # a named tuple, or a plain one in older versions of Pillow
        fields = (*tile[:3], (raw, *tile[3][1:]) if isinstance(tile[3], tuple) else raw)
        return tile._make(fields) if hasattr(tile, "_make") else fields

    image.tile = [relabelled(tile) for tile in image.tile]
    image.load()
