"""Draws what pictures to look at have in common: titles above them, and scales next to them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ddfm.imaging.colormaps import colored

__all__ = [
    "GAP",
    "INK",
    "PAPER",
    "font_of",
    "line_height",
    "scale_bar",
    "shortened",
    "tick_labels",
    "titled",
]

GAP = 4  # pixels between pictures
INK, PAPER = (235, 235, 235), (24, 24, 24)
TICKS = 5  # numbers next to a scale bar
OFF = 0.005  # most by which these numbers are rounded, as a share of the scale
DECIMALS = 6  # most decimals of these numbers


def titled(
    panels: Sequence[np.ndarray], titles: Sequence[str], line: int | None = None
) -> Image.Image:
    """Panels (H, W, 3) of one height in a row, with a title above each, in a line of this height.

    The default height suits the narrowest panel.
    """
    height = panels[0].shape[0]
    line = line_height(min(panel.shape[1] for panel in panels)) if line is None else line
    width = sum(panel.shape[1] + GAP for panel in panels) - GAP
    sheet = Image.new("RGB", (width, height + line), PAPER)
    draw, left = ImageDraw.Draw(sheet), 0
    for panel, title in zip(panels, titles, strict=True):
        text = shortened(title, panel.shape[1], line)
        draw.text((left + 4, 2), text, fill=INK, font=font_of(line))
        sheet.paste(Image.fromarray(panel), (left, line))
        left += panel.shape[1] + GAP
    return sheet


def scale_bar(
    height: int, limits: tuple[float, float], colormap: str | None, unit: str = ""
) -> np.ndarray:
    """A vertical bar from the lowest level to the highest, with numbers; grey without a map."""
    line = line_height(4 * height // 3)  # also the width of the bar
    labels = [f"{number} {unit}".rstrip() for number in tick_labels(*limits)]
    wide = line + 3 * GAP + max(round(font_of(line).getlength(label)) for label in labels)
    sheet = Image.new("RGB", (wide + GAP, height), PAPER)
    top, bottom = min(line, height // 4), max(height - line, 3 * height // 4)
    levels = np.linspace(1, 0, max(bottom - top, 1), dtype=np.float32)
    ramp = np.repeat(levels[:, None], 3, 1) if colormap is None else colored(levels, colormap)
    ramp = np.rint(ramp[:, None].repeat(line, 1) * 255).astype(np.uint8)
    sheet.paste(Image.fromarray(ramp), (GAP, top))
    draw = ImageDraw.Draw(sheet)
    for k, label in enumerate(labels):
        y = bottom - (bottom - top) * k / (TICKS - 1)
        draw.line([(GAP + line, y), (2 * GAP + line, y)], fill=INK)
        draw.text((line + 3 * GAP, y), label, fill=INK, font=font_of(line), anchor="lm")
    return np.asarray(sheet)


def tick_labels(low: float, high: float) -> list[str]:
    """The numbers at the ticks of a scale, with as few decimals as are right to `OFF`."""
    numbers = np.linspace(low, high, TICKS)
    for digits in range(DECIMALS + 1):
        if (np.abs(numbers.round(digits) - numbers) <= OFF * (high - low)).all():
            break
    return [f"{number.round(digits) + 0.0:.{digits}f}" for number in numbers]  # 0, never -0


def line_height(width: int) -> int:
    """Height of a line of text, in pixels, that suits pictures of this width."""
    return max(14, min(48, width // 24))


def font_of(line: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font that fits into a line of this height."""
    return ImageFont.load_default(size=line * 0.7)


def shortened(name: str, width: int, line: int) -> str:
    """The name in letters of the font, cut if needed so that it fits above this width."""
    font = font_of(line)
    lacking = bytes(font.getmask("\uffff"))  # the box of letters that are not in the font
    letters = unicodedata.normalize("NFC", name)
    name = "".join(_drawable(letter, font, lacking) for letter in letters)
    if font.getlength(name) <= width - 8:
        return name
    while name and font.getlength(name + "...") > width - 8:
        name = name[:-1]
    return name + "..."


def _drawable(
    letter: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, lacking: bytes
) -> str:
    """The letter; if the font lacks it, those that it is made of, such as a for ä, or else ?."""
    parts = unicodedata.normalize("NFKD", letter)
    plain = "".join(part for part in parts if not unicodedata.combining(part))
    for some in (letter, plain, letter.casefold()):
        if some and all(c.isprintable() and bytes(font.getmask(c)) != lacking for c in some):
            return some
    return "?"
