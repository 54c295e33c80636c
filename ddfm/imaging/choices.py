"""What can be chosen about tone, colours and sizes, by name. Nothing heavy is imported."""

from __future__ import annotations

from ddfm.errors import unknown

__all__ = [
    "COLORS",
    "RESIZES",
    "TONES",
    "check_color",
    "check_crop",
    "check_reference",
    "check_resize",
    "check_tone",
]

COLORS = ("auto", "grey", "a", "b")
RESIZES = ("error", "a", "b")
CROPS = ("none", "common")
REFERENCES = ("a", "b")
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


def check_crop(crop: str) -> str:
    """The way of cropping itself, or an error that names those that exist."""
    if crop not in CROPS:
        raise unknown("way to crop", crop, CROPS)
    return crop


def check_reference(reference: str | None) -> str | None:
    """The source that others are laid on, or an error that names those that can be."""
    if reference is not None and reference not in REFERENCES:
        raise unknown("source to align to", reference, REFERENCES)
    return reference


def check_tone(tone: str) -> str:
    """The tone itself, or an error that names those that exist."""
    if tone not in TONES:
        raise unknown("tone", tone, TONES)
    return tone
