"""Attribution: which sources a result has its levels and gradients from, pixel by pixel."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddfm.arguments import by_annotation
from ddfm.diffusion.observed import Observed
from ddfm.errors import InputError, short
from ddfm.imaging.writing import write_drawing, write_planes
from ddfm.likelihood.base import Shares
from ddfm.numerics.filters import smooth
from ddfm.numerics.planes import finite, of_shape, within
from ddfm.numerics.poisson import steepness
from ddfm.trust.drawing import DEEP, drawn_attribution

__all__ = ["PRIOR", "Attribution", "attributed", "check_shares", "names_of_planes"]

PRIOR = "the prior"  # its name in the list of sources

REACH = 1.5  # pixels; smoothing before a result is compared with its sources
BEYOND = 8 / 127.5  # 8 grey levels by which a result may exceed its sources without being marked
STEEPER = 4 / 127.5  # 4 grey levels per pixel by which its edges may be stronger
LEFT = 0.2  # share of the noise that smoothing by REACH leaves; 3 of its deviations are tolerated


@dataclass(frozen=True, eq=False)
class Attribution:
    """The shares of the sources in a result's levels and gradients; they sum to one at each pixel.

    Attributes:
        names: of the sources, and last of the prior, in the order of the shares.
        levels: (K + 1, H, W), shares of each source and last of the prior in the levels.
        gradients: the same for the gradients.
        unsupported: (H, W), where the result is brighter or darker than all sources, or has a
            stronger edge than any: the model has made this, and no source shows it.
        luminance: of the result, (H, W) in [0, 1].
    """

    names: tuple[str, ...]
    levels: np.ndarray = field(repr=False)
    gradients: np.ndarray = field(repr=False)
    unsupported: np.ndarray = field(repr=False)
    luminance: np.ndarray = field(repr=False)

    @by_annotation
    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a picture, or, as .tif, the shares in floating point, one page with a name each.

        The levels are first, then the gradients, and last what is unsupported (1, and 0 elsewhere).
        """
        if Path(path).suffix.lower() in DEEP:
            write_planes(path, self.planes())
        else:
            write_drawing(path, self.drawn())

    def drawn(self) -> Image.Image:
        """The shares as a picture with a legend."""
        return drawn_attribution(
            self.levels, self.gradients, self.unsupported, self.luminance, self.names[:-1]
        )

    def among(self, valid: Sequence[np.ndarray | None]) -> Attribution:
        """The same attribution, but where a source is not valid, its share goes to the others.

        Args:
            valid: a mask for each source of where it is valid, (H, W); None is everywhere.
        """
        if all(one is None for one in valid):
            return self
        size = self.luminance.shape
        known = np.stack([np.ones(size, bool) if one is None else one for one in valid])
        return replace(
            self, levels=_among(self.levels, known), gradients=_among(self.gradients, known)
        )

    def planes(self) -> list[tuple[str, np.ndarray]]:
        """The shares as named planes, (H, W) float32."""
        stacked = [*self.levels, *self.gradients, self.unsupported]
        names = names_of_planes(self.names)
        return [(n, p.astype(np.float32)) for n, p in zip(names, stacked, strict=True)]


def names_of_planes(names: Sequence[str]) -> list[str]:
    """The names of the planes in `Attribution.planes`, from those of the sources and the prior."""
    shares = [f"{kind} of {name}" for kind in ("levels", "gradients") for name in names]
    return [*shares, "unsupported"]


def check_shares(shares: Any, shape: Sequence[int], what: str) -> None:
    """Raises unless `what`, a part that may be the user's own, returned shares of this shape."""
    if not isinstance(shares, Shares):
        raise InputError(
            f"{what} must return ddfm.likelihood.base.Shares or None, not {short(shares)}"
        )
    for part in (shares.levels, shares.gradients):
        finite(of_shape(part, shape, what), what)


def attributed(
    shares: Shares,
    sources: Sequence[Observed],
    f: Tensor,
    luminance: np.ndarray,
    names: Sequence[str],
) -> Attribution:
    """The attribution of one result.

    Args:
        shares: those of the likelihood; what the prior changed in the sources before is added.
        f: the result of the likelihood, (1, 1, H, W) in [-1, 1].
        luminance: of the final result, (H, W) in [0, 1].
    """
    change = torch.cat([source.likely - source.seen for source in sources], dim=1)
    if bool((change != 0).any()):
        of_levels, of_gradients = (
            (part[:, :-1] * change).sum(dim=1, keepdim=True)
            for part in (shares.levels, shares.gradients)
        )
        shares = shares.with_change(f, of_levels, of_gradients)
    levels, gradients, missing = (
        within(x, luminance.shape)[0].float().cpu().numpy()
        for x in (shares.levels, shares.gradients, _unsupported(f, sources))
    )
    return Attribution((*names, PRIOR), levels, gradients, missing[0] > 0, luminance)


def _among(shares: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Shares (K + 1, H, W), where those of sources that are not valid go to the valid ones.

    They are distributed in proportion to the shares of these, or equally if these have none. Where
    no source is valid, nothing changes.
    """
    count = known.sum(axis=0)
    kept = np.where(known | (count == 0), shares[:-1], 0)
    left = kept.sum(axis=0)
    equal = (known / np.maximum(count, 1)).astype(shares.dtype)
    parts = np.where(left > 0, kept / np.maximum(left, np.finfo(np.float32).tiny), equal)
    return np.concatenate([parts * shares[:-1].sum(axis=0), shares[-1:]])


def _unsupported(f: Tensor, sources: Sequence[Observed]) -> Tensor:
    """Where f exceeds the levels or gradients of all sources, by more than noise explains."""
    seen = torch.cat([source.seen for source in sources], dim=1)
    noise = 3 * LEFT * max(source.level for source in sources)
    s, mean = smooth(seen, REACH), smooth(f, REACH)
    beyond = torch.maximum(mean - s.amax(1, keepdim=True), s.amin(1, keepdim=True) - mean)
    steeper = steepness(f, REACH) - steepness(seen, REACH).amax(1, keepdim=True)
    return (beyond > BEYOND + noise) | (steeper > STEEPER + noise)
