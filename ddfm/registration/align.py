"""Whether two pictures lie on each other, and the transform that lays one on the other.

    small copies -> correlation over shifts, turns and sizes -> the best few, fitted by tiles
    -> the one with the sharpest correlation -> finer fits of every model -> the smallest model
    that explains the tiles -> is its peak one that chance does not make?

`check` is the quick question, by shifts alone; `align` is the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy import stats

from ddfm.errors import unknown
from ddfm.imaging.picture import LUMA, Picture
from ddfm.registration.refine import Fit, Level
from ddfm.registration.search import NOWHERE, Search
from ddfm.registration.structure import Pyramid, resized
from ddfm.registration.transform import MODELS, Transform

__all__ = ["ALIGN", "Alignment", "align", "check", "check_align"]

ALIGN = ("none", "auto", "shift", "similarity", "affine", "homography")

LARGEST = 1024  # pixels of the longer side that are looked at
SHARP, SHARP_SIGMA = 192, 0.7  # of the correlation that decides: sharp, so that chance has none
SCALES = np.exp(np.arange(-10, 9) * np.log(1.05))  # 0.61 to 1.48
TURNS = np.array([-5.0, -2.5, 0.0, 2.5, 5.0])  # degrees
GUESSES = 6
SURE_GAP = 4.0  # deviations between the peak and the best of all other shifts
SURE_SCORE = 0.12
BELIEVED = 2.5  # deviations of the paired difference by which a larger model must be better


@dataclass(frozen=True, eq=False)
class Alignment:
    """What was found about a pair.

    Attributes:
        transform: from the moving picture to the fixed one.
        sure: whether it can be trusted. If not, leave the pair as it is.
        gap: by how many deviations its correlation stands above that at any other shift.
        score: mean likeness of the structure under it.
    """

    transform: Transform
    sure: bool
    gap: float
    score: float
    details: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def off(self) -> float:
        """By how many pixels of the fixed picture the pair, as it stands, does not fit."""
        return self.transform.moves


def check_align(align: str) -> str:
    """The model itself, or an error that names those that exist."""
    if align not in ALIGN:
        raise unknown("way to align", align, ALIGN)
    return align


def check(fixed: Picture | np.ndarray, moving: Picture | np.ndarray) -> Alignment:
    """The shift between two pictures, quickly."""
    a, b, full = _planes(fixed, moving)
    pyramid = Pyramid(b)
    search = Search(a, pyramid, SHARP, SHARP_SIGMA)
    framed = Transform.framed(pyramid.size, search.fixed).matrix
    surface = search.correlation(framed)
    y, x = np.unravel_index(surface.argmax(), surface.shape)
    matrix = search.shifted(framed, (int(y), int(x)))
    fit = Level(a, pyramid, 256, 24).fit(matrix, "shift", 3, (1.0, 0.5))
    gap = _gap(search.correlation(fit.matrix))
    return Alignment(full(fit.matrix, "shift"), gap > SURE_GAP, gap, fit.score)


def align(
    fixed: Picture | np.ndarray, moving: Picture | np.ndarray, model: str = "auto"
) -> Alignment:
    """The transform of a model, or the smallest that explains the pair.

    Args:
        fixed, moving: pictures, or grey levels (H, W). They may differ in size, and in field.
        model: "auto", or one of `MODELS`.
    """
    if model != "auto" and model not in MODELS:
        raise unknown("way to align", model, ALIGN)
    a, b, full = _planes(fixed, moving)
    pyramid = Pyramid(b)
    sharp = Search(a, pyramid, SHARP, SHARP_SIGMA)
    fits = _fits(a, pyramid, sharp, model)
    chosen = _smallest(fits) if model == "auto" else model
    fit = fits[chosen]
    gap = _gap(sharp.correlation(fit.matrix))
    sure = gap > SURE_GAP and fit.score > SURE_SCORE
    details = {"fits": fits, "full": full}
    return Alignment(full(fit.matrix, chosen), sure, gap, fit.score, details)


def _fits(a: torch.Tensor, b: Pyramid, sharp: Search, model: str) -> dict[str, Fit]:
    """The best transform of each model up to the one that is wanted."""
    size = (a.shape[0], a.shape[1])
    framed = Transform.framed(b.size, size).matrix
    middle, fine = Level(a, b, 256, 24), Level(a, b, 512, 32)
    wanted = MODELS if model == "auto" else MODELS[: MODELS.index(model) + 1]
    surface = sharp.correlation(framed)
    y, x = np.unravel_index(surface.argmax(), surface.shape)
    shifted = sharp.shifted(framed, (int(y), int(x)))
    found: dict[str, Fit] = {}
    if "none" in wanted:
        found["none"] = fine.at(framed)
    if "shift" in wanted:
        fit = middle.fit(shifted, "shift", 4, (1.5, 0.5))
        found["shift"] = fine.fit(fit.matrix, "shift", 3, (1.0, 0.5))
    if "similarity" in wanted:
        best = _nearest(a, b, sharp, [shifted])
        fit = middle.fit(best, "similarity", 5, (2.0, 1.0, 0.5))
        fit = middle.fit(fit.matrix, "similarity", 3, (1.0, 0.5))
        base = fit.matrix
        found["similarity"] = fine.fit(base, "similarity", 3, (1.0, 0.5))
        for larger in ("affine", "homography"):
            if larger in wanted:
                fit = middle.fit(base, larger, 5, (2.0, 1.0, 0.5))
                fit = middle.fit(fit.matrix, larger, 3, (1.0, 0.5))
                found[larger] = fine.fit(fit.matrix, larger, 3, (1.0, 0.5))
    return found


def _nearest(
    a: torch.Tensor, b: Pyramid, sharp: Search, more: list[np.ndarray]
) -> np.ndarray:
    """The similarity whose correlation is the sharpest, among the best of a grid."""
    guesses = [g.matrix for g in Search(a, b).guesses(SCALES, TURNS, GUESSES)]
    coarse = Level(a, b, 128, 16)
    fits = [coarse.fit(m, "similarity", 6, (2.0, 1.0, 0.5)).matrix for m in [*guesses, *more]]
    return max(fits, key=lambda matrix: _peak(sharp.correlation(matrix)))


def _peak(surface: np.ndarray, near: int = 3) -> float:
    n = surface.shape[0] // 2
    return float(surface[n - near : n + near + 1, n - near : n + near + 1].max())


def _gap(surface: np.ndarray, near: int = 2, far: int = 6) -> float:
    """Deviations by which the middle of a surface stands above all that is not next to it."""
    n = surface.shape[0] // 2
    others = surface.copy()
    others[n - far : n + far + 1, n - far : n + far + 1] = NOWHERE
    others = others[others > NOWHERE]
    if others.size < 9:
        return 0.0
    return float((_peak(surface, near) - others.max()) / (others.std() + 1e-9))


def _smallest(fits: dict[str, Fit]) -> str:
    """The smallest model that no larger one is clearly better than, tile by tile."""
    chosen = "none"
    for model in MODELS[1:]:
        if model in fits and _better(fits[model], fits[chosen]):
            chosen = model
    return chosen


def _better(one: Fit, other: Fit) -> bool:
    if one.likeness.shape != other.likeness.shape or not one.likeness.size:
        return bool(one.likeness.size)
    gain = one.likeness - other.likeness
    return bool(stats.ttest_1samp(gain, 0.0).statistic > BELIEVED)


def _planes(fixed: Picture | np.ndarray, moving: Picture | np.ndarray) -> Any:
    """Grey levels of both, no larger than is looked at; and what makes a transform full size."""
    planes = [_grey(picture) for picture in (fixed, moving)]
    small = [resized(plane, LARGEST) for plane in planes]
    sizes = [(plane.shape[0], plane.shape[1]) for plane in planes]
    used = [(plane.shape[0], plane.shape[1]) for plane in small]

    def full(matrix: np.ndarray, model: str) -> Transform:
        return Transform(matrix, used[1], used[0], model).at(sizes[1], sizes[0])

    return small[0], small[1], full


def _grey(picture: Picture | np.ndarray) -> torch.Tensor:
    pixels = picture.pixels if isinstance(picture, Picture) else np.asarray(picture)
    if pixels.ndim == 3:
        pixels = pixels @ np.array(LUMA, np.float32) if pixels.shape[2] == 3 else pixels[..., 0]
    return torch.from_numpy(np.ascontiguousarray(pixels, np.float32))
