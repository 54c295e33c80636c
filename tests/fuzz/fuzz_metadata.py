"""Metadata to damage: EXIF, XMP, coordinates, and records of how a result was made."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from ddfm.errors import DdfmWarning
from ddfm.imaging.formats.png16 import write_png16
from ddfm.imaging.formats.tags import Entry
from ddfm.imaging.metadata import Metadata
from ddfm.imaging.metadata.exif import exif_block, exif_in
from ddfm.imaging.metadata.geo import geo_in
from ddfm.imaging.metadata.record import Record, read_record
from ddfm.imaging.metadata.xmp import packet
from ddfm.imaging.picture import Picture
from ddfm.imaging.reading import read_image
from ddfm.imaging.writing import write_image
from ddfm.pipeline.again import changes, keywords, opening
from ddfm.restoration.corrections import corrections
from fuzz_texts import odd_json

__all__ = ["metadata_files"]

Made = tuple[str, str, bytes, Callable[[Path], None], Callable[[bytes], bytes], object]

PIXELS = np.arange(35, dtype=np.uint16).reshape(5, 7) * 1800
XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:d="http://www.dji.com/drone-dji/1.0/" d:GpsLatitude="48.1" d:Make="&lt;x&gt;">
 <dc:creator xmlns:dc="http://purl.org/dc/elements/1.1/"><rdf:Seq><rdf:li xml:lang="de">A</rdf:li>
 </rdf:Seq></dc:creator></rdf:Description></rdf:RDF></x:xmpmeta>"""
RECORD = Record(
    {
        **{"ddfm": "0.6.0", "weights": "0" * 64, "prior": "default", "dtype": "float32"},
        **{"task": "ir-visible", "likelihood": "default", "sampler": "ddim", "steps": 3},
        **{"start": 120, "clean": 0.03, "clip": False, "seed": 1, "metadata_from": "auto"},
        "options": {"gains": [1.0, 1.3], "spread": 0.48},
    },
    [("ir.png", "1" * 64), ("vis.png", None)],
    {"ranges": [[1.0, 2.0], "full"], "celsius": [15.0, 40.0]},
    [{"noise": ["shared", 8.0, 0.8], "stripes": {"rows": 2.0}}, {"noise": 12.0, "jpeg": 30}],
)


def metadata_files() -> Iterator[Made]:
    """Name, suffix, content, reader, what the content is packed in, and a damage of its own."""
    exif = exif_in(_camera())
    yield "metadata exif", ".png", exif_block(exif, (5, 7)), read_and_write, _with_exif, None
    yield "metadata xmp", ".png", XMP, read_and_write, _with_xmp, None
    text = RECORD.text.encode()
    yield "metadata record", ".webp", text, read_settings, _with_record, odd_json
    matrix = {33550: Entry.of(12, 10, 10, 0), 33922: Entry.of(12, 0, 0, 0, 4e5, 5e6, 0)}
    matrix |= {34735: Entry.of(3, 1, 1, 0, 1, 1025, 0, 1, 2)}
    geo = geo_in(matrix | {42113: Entry.of_text("0")})
    like = Picture(PIXELS[..., None] / np.float32(65535), metadata=Metadata(exif, XMP, geo))
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".tif", ".jp2", ".jpg"):
            path = Path(folder) / f"a{suffix}"
            write_image(path, like.pixels, like, record=RECORD)
            yield f"metadata {suffix}", suffix, path.read_bytes(), read_and_write, bytes, None


def read_and_write(path: Path) -> None:
    """Read the metadata, and write it again in every format."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DdfmWarning)  # of no-data values, and files with two pages
        picture = read_image(path)
    assert all(isinstance(name, str) for name in picture.metadata.personal)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        for suffix in (".png", ".tif", ".jpg", ".jp2"):
            again = Path(folder) / f"a{suffix}"
            write_image(again, picture.pixels, picture, record=RECORD)
            assert read_record(again).text == RECORD.text
            kept, before = read_image(again).metadata.exif, picture.metadata.exif
            assert kept.gps == before.gps and kept.image.items() >= before.image.items()


def read_settings(path: Path) -> None:
    """Turn a record into settings."""
    record = read_record(path)
    if record is not None:
        keywords(record)
        opening(record)
        changes(record, RECORD, path.name)
        names = [name for name, _ in record.sources]
        corrections(names, record.observed, record.settings.get("observations"))


def _camera() -> bytes:
    exif = Image.Exif()
    exif[271], exif[315], exif[282] = "Maker", "Somebody", 72.0
    exif[296] = 2
    exif.get_ifd(34665).update({36867: "2024:05:06 07:08:09", 33437: 2.8, 37386: 19.0})
    exif.get_ifd(34853).update({1: "N", 2: (48.0, 8.0, 14.5), 3: "E", 4: (11.0, 34.0, 31.0)})
    return exif.tobytes()


def _with_exif(data: bytes) -> bytes:
    file = BytesIO()
    write_png16(file, PIXELS, exif=data)
    return file.getvalue()


def _with_xmp(data: bytes) -> bytes:
    file = BytesIO()
    write_png16(file, PIXELS, xmp=data)
    return file.getvalue()


def _with_record(data: bytes) -> bytes:
    file = BytesIO()
    xmp = packet(None, data.decode("utf-8", "replace"))
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(file, "WEBP", xmp=xmp)
    return file.getvalue()
