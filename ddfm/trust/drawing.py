"""Draws the uncertainty and the attribution of a result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from ddfm.imaging.colormaps import colored
from ddfm.imaging.drawing import GAP, INK, PAPER, font_of, line_height, scale_bar, shortened, titled

__all__ = ["DEEP", "drawn_attribution", "drawn_uncertainty", "top_for"]

DEEP = (".tif", ".tiff")  # suffixes of files that hold numbers, not colours
CALM = "ice"
TOPS = (1, 2, 5, 10, 20, 50, 100, 200)  # ends of scales; few, so that pictures can be compared
# Hues of the sources, which people with red-green colour blindness can distinguish, too.
HUES = np.array(
    [
        (0.95, 0.66, 0.36),
        (0.42, 0.62, 0.84),
        (0.45, 0.74, 0.62),
        (0.84, 0.78, 0.45),
        (0.62, 0.55, 0.76),
    ]
)
HUE_OF_PRIOR = np.array((0.80, 0.40, 0.66))
PALE = 0.82  # grey of places without details
INKED = (0.10, 0.06, 0.08)  # colour of the hatching
HATCH = 5  # pixels between the lines of the hatching
GRAIN = 1.5  # pixels of smoothing: with few samples, the deviations of single pixels are noisy


def top_for(std: np.ndarray) -> int:
    """The end of the smallest scale that deviations (H, W), in grey levels of 255, fit on."""
    most = float(np.percentile(_smoothed(std), 99.5))
    return next((top for top in TOPS if most <= top), 255)


def drawn_uncertainty(std: np.ndarray, top: int | None = None) -> Image.Image:
    """Draws standard deviations (H, W), in grey levels of 255, with a title and a scale.

    They are smoothed over a few pixels.

    Args:
        top: end of the scale; None chooses the smallest one that they fit on.
    """
    top = top_for(std) if top is None else top
    std = _smoothed(std)
    colors = np.rint(255 * colored((std / top).clip(0, 1), CALM)).astype(np.uint8)
    sheet = np.hstack([colors, scale_bar(len(std), (0, top), CALM)])
    return titled([sheet], ["standard deviation, grey levels of 255"])


def _smoothed(std: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(gaussian_filter(np.square(std, dtype=np.float64), GRAIN)))


def drawn_attribution(
    levels: np.ndarray,
    gradients: np.ndarray,
    unsupported: np.ndarray,
    luminance: np.ndarray,
    names: Sequence[str],
) -> Image.Image:
    """Draws levels on the left and details on the right, in the hues of their sources.

    The result itself shines through. Details are paler where there are few.

    Args:
        levels, gradients: shares (K + 1, H, W), the last one that of the prior.
        unsupported: (H, W), where to draw hatching.
        luminance: of the result, (H, W) in [0, 1].
        names: of the K sources.
    """
    hues = np.array([*(HUES[k % len(HUES)] for k in range(len(names))), HUE_OF_PRIOR])
    down, across = np.gradient(luminance)
    size = np.hypot(down, across)
    strength = size / (size + 4 / 255)
    light = 0.45 + 0.55 * luminance[..., None]
    panels = []
    for shares, strong in ((levels, np.ones_like(strength)), (gradients, strength)):
        color = np.einsum("khw,kc->hwc", shares, hues)
        color = PALE + strong[..., None] * (color - PALE)
        panels.append(
            _hatched(np.rint(255 * (light * color).clip(0, 1)).astype(np.uint8), unsupported)
        )
    sheet = titled(panels, ["levels", "details"])
    letters = [f"{letter}: {Path(n).name}" for letter, n in zip("ABCDEFGHIJ", names, strict=False)]
    letters += [Path(name).name for name in names[len(letters) :]]
    legend = list(zip([*letters, "the prior"], hues, strict=True))
    return _with_legend(sheet, legend)


def _hatched(panel: np.ndarray, where: np.ndarray) -> np.ndarray:
    rows, columns = np.indices(where.shape)
    lines = where & ((rows + columns) % HATCH == 0)
    panel = panel.copy()
    panel[lines] = np.rint(255 * np.array(INKED)).astype(np.uint8)
    return panel


def _with_legend(sheet: Image.Image, legend: Sequence[tuple[str, np.ndarray]]) -> Image.Image:
    """The sheet with a legend below: a line for each hue, and one for the hatching."""
    line = line_height(sheet.width // 2)
    words = [(name, tuple(round(255 * c) for c in hue)) for name, hue in legend]
    count = len(words) + 1
    whole = Image.new("RGB", (sheet.width, sheet.height + count * line + GAP), PAPER)
    whole.paste(sheet, (0, 0))
    draw, top = ImageDraw.Draw(whole), sheet.height + GAP
    for name, hue in words:
        draw.rectangle((4, top + 2, line, top + line - 3), fill=hue)
        text = shortened(name, sheet.width - 2 * line, line)
        draw.text((line + 10, top + 1), text, fill=INK, font=font_of(line))
        top += line
    box = np.full((line - 5, line - 4, 3), round(255 * PALE), np.uint8)
    box = _hatched(box, np.ones(box.shape[:2], bool))
    whole.paste(Image.fromarray(box), (4, top + 2))
    text = shortened("no source shows this", sheet.width - 2 * line, line)
    draw.text((line + 10, top + 1), text, fill=INK, font=font_of(line))
    return whole
