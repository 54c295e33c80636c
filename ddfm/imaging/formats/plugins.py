"""AVIF, HEIC and JPEG XL, which phones write, read by Pillow or by an installed plugin.

A plugin is imported only when such a file is read. HEIC is read at its own depth, AVIF and JPEG XL
in colour at 8 bits, even if the file has more. AVIF and HEIC are turned upright by the decoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, features

from ddfm.errors import quoted
from ddfm.imaging.formats.jpegxl import jpegxl_size
from ddfm.storage.budget import ask_pixels

__all__ = [
    "deep_samples",
    "heic_depth",
    "is_from_phone",
    "opened_by",
    "remedy_for",
    "suffix_is_read",
]

_DECODED = 16  # bytes in memory per pixel in colour, decoded and copied


@dataclass(frozen=True)
class _Kind:
    """A format, by Pillow's name for it.

    Attributes:
        called: its usual name.
        packages: plugins, any of which reads it; if empty, Pillow reads it if built with support.
        install: what to install with pip if no plugin is installed.
        convert: a command that converts it to something that can be read.
    """

    format: str
    called: str
    suffixes: tuple[str, ...]
    packages: tuple[str, ...]
    install: str
    convert: str

    @property
    def is_read(self) -> bool:
        if not self.packages:
            name = self.format.lower()
            # Pillow warns about a name that it does not know, as AVIF before 11.3.
            return name in features.modules and features.check_module(name)
        return any(find_spec(package) for package in self.packages)

    def load(self) -> None:
        """Register the plugin with Pillow."""
        package = next((name for name in self.packages if find_spec(name)), None)
        if package is None or self.format in Image.OPEN:
            return
        plugin = import_module(package)
        if hasattr(plugin, "register_heif_opener"):
            plugin.register_heif_opener()


_AVIF = _Kind("AVIF", "AVIF", (".avif",), (), "", "avifdec IN.avif OUT.png")
_HEIC = _Kind(
    "HEIF",
    "HEIC, as phones write it",
    (".heic", ".heif", ".hif"),
    ("pi_heif", "pillow_heif"),
    "ddfm[phone]",
    "heif-convert IN.heic OUT.png",
)
# The plugin's licence is the GPL, so no extra of ddfm installs it.
_JXL = _Kind(
    "JXL", "JPEG XL", (".jxl",), ("pillow_jxl",), "pillow-jxl-plugin", "djxl IN.jxl OUT.png"
)
_KINDS = (_AVIF, _HEIC, _JXL)


def suffix_is_read(suffix: str) -> bool:
    """Whether a file with such a suffix can be read here."""
    return any(kind.is_read for kind in _KINDS if suffix.lower() in kind.suffixes)


def remedy_for(head: bytes, suffix: str) -> str:
    """What to do with a file with this head or suffix, if it cannot be read; otherwise empty."""
    kind = _kind_of(head) or next((k for k in _KINDS if suffix.lower() in k.suffixes), None)
    if kind is None or kind.is_read:
        return ""
    way = f"pip install {quoted(kind.install)} reads it, or " if kind.install else ""
    return f"is {kind.called}; {way}convert it first: {kind.convert}"


def is_from_phone(head: bytes) -> bool:
    """Whether a file with this head begins as one of these formats does."""
    return _kind_of(head) is not None


def opened_by(path: Path, head: bytes, name: str) -> tuple[str, ...]:
    """Pillow's name for the format of a file, if it is one of these and can be read.

    The plugin for JPEG XL decodes a file when it opens it, so the budget is checked before.
    """
    kind = _kind_of(head)
    if kind is None or not kind.is_read:
        return ()
    if kind is _JXL:
        with open(path, "rb") as file:
            width, height = jpegxl_size(file.read(1 << 20), name)
        ask_pixels(width, height, name, width * height * _DECODED, path.stat().st_size)
    kind.load()
    return (kind.format,)


def heic_depth(image: Image.Image) -> int:
    """The bits of a sample in a HEIC; 8 for other images."""
    return int(image.info.get("bit_depth", 8)) if image.format == _HEIC.format else 8


def deep_samples(image: ImageFile.ImageFile) -> np.ndarray:
    """The samples, as uint16, of a HEIC of more than 8 bits, which the plugin would give 8 bits."""
    package = next(name for name in _HEIC.packages if find_spec(name))
    assert image.fp is not None  # it is open until it is decoded
    image.fp.seek(0)
    file = import_module(package).open_heif(image.fp, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    white = 2 ** heic_depth(image) - 1
    of_16_bits = (np.arange(white + 1) * 65535 // white).astype(np.uint16)
    samples: np.ndarray = of_16_bits[np.asarray(file[image.tell()])]
    return samples


def _kind_of(head: bytes) -> _Kind | None:
    if head[:2] == b"\xff\x0a" or head[:12] == b"\0\0\0\x0cJXL \r\n\x87\n":
        return _JXL
    if head[4:8] != b"ftyp":
        return None
    end = int.from_bytes(head[:4], "big")
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, min(end, len(head)), 4))}
    if brands & {b"avif", b"avis"}:
        return _AVIF
    heic = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
    return _HEIC if brands & heic else None
