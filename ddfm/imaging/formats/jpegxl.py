"""JPEG XL: the size of a picture, from the first bits of its codestream (ISO 18181-1, D.2)."""

from __future__ import annotations

from ddfm.errors import InputError

__all__ = ["jpegxl_size"]

_SIDES = (9, 13, 18, 30)  # possible numbers of bits of a side that is not a small multiple of 8
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height
_LED = {b"jxlc": 0, b"jxlp": 4}  # boxes with the codestream, and how many bytes precede it there


def jpegxl_size(head: bytes, name: str) -> tuple[int, int]:
    """Width and height of a picture whose file begins with `head`."""
    at = 0 if head[:2] == b"\xff\x0a" else _codestream(head)
    if head[at : at + 2] != b"\xff\x0a":
        raise InputError(
            f"{name}: its size is not at the place that JPEG XL prescribes; save the picture again"
        )
    bits = _Bits(int.from_bytes(head[at + 2 : at + 18], "little"))
    small = bits.take(1)
    height = _side(bits, small)
    ratio = bits.take(3)
    if not ratio:
        return _side(bits, small), height
    wide, tall = _RATIOS[ratio - 1]
    return height * wide // tall, height


class _Bits:
    """A reader of numbers of a few bits each, lowest bits first."""

    def __init__(self, rest: int) -> None:
        self.rest = rest

    def take(self, count: int) -> int:
        taken = self.rest & ((1 << count) - 1)
        self.rest >>= count
        return taken


def _side(bits: _Bits, small: int) -> int:
    if small:
        return 8 * (bits.take(5) + 1)
    return bits.take(_SIDES[bits.take(2)]) + 1


def _codestream(head: bytes) -> int:
    """The offset of the codestream in a file of boxes."""
    at = 0
    while at + 8 <= len(head):
        length, kind = int.from_bytes(head[at : at + 4], "big"), head[at + 4 : at + 8]
        if kind in _LED:
            return at + 8 + _LED[kind]
        if length < 8:
            break
        at += length
    return len(head)
