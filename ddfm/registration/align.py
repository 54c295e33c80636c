"""Whether two pictures lie on each other, and the transform that lays one on the other.

    small copies -> correlation over shifts, turns and sizes -> the best few, fitted by tiles
    -> the one with the sharpest correlation -> finer fits of every model -> the smallest model
    that explains the tiles -> is its peak one that chance does not make?

`check` is the quick question, by shifts alone; `align` is the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import stats

from ddfm.errors import unknown
from ddfm.imaging.picture import LUMA, Picture
from ddfm.registration.refine import Fit, Level
from ddfm.registration.search import NOWHERE, Search
from ddfm.registration.structure import Pyramid, resized
from ddfm.registration.transform import MODELS, Transform

__all__ = ["Alignment", "align", "check", "tolerance"]

LARGEST = 1024  # pixels of the longer side that are looked at
SHARP, SHARP_SIGMA = 192, 0.7  # of the correlation that decides: sharp, so that chance has none
SCALES = np.exp(np.arange(-10, 9) * np.log(1.05))  # 0.61 to 1.48
TURNS = np.array([-5.0, -2.5, 0.0, 2.5, 5.0])  # degrees
GUESSES = 6
FAR_SCALES = np.exp(np.arange(-25, -9) * np.log(1.05))  # 0.30 to 0.61
FAR_MARGIN = 0.36
LEVELS = ((128, 16), (256, 24), (512, 32))  # pixels of the longer side, and of a tile
WIDTHS = (2.0, 1.0, 0.5)  # of the smoothing of a tile's surface, in pixels
LEAVE, LEAVE_SHARE = 2.5, 0.005  # pixels, or that share of the longer side, that a pair may be off
SURE_GAP = 3.0  # deviations between the peak and the best of all other shifts
SEEN_GAP = 2.5  # the same for a shift alone, where chance has fewer chances
SURE_SCORE = 0.15  # mean likeness; chance reaches 0.12
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

    @property
    def is_off(self) -> bool:
        """Whether the pair, as it stands, surely lies off by more than may be left as it is."""
        return self.sure and self.transform.moves > tolerance(self.transform)


def tolerance(transform: Transform) -> float:
    """Pixels of the fixed picture that a pair may be off without a word."""
    return max(LEAVE, max(transform.fixed) * LEAVE_SHARE)


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
    sure = gap > SEEN_GAP and fit.score > SURE_SCORE
    return Alignment(full(fit.matrix, "shift"), sure, gap, fit.score)


def align(
    fixed: Picture | np.ndarray, moving: Picture | np.ndarray, model: str = "auto"
) -> Alignment:
    """The transform of a model, or the smallest that explains the pair.

    Args:
        fixed, moving: pictures, or grey levels (H, W). They may differ in size, and in field.
        model: "auto", or one of `MODELS`.
    """
    if model != "auto" and model not in MODELS:
        raise unknown("way to align", model, ("auto", *MODELS))
    a, b, full = _planes(fixed, moving)
    pyramid = Pyramid(b)
    work = _Work(a, pyramid)
    found = [_chosen(work, work.near(), model)]
    if not _sure(found[0]) and model != "shift":
        found.append(_chosen(work, work.far(), model))
    chosen, fit, gap = max(found, key=lambda one: one[2])
    result = Alignment(full(fit.matrix, chosen), _sure((chosen, fit, gap)), gap, fit.score)
    if model == "auto" and result.sure and not result.is_off:
        t = result.transform
        # To interpolate would cost more than so little is worth.
        return replace(result, transform=Transform.framed(t.moving, t.fixed))
    return result


class _Work:
    """A pair at the sizes that it is looked at."""

    def __init__(self, a: torch.Tensor, b: Pyramid) -> None:
        self.a, self.b = a, b
        self.framed = Transform.framed(b.size, (a.shape[0], a.shape[1])).matrix
        self.sharp = Search(a, b, SHARP, SHARP_SIGMA)
        self.coarse, self.middle, self.fine = (Level(a, b, *level) for level in LEVELS)

    def near(self) -> list[np.ndarray]:
        """Where the moving image may lie if both fields are much alike; a shift comes first."""
        surface = self.sharp.correlation(self.framed)
        y, x = np.unravel_index(surface.argmax(), surface.shape)
        guesses = Search(self.a, self.b).guesses(SCALES, TURNS, GUESSES)
        return [self.sharp.shifted(self.framed, (int(y), int(x))), *(g.matrix for g in guesses)]

    def far(self) -> list[np.ndarray]:
        """Where it may lie if it covers a part of the fixed image only."""
        search = Search(self.a, self.b, margin=FAR_MARGIN)
        return [self.framed, *(g.matrix for g in search.guesses(FAR_SCALES, TURNS[1:4], GUESSES))]

    def fits(self, guesses: list[np.ndarray], model: str) -> dict[str, Fit]:
        """The best transform of each model up to the one that is wanted."""
        wanted = MODELS if model == "auto" else MODELS[: MODELS.index(model) + 1]
        shifted = self.middle.fit(guesses[0], "shift", 4, (1.5, 0.5))
        found = {"none": self.fine.at(self.framed), "shift": self._finest(shifted, "shift")}
        if "similarity" not in wanted:
            return found
        fits = [self.coarse.fit(guess, "similarity", 6, WIDTHS).matrix for guess in guesses]
        best = max(fits, key=lambda matrix: _peak(self.sharp.correlation(matrix)))
        found["similarity"] = self._finer(best, "similarity")
        for larger in ("affine", "homography"):
            if larger in wanted:
                start = self.coarse.fit(best, larger, 6, WIDTHS).matrix
                found[larger] = self._finer(start, larger)
        return found

    def _finer(self, start: np.ndarray, model: str) -> Fit:
        fit = self.middle.fit(start, model, 5, WIDTHS)
        return self._finest(self.middle.fit(fit.matrix, model, 3, WIDTHS[1:]), model)

    def _finest(self, fit: Fit, model: str) -> Fit:
        return self.fine.fit(fit.matrix, model, 3, WIDTHS[1:])


def _chosen(work: _Work, guesses: list[np.ndarray], model: str) -> tuple[str, Fit, float]:
    """The model, its fit, and the gap."""
    fits = work.fits(guesses, model)
    chosen = _smallest(fits) if model == "auto" else model
    return chosen, fits[chosen], _gap(work.sharp.correlation(fits[chosen].matrix))


def _sure(found: tuple[str, Fit, float]) -> bool:
    _, fit, gap = found
    return gap > SURE_GAP and fit.score > SURE_SCORE


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


def _planes(
    fixed: Picture | np.ndarray, moving: Picture | np.ndarray
) -> tuple[torch.Tensor, torch.Tensor, Callable[[np.ndarray, str], Transform]]:
    """Grey levels of both, no larger than is looked at; and what makes a transform full size."""
    planes = [_grey(picture) for picture in (fixed, moving)]
    small = [resized(plane, LARGEST) for plane in planes]
    (size, of), (used, by) = ([(p.shape[0], p.shape[1]) for p in some] for some in (planes, small))

    def full(matrix: np.ndarray, model: str) -> Transform:
        return Transform(matrix, by, used, model).at(of, size)

    return small[0], small[1], full


def _grey(picture: Picture | np.ndarray) -> torch.Tensor:
    pixels = picture.pixels if isinstance(picture, Picture) else np.asarray(picture)
    if pixels.ndim == 3:
        pixels = pixels @ np.array(LUMA, np.float32) if pixels.shape[2] == 3 else pixels[..., 0]
    return torch.from_numpy(np.ascontiguousarray(pixels, np.float32))
