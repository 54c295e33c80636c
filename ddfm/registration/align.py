"""Decides whether two pictures are aligned, and finds the transform that aligns them.

    small copies: correlation over all shifts, for a grid of turns and sizes
    -> the best few guesses: each model is fitted to tiles
    -> the best fit of each model: fitted again at finer sizes
    -> which fits are sure: tiles agree on it and on nothing near it, and its corners are certain
    -> the smallest of the sure models that explains the tiles

`align` does all of this. `check` uses a coarser grid, smaller copies, and models up to similarity,
and ends early if the pair is certainly aligned already.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ddfm.arguments import one_of
from ddfm.imaging.picture import LUMA, Picture, orient
from ddfm.registration.flow import flow
from ddfm.registration.refine import BELIEVED, Fit, Level, deviations
from ddfm.registration.search import MARGIN, Search
from ddfm.registration.structure import Pyramid, resized
from ddfm.registration.transform import FLOW, MODELS, Transform

__all__ = ["Alignment", "align", "check", "tolerance", "turn_that_fits"]

ImageLike = Picture | np.ndarray  # an array has grey levels (H, W)

LARGEST = 1024  # pixels; larger pictures are reduced to this longer side first
FAR_MARGIN = 0.36  # how far frames may be apart if one shows only a part, see `search.MARGIN`
TURNING = MODELS[2:]  # the models that need a grid of turns and sizes
LEVELS = ((128, 16), (256, 24), (512, 32))  # longer side of each `small_copy`, and its tiles
WIDTHS = (2.0, 1.0, 0.5)  # smoothing of the tiles' surfaces from fit to fit, in pixels
FINALISTS = 2  # how many guesses are fitted further, the best by their coarse fits
APART = 2.0  # pixels of the smallest copy by which finalists must differ
WIDE = (4.0, *WIDTHS)  # `WIDTHS` for a guess that may be far off
LEAVE, LEAVE_SHARE = 2.5, 0.005  # tolerance: pixels, or a share of the longer side if more
SURE_STAND = 6.0  # least `Alignment.stand` of a sure fit; pictures of different scenes reach 5
LEAST_TILES = 6  # least number of tiles of a sure fit; fewer may agree by chance
LEAST_SIDE = 64  # least side in pixels for a sure fit; tiles of a smaller picture are too close
DOUBTED = 3.0  # least `deviations` by which a better larger model casts doubt on a smaller one
UNTOLD = 0.02  # share of the longer side; with a larger spread, a model is not determined at all
PERSPECTIVE = 0.6  # spread allowed for a homography, relative to others, as it is underestimated


@dataclass(frozen=True, eq=False)
class Alignment:
    """What was found about a pair.

    Attributes:
        transform: from the moving picture to the fixed one.
        sure: whether it can be trusted. If not, leave the pair as it is.
        stand: by how many deviations the tiles' likeness is higher here than a few pixels away.
        spread: standard deviation of the corners, in pixels of the fixed picture, if the tiles err
            independently.
    """

    transform: Transform
    sure: bool
    stand: float
    spread: float

    @property
    def is_off(self) -> bool:
        """Whether the untouched pair is certainly misaligned by more than the tolerance."""
        return self.sure and self.transform.moves > tolerance(self.transform)


def tolerance(transform: Transform) -> float:
    """By how many pixels of the fixed picture a pair may be misaligned without a warning."""
    return max(LEAVE, max(transform.fixed) * LEAVE_SHARE)


def check(fixed: ImageLike, moving: ImageLike) -> Alignment:
    """Checks quickly whether two pictures are aligned, by shift, turn and size."""
    work = _Work(fixed, moving, QUICK)
    return _as_it_lies(work) or _found(work, "auto")


def turn_that_fits(fixed: ImageLike, moving: ImageLike, orientations: Iterable[int]) -> int | None:
    """The orientation (see `orient`) in which the moving picture certainly fits, if there is one.

    Only the one with the highest correlation is checked: to check all would take longer than the
    alignment that failed before.
    """
    a, b = (resized(_grey(picture), LARGEST) for picture in (fixed, moving))
    if min(a.shape) < LEAST_SIDE:  # nothing can be sure
        return None
    # Copied, since PyTorch refuses the strides of a single row that was reversed.
    turned = {each: orient(b.numpy(), each).copy() for each in orientations}

    def likeness(orientation: int) -> float:
        search = Search(a, Pyramid(torch.from_numpy(turned[orientation])), MARGIN)
        return float(search.correlation(search.centred(1, 0)).max())

    best = max(turned, key=likeness)
    return best if check(a.numpy(), turned[best]).sure else None


def align(fixed: ImageLike, moving: ImageLike, model: str = "auto") -> Alignment:
    """The transform that aligns a pair.

    Args:
        fixed, moving: pictures, or grey levels (H, W). Sizes and fields of view may differ.
        model: one of `MODELS`; "auto" for the smallest that explains the pair; or "flow" for a
            smooth field on top of what "auto" finds.
    """
    one_of("way to align", model, ("auto", *MODELS, FLOW))
    if model == FLOW:
        # The displacements that the field will explain make other models' corners uncertain.
        work = _Work(fixed, moving, replace(WHOLE, spread=QUICK.spread, doubts=False))
        result = _with_field(work, _found(work, "auto"))
    else:
        result = _found(_Work(fixed, moving, WHOLE), model)
    is_chosen = model == "auto" or (model == FLOW and result.transform.field is None)
    if is_chosen and result.sure and not result.is_off:
        t = result.transform
        # Interpolation would do more harm than so small a misalignment.
        return replace(result, transform=Transform.framed(t.moving, t.fixed))
    return result


@dataclass(frozen=True)
class _Grid:
    """Sizes and turns; for each combination, all shifts are searched."""

    scales: np.ndarray
    turns: np.ndarray  # degrees
    margin: float = MARGIN  # how far the frames may be apart, see `Search`


@dataclass(frozen=True)
class _Effort:
    """How thoroughly to search."""

    grids: tuple[_Grid, ...]  # the next one is searched only if nothing sure was found before
    guesses: int
    levels: tuple[tuple[int, int], ...]
    models: tuple[str, ...]
    spread: float  # greatest spread of a sure fit, as a share of the longer side
    doubts: bool  # whether a larger model can cast doubt on a smaller one


def _steps(ratio: float, first: int, last: int) -> np.ndarray:
    """The powers of a ratio, with exponents from `first` to `last`."""
    return np.exp(np.arange(first, last + 1) * np.log(ratio))


WHOLE = _Effort(
    grids=(
        _Grid(_steps(1.05, -10, 8), np.array([-5.0, -2.5, 0.0, 2.5, 5.0])),
        _Grid(_steps(1.05, -25, -10), np.array([-2.5, 0.0, 2.5]), FAR_MARGIN),
    ),
    guesses=6,
    levels=LEVELS,
    models=MODELS,
    spread=0.003,
    doubts=True,
)
QUICK = _Effort(
    grids=(
        _Grid(np.ones(1), np.zeros(1)),
        _Grid(_steps(1.11, -4, 4), np.array([-4.0, 0.0, 4.0])),
    ),
    guesses=3,
    levels=LEVELS[:2],
    models=MODELS[:3],
    spread=0.005,
    doubts=False,
)


class _Work:
    """A pair in grey, reduced to `LARGEST`, at all sizes that are used."""

    def __init__(self, fixed: ImageLike, moving: ImageLike, effort: _Effort) -> None:
        planes = [_grey(picture) for picture in (fixed, moving)]
        self.sizes = [(plane.shape[0], plane.shape[1]) for plane in planes]  # those of the pair
        self.a, small = (resized(plane, LARGEST) for plane in planes)
        self.b, self.effort = Pyramid(small), effort
        self.levels = [Level(self.a, self.b, *level) for level in effort.levels]
        self.size = (self.a.shape[0], self.a.shape[1])
        self.longest = max(self.size)
        self.framed = Transform.framed(self.b.size, self.size).matrix  # untouched

    def full(self, matrix: np.ndarray, model: str) -> Transform:
        """A transform of the reduced pair, for the pair itself."""
        fixed, moving = self.sizes
        return Transform(matrix, self.b.size, self.size, model).at(moving, fixed)

    def fits(self, models: Sequence[str], grid: _Grid) -> dict[str, Fit]:
        """The best fit of each model, from the best guesses of a grid."""
        search = Search(self.a, self.b, grid.margin)
        coarse = self.levels[0]
        found = {}
        if "none" in models:
            found["none"] = self.levels[-1].fit(self.framed, "none", WIDTHS[-1:])
        if "shift" in models:
            guesses = search.guesses(np.ones(1), np.zeros(1), FINALISTS)
            found["shift"] = self._finer(guesses, "shift")
        larger = [model for model in models if model in TURNING]
        guesses = []
        if larger:  # most pairs are nearly aligned, even if their content shows it poorly
            few = self.effort.guesses - 1
            guesses = [self.framed, *search.guesses(grid.scales, grid.turns, few)]
        starts = [coarse.fit(guess, "similarity", WIDE) for guess in guesses]
        for model in larger:
            fits = starts
            if model != "similarity":
                fits = [coarse.fit(start.matrix, model, WIDE) for start in starts]
            likely = [fit.matrix for fit in sorted(fits, key=_score, reverse=True)]
            found[model] = self._finer(search.distinct(likely, FINALISTS, APART), model)
        return found

    def is_sure(self, fit: Fit, model: str) -> bool:
        """Whether tiles agree on this fit, and on nothing near it."""
        spread = self.effort.spread * (PERSPECTIVE if model == "homography" else 1)
        enough = len(fit.likeness) >= LEAST_TILES and min(self.a.shape) >= LEAST_SIDE
        return enough and fit.stand > SURE_STAND and fit.spread < spread * self.longest

    def _finer(self, matrices: list[np.ndarray], model: str) -> Fit:
        """The best of some matrices, fitted at the finer levels."""
        fit = max((self.levels[1].fit(matrix, model, WIDE) for matrix in matrices), key=_score)
        for level in self.levels[2:]:
            fit = level.fit(fit.matrix, model, WIDTHS[1:])
        return fit


def _score(fit: Fit) -> float:
    return fit.score


def _as_it_lies(work: _Work) -> Alignment | None:
    """The untouched pair, if a fit near it is sure and within tolerance; else None.

    Then nothing farther away can be as similar, and the search is over.
    """
    level = work.levels[-1]
    near = level.fit(work.framed, "similarity", WIDTHS)
    found = work.full(near.matrix, "similarity")
    if not work.is_sure(near, "similarity") or found.moves > tolerance(found):
        return None
    spread = near.spread * max(found.fixed) / work.longest
    return Alignment(work.full(work.framed, "none"), True, near.stand, spread)


def _found(work: _Work, model: str) -> Alignment:
    """The result of searching the grids, one after the other, until a result is sure."""
    if min(work.a.shape) < LEAST_SIDE:  # nothing can be sure
        return Alignment(work.full(work.framed, "none"), False, 0.0, math.inf)
    first, *others = work.effort.grids
    models = work.effort.models if model == "auto" else (model,)
    found = _judged(work, work.fits(models, first))
    larger = [model for model in models if model in TURNING]
    for grid in others if larger else ():
        if found.sure:
            break
        next_one = _judged(work, work.fits(larger, grid))
        found = max(found, next_one, key=lambda one: one.stand)
    return found


def _with_field(work: _Work, found: Alignment) -> Alignment:
    """What was found, with a field on top of it if it is sure and moves any point far enough."""
    if not found.sure:
        return found
    t = found.transform
    matrix = t.at(work.b.size, work.size).matrix
    field = flow(work.levels[-1], matrix)
    if field is None:
        return found
    farthest = float(np.linalg.norm(field, axis=2).max()) * max(t.fixed) / work.longest
    if farthest < tolerance(t):
        return found
    with_field = Transform(matrix, work.b.size, work.size, FLOW, field)
    return replace(found, transform=with_field.at(t.moving, t.fixed))


def _judged(work: _Work, fits: dict[str, Fit]) -> Alignment:
    """The smallest sure model that explains the pair; if none is sure, that with most `stand`."""
    sure = [model for model, fit in fits.items() if work.is_sure(fit, model)]
    if sure:
        chosen = _smallest({model: fits[model] for model in sure})
    else:
        chosen = max(fits, key=lambda model: fits[model].stand)
    transform = work.full(fits[chosen].matrix, chosen)
    spread = fits[chosen].spread * max(transform.fixed) / work.longest
    found = Alignment(transform, bool(sure), fits[chosen].stand, spread)
    if found.is_off and work.effort.doubts and _is_doubted(work, found, fits):
        return replace(found, sure=False)
    return found


def _is_doubted(work: _Work, found: Alignment, fits: dict[str, Fit]) -> bool:
    """Whether a larger model places the pair elsewhere, and fits better, even if it is not sure.

    For a model that the tiles do not determine at all, any improvement is enough.
    """
    chosen = found.transform.model
    for model in list(fits)[list(fits).index(chosen) + 1 :]:
        by = 0.0 if fits[model].spread > UNTOLD * work.longest else DOUBTED
        elsewhere = work.full(fits[model].matrix, model).distance(found.transform)
        if elsewhere > tolerance(found.transform) and _better(fits[model], fits[chosen], by):
            return True
    return False


def _smallest(fits: dict[str, Fit]) -> str:
    """The smallest model such that no larger one is clearly better, tile by tile."""
    chosen, *larger = fits
    for model in larger:
        if _better(fits[model], fits[chosen]):
            chosen = model
    return chosen


def _better(one: Fit, other: Fit, by: float = BELIEVED) -> bool:
    if one.likeness.shape != other.likeness.shape or not one.likeness.size:
        return bool(one.likeness.size)
    return deviations(one.likeness - other.likeness) > by


def _grey(picture: ImageLike) -> torch.Tensor:
    pixels = picture.pixels if isinstance(picture, Picture) else np.asarray(picture)
    if pixels.ndim == 3:
        pixels = pixels @ np.array(LUMA, np.float32) if pixels.shape[2] == 3 else pixels[..., 0]
    return torch.from_numpy(np.ascontiguousarray(pixels, np.float32))
