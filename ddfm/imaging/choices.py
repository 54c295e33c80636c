"""What can be chosen about tone, colours and sizes, by name. Nothing heavy is imported."""

from __future__ import annotations

from ddfm.errors import unknown

__all__ = [
    *("COLORS", "CROPS", "METADATA", "REFERENCES", "RESIZES", "TONES"),
    *("check_color", "check_resize"),
]

COLORS = ("auto", "grey", "a", "b")
RESIZES = ("auto", "error", "a", "b")
CROPS = ("none", "common")
REFERENCES = ("a", "b")
METADATA = ("auto", "a", "b", "none")
TONES = ("auto", "none")


def check_color(color: str) -> str:
    """The colour mode itself, or an error that names those that exist."""
    if color not in COLORS:
        raise unknown("colour mode", color, COLORS)
    return color


def check_resize(resize: str) -> str:
    """The way of resizing itself, or an error that names those that exist."""
    if resize not in RESIZES:
        raise unknown("way to resize", resize, RESIZES)
    return resize
