"""IPTC's older records (IIM 4.2, in JPEG and TIFF), as the properties of XMP that say the same.

Which one says what is IPTC's own mapping (Photo Metadata Standard 2023.2). All formats that a
result is written in have a place for XMP; only some have one for IIM.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Property", "properties_of"]

MOST = 1 << 16  # bytes of a block that is looked at
_MARK, _APPLICATION = 0x1C, 2  # of a data set; the record that is about the picture
_UTF8 = b"\x1b%G"
_CODED = (1, 90)

_DC, _DC_PREFIX = "http://purl.org/dc/elements/1.1/", "dc"
_PS, _PS_PREFIX = "http://ns.adobe.com/photoshop/1.0/", "photoshop"
_CORE, _CORE_PREFIX = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/", "Iptc4xmpCore"
_CALLED = {
    5: (_DC, _DC_PREFIX, "title", "Alt"),
    25: (_DC, _DC_PREFIX, "subject", "Bag"),
    40: (_PS, _PS_PREFIX, "Instructions", ""),
    55: (_PS, _PS_PREFIX, "DateCreated", ""),
    80: (_DC, _DC_PREFIX, "creator", "Seq"),
    85: (_PS, _PS_PREFIX, "AuthorsPosition", ""),
    90: (_PS, _PS_PREFIX, "City", ""),
    92: (_CORE, _CORE_PREFIX, "Location", ""),
    95: (_PS, _PS_PREFIX, "State", ""),
    100: (_CORE, _CORE_PREFIX, "CountryCode", ""),
    101: (_PS, _PS_PREFIX, "Country", ""),
    103: (_PS, _PS_PREFIX, "TransmissionReference", ""),
    105: (_PS, _PS_PREFIX, "Headline", ""),
    110: (_PS, _PS_PREFIX, "Credit", ""),
    115: (_PS, _PS_PREFIX, "Source", ""),
    116: (_DC, _DC_PREFIX, "rights", "Alt"),
    120: (_DC, _DC_PREFIX, "description", "Alt"),
    122: (_PS, _PS_PREFIX, "CaptionWriter", ""),
}
_DATE = 55


@dataclass(frozen=True)
class Property:
    """A property of XMP: its namespace and usual prefix, its name, the kind of list, and texts."""

    space: str
    prefix: str
    name: str
    kind: str
    texts: tuple[str, ...]


def properties_of(block: bytes) -> list[Property]:
    """What a block says, as far as it is sound; in the order of its numbers."""
    found = _data_sets(block)
    utf8 = found.get(_CODED, [b""])[0] == _UTF8
    said = []
    for number, (space, prefix, name, kind) in _CALLED.items():
        texts = [_text(value, utf8) for value in found.get((_APPLICATION, number), [])]
        texts = [text for text in texts if text]
        if number == _DATE:
            texts = [f"{t[:4]}-{t[4:6]}-{t[6:]}" for t in texts if len(t) == 8 and t.isdigit()]
        if texts:
            said.append(Property(space, prefix, name, kind, tuple(texts if kind else texts[:1])))
    return said


def _data_sets(block: bytes) -> dict[tuple[int, int], list[bytes]]:
    """By record and number. What comes behind damage is left out."""
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
    """Without characters that XML has no place for."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("utf-8" if utf8 else "latin-1", "replace")
    return "".join(c for c in text if c.isprintable() or c == "\n").strip()
