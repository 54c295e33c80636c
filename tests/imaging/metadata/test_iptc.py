"""IPTC's older records in JPEG and TIFF are taken over as XMP."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from PIL import Image

from ddfm import Fuser, read_image
from ddfm.imaging.metadata.iptc import properties_of
from ddfm.imaging.metadata.xmp import kept

DC = "{http://purl.org/dc/elements/1.1/}"
PS = "{http://ns.adobe.com/photoshop/1.0/}"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
PIXELS = np.arange(48 * 32 * 3, dtype=np.uint8).reshape(48, 32, 3)


def data_set(record: int, number: int, value: bytes) -> bytes:
    return bytes([0x1C, record, number]) + len(value).to_bytes(2, "big") + value


BLOCK = b"".join(
    [
        data_set(1, 90, b"\x1b%G"),
        data_set(2, 0, b"\x00\x04"),
        data_set(2, 5, "Brücke".encode()),
        data_set(2, 25, b"bridge"),
        data_set(2, 25, b"river & <night>"),
        data_set(2, 55, b"20240506"),
        data_set(2, 80, b"Ann Example"),
        data_set(2, 120, b"A bridge."),
    ]
)


def jpeg(block: bytes, **more: bytes) -> bytes:
    """A JPEG with a Photoshop resource, as press cameras write it."""
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "JPEG", **more)
    resource = (
        b"8BIM\x04\x04\0\0" + len(block).to_bytes(4, "big") + block + b"\0" * (len(block) % 2)
    )
    segment = b"Photoshop 3.0\0" + resource
    return (
        b"\xff\xd8\xff\xed" + (len(segment) + 2).to_bytes(2, "big") + segment + file.getvalue()[2:]
    )


def tiff(block: bytes) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(
        file, PIXELS, photometric="rgb", extratags=[(33723, 7, len(block), block, True)]
    )
    return file.getvalue()


@pytest.mark.parametrize("made", [jpeg, tiff])
@pytest.mark.parametrize("suffix", ["png", "tif", "jpg", "webp"])
def test_iptc_is_in_the_result_as_xmp(tmp_path, made, suffix):
    source, out = tmp_path / "a", tmp_path / f"out.{suffix}"
    source = source.with_suffix(".jpg" if made is jpeg else ".tif")
    source.write_bytes(made(BLOCK))
    fuser = Fuser("gaussian", device="cpu", likelihood="paper", steps=1, look=False)
    with pytest.warns(UserWarning, match=rf"kept from .*{source.name}: creator"):
        fuser(PIXELS[..., 0], source).save(out)
    metadata = read_image(out).metadata
    root = ElementTree.fromstring(metadata.xmp.decode().strip("\ufeff"))
    (title,) = root.iter(f"{DC}title")
    assert [li.text for li in title.iter(f"{RDF}li")] == ["Brücke"]
    (subject,) = root.iter(f"{DC}subject")
    assert [li.text for li in subject.iter(f"{RDF}li")] == ["bridge", "river & <night>"]
    assert [each.text for each in root.iter(f"{PS}DateCreated")] == ["2024-05-06"]
    assert "creator" in metadata.personal


def test_the_xmp_packet_overrides_iptc():
    packet = kept(None, data_set(2, 105, b"old") + data_set(2, 90, b"Oldtown"))
    joined = kept(packet, data_set(2, 105, b"new") + data_set(2, 101, b"Newland")).decode()
    assert "old" in joined and "new<" not in joined and "Newland" in joined


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\x1c",
        b"\x1c\x02\x05\x00\xffshort",
        b"\x1c\x02\x05\x80\x04\0\0\0\1x",
        b"8BIM",
        BLOCK[:-4],
    ],
)
def test_damaged_records_are_left_out(block):
    texts = [text for each in properties_of(block) for text in each.texts]
    assert texts == (
        ["Brücke", "bridge", "river & <night>", "2024-05-06", "Ann Example"]
        if len(block) > 20
        else []
    )


def test_old_encodings_are_decoded_and_control_characters_dropped():
    (found,) = properties_of(data_set(2, 90, b"M\xfcnchen\x00\x07"))
    assert found.texts == ("München",)
