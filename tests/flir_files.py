"""Makes radiometric JPEG files as FLIR cameras write them, from temperatures and a photograph."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
from PIL import Image

# Constants of a usual camera. With emissivity 1, distance 0 and no window, the temperature of a
# raw value S is B / ln(R1 / (R2 (S + O)) + F), and nothing else plays a part.
_SIGNS = {"little": "<", "big": ">"}
PLANCK = {"R1": 14906.216, "R2": 0.010956882, "B": 1396.5, "F": 1.0, "O": -7261}


def kelvin_to_raw(kelvin: np.ndarray) -> np.ndarray:
    p = PLANCK
    return p["R1"] / (p["R2"] * (np.exp(p["B"] / kelvin) - p["F"])) - p["O"]


def raw_to_kelvin(raw: np.ndarray) -> np.ndarray:
    p = PLANCK
    return p["B"] / np.log(p["R1"] / (p["R2"] * (raw.astype(float) + p["O"])) + p["F"])


def flir_jpeg(
    raw: np.ndarray,
    photograph: np.ndarray | None,
    placing: tuple[float, int, int] | None = None,
    *,
    png: bool = False,
    ycbcr: bool = False,
    order: str = "little",
    directory: str = "big",
    segment: int = 65000,
    spare: int = 0,
    rendering: Image.Image | None = None,
    level_and_span: tuple[int, int] = (0, 0),
) -> bytes:
    """`placing` is Real2IR, OffsetX and OffsetY; `png` stores raw values as some cameras do.

    `ycbcr` stores the photograph in luminance and differences; `order` is that of the numbers in
    the records, `directory` of those outside.

    The directory ends in `spare` empty entries. Cameras leave some, and flyr needs two.
    """
    records = [(32, camera(order, *level_and_span)), (1, _raw(raw, png, order))]
    if photograph is not None:
        stored = BytesIO()
        image = Image.fromarray(photograph)
        if ycbcr:
            image = Image.fromarray(np.asarray(image.convert("YCbCr")), "RGB")
        image.save(stored, "PNG")
        records.append((14, sized(photograph, stored.getvalue())))
    if placing is not None:
        records.append((42, struct.pack("<fhh4h", *placing, 0, 0, 0, 0)))
    return in_segments(container(records + [(0, b"")] * spare, directory), segment, rendering)


def in_segments(data: bytes, segment: int = 65000, rendering: Image.Image | None = None) -> bytes:
    """A small JPEG with a container in as many APP1 segments as it takes."""
    preview = BytesIO()
    (rendering or Image.new("L", (16, 16))).save(preview, "JPEG")
    parts = [data[i : i + segment] for i in range(0, len(data), segment)]
    app1 = b"".join(
        b"\xff\xe1"
        + (len(part) + 10).to_bytes(2, "big")
        + b"FLIR\0\x01"
        + bytes([number, len(parts) - 1])
        + part
        for number, part in enumerate(parts)
    )
    return preview.getvalue()[:2] + app1 + preview.getvalue()[2:]


def container(records: list[tuple[int, bytes]], order: str = "big") -> bytes:
    """Records of (type, data) behind a head and a directory."""
    offset = 64 + 32 * len(records)
    directory = body = b""
    sign = ">" if order == "big" else "<"
    for kind, data in records:
        place = struct.pack(
            f"{sign}HHIIIIIII", kind, 2, 100, 1, offset + len(body), len(data), 0, 0, 0
        )
        directory += place
        body += data
    head = b"FFF\0" + b"CAMCTRL".ljust(16, b"\0") + struct.pack(f"{sign}III", 100, 64, len(records))
    return head.ljust(64, b"\0") + directory + body


def sized(array: np.ndarray, data: bytes, order: str = "little") -> bytes:
    """The data of an image record: its size comes first."""
    return (
        struct.pack(f"{_SIGNS[order]}HHH", 2, array.shape[1], array.shape[0]).ljust(32, b"\0")
        + data
    )


def _raw(raw: np.ndarray, png: bool, order: str) -> bytes:
    values = raw.astype("<u2")
    if order == "big" and not png:
        return sized(raw, values.byteswap().tobytes(), order)
    if order == "big":  # whose PNG is as it should be
        values = values.byteswap()
    if not png:
        return sized(raw, values.tobytes())
    stored = BytesIO()
    Image.fromarray(values.byteswap()).save(stored, "PNG")  # in the wrong order, as they do
    return sized(raw, stored.getvalue(), order)


def camera(order: str = "little", level: int = 0, span: int = 0) -> bytes:
    """The record of the camera's constants."""
    data = bytearray(900)
    for at, value in {
        32: 1.0,  # emissivity
        36: 0.0,  # distance
        40: 293.15,  # temperatures of reflections, air and window
        44: 293.15,
        48: 293.15,
        52: 1.0,  # transmission of the window
        60: 0.5,  # humidity
        88: PLANCK["R1"],
        92: PLANCK["B"],
        96: PLANCK["F"],
        112: 0.006569,  # how air absorbs
        116: 0.01262,
        120: -0.002276,
        124: -0.00667,
        128: 1.9,
        780: PLANCK["R2"],
    }.items():
        struct.pack_into(f"{_SIGNS[order]}f", data, at, value)
    struct.pack_into(f"{_SIGNS[order]}i", data, 776, PLANCK["O"])
    struct.pack_into(f"{_SIGNS[order]}2i", data, 824, level, span)
    return bytes(data)
