"""Converts IPTC's older records (IIM 4.2, in JPEG and TIFF) to the equivalent XMP properties.

The mapping is IPTC's own (Photo Metadata Standard 2023.2). All formats in which metadata are
written have a place for XMP; only some have one for IIM.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Property", "properties_of"]

MOST = 1 << 16  # most bytes of a block that are read
_MARK, _APPLICATION = 0x1C, 2  # first byte of a data set; number of the record about the picture
_UTF8 = b"\x1b%G"
_CODED = (1, 90)  # record and number of the data set that gives the character encoding

# Namespaces with their usual prefixes.
_DC = "http://purl.org/dc/elements/1.1/", "dc"
_PS = "http://ns.adobe.com/photoshop/1.0/", "photoshop"
_CORE = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/", "Iptc4xmpCore"
_CALLED = {
    5: (*_DC, "title", "Alt"),
    25: (*_DC, "subject", "Bag"),
    40: (*_PS, "Instructions", ""),
    55: (*_PS, "DateCreated", ""),
    80: (*_DC, "creator", "Seq"),
    85: (*_PS, "AuthorsPosition", ""),
    90: (*_PS, "City", ""),
    92: (*_CORE, "Location", ""),
    95: (*_PS, "State", ""),
    100: (*_CORE, "CountryCode", ""),
    101: (*_PS, "Country", ""),
    103: (*_PS, "TransmissionReference", ""),
    105: (*_PS, "Headline", ""),
    110: (*_PS, "Credit", ""),
    115: (*_PS, "Source", ""),
    116: (*_DC, "rights", "Alt"),
    120: (*_DC, "description", "Alt"),
    122: (*_PS, "CaptionWriter", ""),
}
_DATE = 55


@dataclass(frozen=True)
class Property:
    """An XMP property.

    Attributes:
        space: its namespace.
        prefix: the usual prefix of the namespace.
        name: its name.
        kind: the kind of list that its values form: Alt, Bag, Seq, or empty for a single value.
        texts: its values.
    """

    space: str
    prefix: str
    name: str
    kind: str
    texts: tuple[str, ...]


def properties_of(block: bytes) -> list[Property]:
    """The properties in a block, up to any damage, in the order of their IIM numbers."""
    found = _data_sets(block)
    utf8 = found.get(_CODED, [b""])[0] == _UTF8
    result = []
    for number, (space, prefix, name, kind) in _CALLED.items():
        texts = [_text(value, utf8) for value in found.get((_APPLICATION, number), [])]
        texts = [text for text in texts if text]
        if number == _DATE:
            texts = [f"{t[:4]}-{t[4:6]}-{t[6:]}" for t in texts if len(t) == 8 and t.isdigit()]
        if texts:
            result.append(Property(space, prefix, name, kind, tuple(texts if kind else texts[:1])))
    return result


def _data_sets(block: bytes) -> dict[tuple[int, int], list[bytes]]:
    """The data sets of a block by record and number, up to the first damaged one."""
    found: dict[tuple[int, int], list[bytes]] = {}
    place = 0
    block = block[:MOST]
    while place + 5 <= len(block) and block[place] == _MARK:
        record, number = block[place + 1], block[place + 2]
        length = int.from_bytes(block[place + 3 : place + 5], "big")
        if length & 0x8000 or place + 5 + length > len(block):
            break
        found.setdefault((record, number), []).append(block[place + 5 : place + 5 + length])
        place += 5 + length
    return found


def _text(value: bytes, utf8: bool) -> str:
    """The decoded text, without characters that XML does not allow."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("utf-8" if utf8 else "latin-1", "replace")
    return "".join(c for c in text if c.isprintable() or c == "\n").strip()
