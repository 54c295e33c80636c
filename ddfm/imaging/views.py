"""Pictures to look at: a fusion next to its sources, before and after, or in false colours.

Each view is an array (H, W, 3) of uint8, for display only, not for measurements.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ddfm.arguments import one_of
from ddfm.errors import InputError
from ddfm.imaging.colormaps import COLORMAPS, colored
from ddfm.imaging.picture import LUMA, Picture, eight_bit, in_rgb

__all__ = [
    "VIEWS",
    "before_after",
    "check_view",
    "font_of",
    "line_height",
    "overlay",
    "path_of",
    "scale_bar",
    "shortened",
    "side_by_side",
    "tick_labels",
    "titled",
    "view",
]

VIEWS = ("side-by-side", "before-after", "overlay")
GAP = 4  # pixels between pictures
TICKS = 5  # numbers next to a scale bar
OFF = 0.005  # most by which these numbers are rounded, as a share of the scale
DECIMALS = 6  # most decimals of these numbers
_WEIGHTS = np.asarray(LUMA, np.float32)
INK, PAPER = (235, 235, 235), (24, 24, 24)


def view(
    kind: str,
    fused: Picture,
    sources: Sequence[Picture],
    colormap: str = "iron",
) -> np.ndarray:
    """A view of a fusion by its name in `VIEWS`.

    Args:
        colormap: the colour map of an overlay. Its temperatures are those of the first source, or
            of the first radiometric one.
    """
    check_view(kind, colormap)
    if kind == "side-by-side":
        return side_by_side(fused, sources)
    if kind == "before-after":
        return before_after(fused, sources)
    thermal = next((source for source in sources if source.unit), sources[0])
    return overlay(fused, thermal, colormap)


def check_view(kind: str, colormap: str) -> None:
    """Raise for an unknown view or colour map."""
    one_of("view", kind, VIEWS)
    one_of("colour map", colormap, COLORMAPS)


def path_of(output: Path, kind: str) -> Path:
    """Path of a view, next to its result: `fused.overlay.png` for `fused.png`."""
    return output.with_name(f"{output.stem}.{kind}.png")


def side_by_side(fused: Picture, sources: Sequence[Picture]) -> np.ndarray:
    """The sources and their fusion in a row, with their names above."""
    names = [Path(source.name).name for source in sources] + ["fused"]
    panels = [_rgb(picture) for picture in (*sources, fused)]
    _check_sizes(panels)
    return np.asarray(titled(panels, names))


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


def before_after(fused: Picture, sources: Sequence[Picture]) -> np.ndarray:
    """Left half: the source in colour, or the last if all are grey; right half: the fusion."""
    before = next((source for source in sources if source.is_color), sources[-1])
    left, right = _rgb(before), _rgb(fused)
    _check_sizes([left, right])
    shown, middle = right.copy(), right.shape[1] // 2
    shown[:, :middle] = left[:, :middle]
    shown[:, max(0, middle - 1) : middle + 1] = 255
    return shown


def overlay(fused: Picture, thermal: Picture, colormap: str = "iron") -> np.ndarray:
    """The fusion in false colours of the thermal image, with a scale bar next to it.

    Luminance is the mean of the colour map's and the fusion's, so that both can be read. The scale
    is in degrees if the image is, otherwise in the image's own values (counts) or percent.

    Where the thermal image has no values, the fusion is grey: what fills such a gap for the fusion
    comes from the other source, and would look like a temperature.
    """
    level = eight_bit(thermal).astype(np.float32) / 255
    level = level @ _WEIGHTS if level.ndim == 3 else level
    grey = _rgb(fused).astype(np.float32) / 255 @ _WEIGHTS
    if level.shape != grey.shape:
        raise InputError(f"{thermal.name} and the fusion differ in size; an overlay needs one")
    colors = colored(level, colormap)
    wanted = (colors @ _WEIGHTS + grey) / 2
    shown = _with_luminance(colors, wanted)
    if thermal.mask is not None:
        shown[~thermal.mask] = np.rint(255 * grey[~thermal.mask, None]).astype(np.uint8)
    limits, unit = thermal.range or (0.0, 100.0), thermal.unit if thermal.range else "%"
    return np.hstack([shown, scale_bar(shown.shape[0], limits, colormap, unit)])


def _with_luminance(colors: np.ndarray, luminance: np.ndarray) -> np.ndarray:
    """Colours of the same hue with the given luminance, as uint8; paler if out of range."""
    own = colors @ _WEIGHTS
    chroma = colors - own[..., None]
    room = np.where(chroma > 0, 1 - luminance[..., None], luminance[..., None])
    fits = (room / np.maximum(np.abs(chroma), 1e-6)).min(-1, keepdims=True).clip(0, 1)
    return np.rint((luminance[..., None] + fits * chroma).clip(0, 1) * 255).astype(np.uint8)


def scale_bar(
    height: int, limits: tuple[float, float], colormap: str | None, unit: str = ""
) -> np.ndarray:
    """A vertical bar from the lowest level to the highest, with numbers; grey without a map."""
    line = line_height(4 * height // 3)
    labels = [f"{number} {unit}".rstrip() for number in tick_labels(*limits)]
    bar = line
    wide = bar + 3 * GAP + max(round(font_of(line).getlength(label)) for label in labels)
    sheet = Image.new("RGB", (wide + GAP, height), PAPER)
    top, bottom = min(line, height // 4), max(height - line, 3 * height // 4)
    levels = np.linspace(1, 0, max(bottom - top, 1), dtype=np.float32)
    ramp = np.repeat(levels[:, None], 3, 1) if colormap is None else colored(levels, colormap)
    ramp = np.rint(ramp[:, None].repeat(bar, 1) * 255).astype(np.uint8)
    sheet.paste(Image.fromarray(ramp), (GAP, top))
    draw = ImageDraw.Draw(sheet)
    for k, label in enumerate(labels):
        y = bottom - (bottom - top) * k / (TICKS - 1)
        draw.line([(GAP + bar, y), (2 * GAP + bar, y)], fill=INK)
        draw.text((bar + 3 * GAP, y), label, fill=INK, font=font_of(line), anchor="lm")
    return np.asarray(sheet)


def tick_labels(low: float, high: float) -> list[str]:
    """The numbers at the ticks of a scale, with as few decimals as are right to `OFF`."""
    numbers = np.linspace(low, high, TICKS)
    for digits in range(DECIMALS + 1):
        if (np.abs(numbers.round(digits) - numbers) <= OFF * (high - low)).all():
            break
    return [f"{number.round(digits) + 0.0:.{digits}f}" for number in numbers]  # 0, never -0


def _rgb(picture: Picture) -> np.ndarray:
    return in_rgb(eight_bit(picture))


def _check_sizes(panels: Sequence[np.ndarray]) -> None:
    if len({panel.shape for panel in panels}) > 1:
        raise InputError("pictures of several sizes cannot be shown side by side")


def line_height(width: int) -> int:
    """Height of a line of text, in pixels, that suits pictures of this width."""
    return max(14, min(48, width // 24))


def font_of(line: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font that fits into a line of this height."""
    return ImageFont.load_default(size=line * 0.7)


def shortened(name: str, width: int, line: int) -> str:
    """The name in letters of the font, cut if needed so that it fits above this width."""
    font = font_of(line)
    name = "".join(_drawable(letter, font) for letter in unicodedata.normalize("NFC", name))
    if font.getlength(name) <= width - 8:
        return name
    while name and font.getlength(name + "...") > width - 8:
        name = name[:-1]
    return name + "..."


def _drawable(letter: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The letter; if the font lacks it, those that it is made of, such as a for ä, or else ?."""
    parts = unicodedata.normalize("NFKD", letter)
    plain = "".join(part for part in parts if not unicodedata.combining(part))
    lacking = bytes(font.getmask("\uffff"))  # the box of letters that are not in the font
    for some in (letter, plain, letter.casefold()):
        if some and all(c.isprintable() and bytes(font.getmask(c)) != lacking for c in some):
            return some
    return "?"
