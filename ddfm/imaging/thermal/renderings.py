"""Detects renderings of temperatures in false colours, as distinct from photographs.

A thermal camera saves pictures in the colours of a palette, often with a logo and numbers in them.
These colours are not those of the scene, and two pictures in colour would be taken for exposures
of it. A rendering is recognised by colours that depend on brightness, since temperature determines
both, or that are so strong that a weaker dependence is enough: in a rainbow, two temperatures have
the same brightness. They must also differ from the colours of the photograph.

A rendering in grey may have colours, too: those of a logo, of marks at the warmest and the coldest
spot, or of what is hotter than an alarm. It is recognised by being grey nearly everywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ddfm.errors import warn
from ddfm.imaging.picture import LUMA, Picture
from ddfm.imaging.thermal.palettes import levels_along_palette

__all__ = ["explained_by", "in_false_colors", "is_grey_with_marks", "without_false_colors"]

# Least deviation of a rendering's chroma, and share of its variance that brightness explains. Of
# 220 photographs of roads one has both, and of 239 colourful pictures of other kinds 31.
COLORED = ((0.1, 0.7), (0.2, 0.3))
# Greatest difference of the channels of a grey pixel; least share of such pixels among those that
# are neither black nor white, as photographs of night are; and least share of these in the picture.
# Of 220 photographs of roads none is grey in more than half, of 40 other pictures none in a fifth.
GREY, MOSTLY, SOME = 2.5 / 255, 0.75, 0.1
ALIKE = 0.5  # correlation of chroma above which two pictures show the same colours
ORDERED = 0.8  # rank correlation of brightness above which two pictures are exposures of one scene
BINS, LOOK, FIELDS = 32, 160, 24  # bins of brightness; most pixels a side; points a side


def without_false_colors(
    pictures: Sequence[Picture], by_brightness: bool = False
) -> tuple[Picture, ...]:
    """The pictures, with a single one in false colours among photographs made grey, and a warning.

    So is a single one that is grey apart from marks in colour. All are returned unchanged if one of
    them is grey, or if the colours of two agree.

    Args:
        by_brightness: whether its levels are the brightness of its colours, which is the same in
            all frames of a film, unlike their places along the palette that a frame shows.
    """
    pictures = tuple(pictures)
    if len(pictures) < 2 or not all(p.is_color for p in pictures):
        return pictures
    found = [k for k, p in enumerate(pictures) if in_false_colors(p) or is_grey_with_marks(p)]
    if len(found) != 1:
        return pictures
    (k,) = found
    rendering = pictures[k]
    if any(_alike(rendering, p) for p in pictures if p is not rendering):
        return pictures
    what, levels = _in_grey(rendering, by_brightness)
    warn(f"{rendering.name} {what}")
    grey = replace(rendering, samples=levels[..., None], icc=None)
    return (*pictures[:k], grey, *pictures[k + 1 :])


def _in_grey(rendering: Picture, by_brightness: bool) -> tuple[str, np.ndarray]:
    """What a rendering seems to be, in words, and its levels (H, W)."""
    colors = rendering.pixels
    if not in_false_colors(rendering):
        what = (
            "is grey apart from colours like those of a logo or of marks, and is fused as grey; a "
            "picture of the camera without them gives a better result"
        )
        # Unlike brightness, the greatest channel leaves bright what is hot, and hence red.
        return what, colors.max(axis=2)
    what = (
        "seems to be temperatures in false colours, and is fused as grey; the camera's radiometric "
        "file, or white-hot grey without a logo, gives a better result"
    )
    levels = None if by_brightness else levels_along_palette(colors)
    return what, colors @ np.asarray(LUMA, np.float32) if levels is None else levels


def in_false_colors(picture: Picture) -> bool:
    """Whether a picture has colours that depend on its brightness, as a palette gives."""
    if not picture.is_color:
        return False
    luma, chroma = _luma_and_chroma(_looked_at(picture))
    chroma = chroma - chroma.mean(axis=0)
    total = float((chroma**2).sum())
    share = explained_by(luma, chroma, BINS) / max(total, 1e-12)
    return any(total > least**2 * len(luma) and share > part for least, part in COLORED)


def is_grey_with_marks(picture: Picture) -> bool:
    """Whether a picture in colour is grey nearly everywhere, as with a coloured logo in it."""
    if not picture.is_color:
        return False
    colors = _looked_at(picture)
    luma = colors @ np.asarray(LUMA, np.float32)
    between = colors[(luma > 0.1) & (luma < 0.9)]
    is_grey = np.ptp(between, axis=1) <= GREY
    return len(between) > SOME * len(colors) and float(is_grey.mean()) > MOSTLY


def _looked_at(picture: Picture) -> np.ndarray:
    """Colours (N, 3) of at most LOOK points a side."""
    step = -(-max(picture.size) // LOOK)
    return picture.rows(slice(None, None, step))[:, ::step].reshape(-1, 3)


def explained_by(levels: np.ndarray, values: np.ndarray, count: int) -> float:
    """The part of the sum of squares of values (N, C) that the levels (N) explain.

    The levels are divided into `count` bins of about equal size, and each value is compared with
    the mean of its bin. The values must have mean 0; divide by their sum of squares for a share.
    """
    bins = np.digitize(levels, np.quantile(levels, np.linspace(0, 1, count + 1)[1:-1]))
    sizes = np.maximum(np.bincount(bins, minlength=count), 1)
    return sum(float((np.bincount(bins, v, count) ** 2 / sizes).sum()) for v in values.T)


def _alike(one: Picture, other: Picture) -> bool:
    """Whether colours or brightness of both pictures correlate, as in exposures of one scene.

    Where an exposure is clipped, its colours are not those of the others.
    """
    from scipy.stats import spearmanr

    (luma, a), (luma2, b) = (_luma_and_chroma(_fields(p)) for p in (one, other))
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    together = float((a * b).sum())
    if together > ALIKE * np.sqrt(float((a**2).sum()) * float((b**2).sum())):
        return True
    if not (np.ptp(luma) and np.ptp(luma2)):
        return False
    return float(spearmanr(luma, luma2).statistic) > ORDERED


def _fields(picture: Picture) -> np.ndarray:
    """Colours (N, 3) of points that are spread evenly over a picture."""
    rows, columns = (np.linspace(0, n - 1, FIELDS).round().astype(int) for n in picture.size)
    return picture.pixels[np.ix_(rows, columns)].reshape(-1, 3)


def _luma_and_chroma(colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brightness (N), and blue and red less brightness (N, 2), of colours (N, 3)."""
    luma = colors @ np.asarray(LUMA, np.float32)
    return luma, np.stack([colors[:, 2] - luma, colors[:, 0] - luma], axis=1)
