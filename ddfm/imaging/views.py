"""Pictures to look at: a fusion beside its sources, before and after, temperatures laid over it.

Each view is an array (H, W, 3) of uint8. Nothing in it is measured on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ddfm.errors import InputError, unknown
from ddfm.imaging.colormaps import COLORMAPS, colored
from ddfm.imaging.picture import LUMA, Picture, eight_bit

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
    "view",
]

VIEWS = ("side-by-side", "before-after", "overlay")
GAP = 4  # pixels between pictures
TICKS = 5  # numbers on a scale
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
        colormap: of an overlay.
    """
    check_view(kind, colormap)
    if kind == "side-by-side":
        return side_by_side(fused, sources)
    if kind == "before-after":
        return before_after(fused, sources)
    return overlay(fused, sources[0], colormap)


def check_view(kind: str, colormap: str = "iron") -> None:
    """Refuses unknown views and colour maps."""
    if kind not in VIEWS:
        raise unknown("view", kind, VIEWS)
    if colormap not in COLORMAPS:
        raise unknown("colour map", colormap, COLORMAPS)


def path_of(output: Path, kind: str) -> Path:
    """Where a view of a result lies: beside it, `fused.overlay.png`."""
    return output.with_name(f"{output.stem}.{kind}.png")


def side_by_side(fused: Picture, sources: Sequence[Picture]) -> np.ndarray:
    """The sources and their fusion in a row, their names above."""
    names = [Path(source.name).name for source in sources] + ["fused"]
    panels = [_rgb(picture) for picture in (*sources, fused)]
    _check_sizes(panels)
    height, width = panels[0].shape[:2]
    line = line_height(width)
    sheet = Image.new("RGB", (len(panels) * (width + GAP) - GAP, line + height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for k, (name, panel) in enumerate(zip(names, panels, strict=True)):
        left = k * (width + GAP)
        draw.text((left + 4, 2), shortened(name, width, line), fill=INK, font=font_of(line))
        sheet.paste(Image.fromarray(panel), (left, line))
    return np.asarray(sheet)


def before_after(fused: Picture, sources: Sequence[Picture]) -> np.ndarray:
    """The source that gives the colour, or else the last, on the left; the fusion on the right."""
    before = next((source for source in sources if source.is_color), sources[-1])
    left, right = _rgb(before), _rgb(fused)
    _check_sizes([left, right])
    shown, middle = right.copy(), right.shape[1] // 2
    shown[:, :middle] = left[:, :middle]
    shown[:, max(0, middle - 1) : middle + 1] = 255
    return shown


def overlay(fused: Picture, thermal: Picture, colormap: str = "iron") -> np.ndarray:
    """The fusion in the false colours of the thermal image, and beside it what they stand for.

    Half of the luminance is the map's and half the fusion's, so that both can be read. The scale
    is in degrees where the image is; else it has the image's own numbers (counts), or percent.
    """
    level = eight_bit(thermal).astype(np.float32) / 255
    level = level @ _WEIGHTS if level.ndim == 3 else level
    grey = _rgb(fused).astype(np.float32) / 255 @ _WEIGHTS
    if level.shape != grey.shape:
        raise InputError(f"{thermal.name} and the fusion differ in size; an overlay needs one")
    colors = colored(level, colormap)
    wanted = (colors @ _WEIGHTS + grey) / 2
    shown = _with_luminance(colors, wanted)
    limits, unit = thermal.range or (0.0, 100.0), thermal.unit if thermal.range else "%"
    return np.hstack([shown, scale_bar(shown.shape[0], limits, colormap, unit)])


def _with_luminance(colors: np.ndarray, luminance: np.ndarray) -> np.ndarray:
    """Colours of that luminance and the same hue, as uint8; paler where there is no room."""
    own = colors @ _WEIGHTS
    chroma = colors - own[..., None]
    room = np.where(chroma > 0, 1 - luminance[..., None], luminance[..., None])
    fits = (room / np.maximum(np.abs(chroma), 1e-6)).min(-1, keepdims=True).clip(0, 1)
    return np.rint((luminance[..., None] + fits * chroma).clip(0, 1) * 255).astype(np.uint8)


def scale_bar(
    height: int, limits: tuple[float, float], colormap: str | None, unit: str = ""
) -> np.ndarray:
    """A bar from the least level, below, to the greatest, with numbers; grey without a map."""
    line = line_height(4 * height // 3)
    low, high = limits
    numbers = [low + (high - low) * k / (TICKS - 1) for k in range(TICKS)]
    digits = 0 if high - low >= 20 else 1 if high - low >= 4 else 2
    labels = [f"{number:.{digits}f} {unit}".rstrip() for number in numbers]
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


def _rgb(picture: Picture) -> np.ndarray:
    array = eight_bit(picture)
    return array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)


def _check_sizes(panels: Sequence[np.ndarray]) -> None:
    if len({panel.shape for panel in panels}) > 1:
        raise InputError("pictures of several sizes cannot be shown beside each other")


def line_height(width: int) -> int:
    """The height of a line of text that suits pictures of this width."""
    return max(14, min(48, width // 24))


def font_of(line: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Letters that fit into a line of this height."""
    return ImageFont.load_default(size=line * 0.7)


def shortened(name: str, width: int, line: int) -> str:
    """A name that fits above a picture."""
    font = font_of(line)
    if font.getlength(name) <= width - 8:
        return name
    while name and font.getlength(name + "...") > width - 8:
        name = name[:-1]
    return name + "..."
