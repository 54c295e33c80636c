"""Which source gives each region its level: (4) of `ddfm.likelihood.evidence`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor

from ddfm.arguments import one_of
from ddfm.likelihood.gradients import GRAIN, TINY, energy_of, preferring
from ddfm.numerics.bands import WHOLE, Band, in_bands
from ddfm.numerics.exporting import median
from ddfm.numerics.filters import reach_of, shares_of, smooth
from ddfm.numerics.regions import GRID, from_grid, on_grid, smoothed_on_grid

__all__ = ["Choosing", "Levels", "medians"]

SALIENCIES = ("stands out", "exposed", "sharp")
AROUND = 1 + reach_of(GRAIN)  # most rows above and below a pixel that its saliency depends on


@dataclass(frozen=True)
class Choosing:
    """How levels are chosen; the parameters are those of `EvidenceLikelihood`.

    Attributes:
        preference: b_k of the second of two sources; that of the first is minus this.
    """

    saliency: str
    width: float
    kappa: float
    beta: float
    edge: float
    preference: float

    def __post_init__(self) -> None:
        one_of("saliency", self.saliency, SALIENCIES)

    def salient(self, s: Tensor, middle: Tensor | None) -> Tensor:
        """The saliency of one source, whose median is `middle`."""
        if self.saliency == "exposed":
            return -(s**2) / 2
        if self.saliency == "sharp":
            return energy_of(s)
        assert middle is not None
        return (s - middle).abs() + self.beta * s


class Levels:
    """The responsibilities r of sources (B, 1, H, W), and the level u that follows from them.

    What depends on the whole picture is computed once; the rest is computed for a band of rows.

    Args:
        medians: those of the sources, needed only for the saliency "stands out".
    """

    def __init__(self, sources: Sequence[Tensor], medians: Sequence[Tensor], how: Choosing) -> None:
        self.how = how
        self._sources, self._medians = sources, medians
        self._shape = sources[0].shape
        # The width of R in pixels, for an R that is too narrow for the coarse grid.
        self._narrow = max(how.width * min(self._shape[-2:]), 0.3)
        self._regions = self._on_grid() if how.width * GRID >= 1 else None

    def of(self, sources: Sequence[Tensor]) -> Tensor:
        """u for sources (B, 1, H, W), which may differ from those that r was found from."""

        def level(band: Band) -> Tensor:
            s = torch.cat([band.around(s) for s in sources], dim=1)
            return (self.responsibilities(band) * s).sum(dim=1, keepdim=True)

        return in_bands(level, sources[0], self.reach, len(sources))

    @property
    def reach(self) -> int:
        """How many rows away r of a pixel depends on the sources; 0 if the grid has all of it."""
        return 0 if self._regions is not None else reach_of(self._narrow) + AROUND

    def responsibilities(self, band: Band = WHOLE) -> Tensor:
        """r (B, K, H, W), for the wide rows of a band."""
        R = self.regions(band)
        if self.how.saliency == "sharp":
            R = R.clamp(min=TINY).log()
        return shares_of(preferring(self.how.kappa * R, self.how.kappa * self.how.preference))

    def regions(self, band: Band = WHOLE) -> Tensor:
        """R(saliency_k), (B, K, H, W), for the wide rows of a band."""
        if self._regions is not None:
            return from_grid(self._regions, self._shape, band)
        salient = self._salient(band.around(s) for s in self._sources)
        return torch.cat([smooth(x, self._narrow) for x in salient], dim=1)

    def _on_grid(self) -> Tensor:
        salient = torch.cat([on_grid(x) for x in self._salient(self._sources)], dim=1)
        sources = torch.cat([on_grid(s) for s in self._sources], dim=1)
        return smoothed_on_grid(salient, sources, self.how.width, self.how.edge)

    def _salient(self, rows: Iterable[Tensor]) -> Iterator[Tensor]:
        return map(self.how.salient, rows, self._medians or repeat(None))


def medians(sources: Sequence[Tensor]) -> list[Tensor]:
    """The median of each image of each source, (B, 1, 1, 1)."""
    return [median(s.flatten(2))[..., None] for s in sources]
