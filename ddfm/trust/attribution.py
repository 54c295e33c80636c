"""Where a result has its levels and its gradients from, pixel by pixel."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddfm.arguments import by_annotation
from ddfm.diffusion.observed import Observed
from ddfm.imaging.writing import write_drawing, write_planes
from ddfm.likelihood.base import Shares
from ddfm.numerics.filters import smooth
from ddfm.numerics.poisson import steepness
from ddfm.trust.pictures import DEEP, drawn_attribution

__all__ = ["PRIOR", "Attribution", "attributed", "names_of_planes"]

PRIOR = "the prior"  # among the names of the sources

REACH = 1.5  # pixels, over which a result is compared with its sources
BEYOND = 8 / 127.5  # 8 grey levels: what a result may be beyond its sources without a mark
STEEPER = 4 / 127.5  # per pixel
LEFT = 0.2  # of noise, where it is smoothed over REACH; 3 deviations are allowed for


@dataclass(frozen=True, eq=False)
class Attribution:
    """Shares of a result's levels and gradients, which sum to one at each pixel.

    Attributes:
        names: of the sources, and of the prior, in the order of the shares.
        levels: (K + 1, H, W), of each source and last of the prior.
        gradients: likewise.
        unsupported: (H, W), where the result is brighter or darker than every source, or has a
            stronger edge than any: its model has made that, and no source shows it so.
        luminance: of the result, (H, W) in [0, 1].
    """

    names: tuple[str, ...]
    levels: np.ndarray = field(repr=False)
    gradients: np.ndarray = field(repr=False)
    unsupported: np.ndarray = field(repr=False)
    luminance: np.ndarray = field(repr=False)

    @by_annotation
    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a picture; as .tif the shares in floating point, a page each, their names on it.

        First the levels, then the gradients, last what is unsupported (1, and 0 elsewhere).
        """
        if Path(path).suffix.lower() in DEEP:
            write_planes(path, self.planes())
        else:
            write_drawing(path, self.drawn())

    def drawn(self) -> Image.Image:
        """As a picture with a legend."""
        return drawn_attribution(
            self.levels, self.gradients, self.unsupported, self.luminance, self.names[:-1]
        )

    def among(self, says: Sequence[np.ndarray | None]) -> Attribution:
        """The same, where a source has no share outside of its frame: who says something has it.

        Args:
            says: of each source where it says something, (H, W); None is everywhere.
        """
        if all(one is None for one in says):
            return self
        size = self.luminance.shape
        known = np.stack([np.ones(size, bool) if one is None else one for one in says])
        return replace(
            self, levels=_among(self.levels, known), gradients=_among(self.gradients, known)
        )

    def planes(self) -> list[tuple[str, np.ndarray]]:
        """As numbers: what each plane is of, and the plane, (H, W) float32."""
        stacked = [*self.levels, *self.gradients, self.unsupported]
        names = names_of_planes(self.names)
        return [(n, p.astype(np.float32)) for n, p in zip(names, stacked, strict=True)]


def names_of_planes(names: Sequence[str]) -> list[str]:
    """In words, of the sources and of the prior, as `Attribution.planes` orders them."""
    shares = [f"{kind} of {name}" for kind in ("levels", "gradients") for name in names]
    return [*shares, "unsupported"]


def attributed(
    shares: Shares,
    sources: Sequence[Observed],
    f: Tensor,
    luminance: np.ndarray,
    names: Sequence[str],
) -> Attribution:
    """Of one result: the likelihood's shares, and what the prior did to the sources before.

    Args:
        f: what the likelihood made of them, (1, 1, H, W) in [-1, 1].
    """
    height, width = luminance.shape
    change = torch.cat([source.likely - source.seen for source in sources], dim=1)
    if bool((change != 0).any()):
        of_levels, of_gradients = (
            (part[:, :-1] * change).sum(dim=1, keepdim=True)
            for part in (shares.levels, shares.gradients)
        )
        shares = shares.with_change(f, of_levels, of_gradients)
    levels, gradients, missing = (
        x[0, ..., :height, :width].float().cpu().numpy()
        for x in (shares.levels, shares.gradients, _unsupported(f, sources))
    )
    return Attribution((*names, PRIOR), levels, gradients, missing[0] > 0, luminance)


def _among(shares: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Shares (K + 1, H, W); those of sources where these are not known go to the others there.

    As these have theirs, or, if they have none, to equal parts. Where none is known, as they are.
    """
    count = known.sum(axis=0)
    kept = np.where(known | (count == 0), shares[:-1], 0)
    left = kept.sum(axis=0)
    equal = (known / np.maximum(count, 1)).astype(shares.dtype)
    parts = np.where(left > 0, kept / np.maximum(left, np.finfo(np.float32).tiny), equal)
    return np.concatenate([parts * shares[:-1].sum(axis=0), shares[-1:]])


def _unsupported(f: Tensor, sources: Sequence[Observed]) -> Tensor:
    seen = torch.cat([source.seen for source in sources], dim=1)
    noise = 3 * LEFT * max(source.level for source in sources)
    s, mean = smooth(seen, REACH), smooth(f, REACH)
    beyond = torch.maximum(mean - s.amax(1, keepdim=True), s.amin(1, keepdim=True) - mean)
    steeper = steepness(f, REACH) - steepness(seen, REACH).amax(1, keepdim=True)
    return (beyond > BEYOND + noise) | (steeper > STEEPER + noise)
