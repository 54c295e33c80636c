"""Pictures to look at: a fusion next to its sources, before and after, or in false colours.

Each view is an array (H, W, 3) of uint8, for display only, not for measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ddfm.arguments import one_of
from ddfm.errors import InputError
from ddfm.imaging.colormaps import COLORMAPS, colored
from ddfm.imaging.drawing import scale_bar, titled
from ddfm.imaging.picture import LUMA, Picture, eight_bit, in_rgb

__all__ = ["VIEWS", "before_after", "check_view", "overlay", "path_of", "side_by_side", "view"]

VIEWS = ("side-by-side", "before-after", "overlay")
_WEIGHTS = np.asarray(LUMA, np.float32)


def view(
    kind: str, fused: Picture, sources: Sequence[Picture], colormap: str = "iron"
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


def _rgb(picture: Picture) -> np.ndarray:
    return in_rgb(eight_bit(picture))


def _check_sizes(panels: Sequence[np.ndarray]) -> None:
    if len({panel.shape for panel in panels}) > 1:
        raise InputError("pictures of several sizes cannot be shown side by side")
