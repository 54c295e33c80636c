"""The uncertainty of a result, pixel by pixel."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from ddfm.arguments import by_annotation
from ddfm.errors import InputError
from ddfm.imaging.writing import write_drawing, write_planes
from ddfm.trust.drawing import DEEP, drawn_uncertainty

__all__ = ["Deviation", "Uncertainty"]

ROWS = 64  # rows of all samples that are processed at once, to save memory


@dataclass(frozen=True, eq=False)
class Deviation:
    """The maps that a file holds of an uncertainty: much smaller than its samples.

    Attributes:
        result: (H, W), the luminance of the result.
        std: (H, W), the standard deviation of the samples.
        count: the number of samples.
    """

    result: np.ndarray = field(repr=False)
    std: np.ndarray = field(repr=False)
    count: int

    def interval(self, share: float) -> tuple[np.ndarray, np.ndarray]:
        """As `Uncertainty.interval`."""
        from scipy.special import stdtrit

        if not 0 < share < 1:
            raise InputError(f"the share of an interval must be between 0 and 1, not {share}")
        t = float(stdtrit(self.count - 1, (1 + share) / 2))
        reach = t * np.sqrt(1 + 1 / self.count) * self.std
        return (self.result - reach).clip(0, 1), (self.result + reach).clip(0, 1)

    def save(self, path: str | os.PathLike[str]) -> None:
        """As `Uncertainty.save`."""
        if Path(path).suffix.lower() in DEEP:
            low, high = self.interval(0.9)
            pages = (("standard deviation", self.std), ("90 % from", low), ("90 % to", high))
            write_planes(path, [(name, plane.astype(np.float32)) for name, plane in pages])
        else:
            write_drawing(path, drawn_uncertainty(255 * self.std))


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """How uncertain a result is, given the noise of its sources and the prior.

    Levels are luminance from 0 to 1.

    Attributes:
        result: (H, W), the luminance of the result.
        samples: (N, H, W), alternative results that are equally likely.
    """

    result: np.ndarray = field(repr=False)
    samples: np.ndarray = field(repr=False)

    @cached_property
    def std(self) -> np.ndarray:
        """The standard deviation of the samples, (H, W)."""
        bands = [self.samples[:, top : top + ROWS] for top in range(0, self.samples.shape[1], ROWS)]
        return np.concatenate([band.std(axis=0, ddof=1) for band in bands])

    @property
    def deviation(self) -> Deviation:
        """The maps to write, which do not keep the samples in memory."""
        return Deviation(self.result, self.std, len(self.samples))

    @by_annotation
    def quantile(self, share: float) -> np.ndarray:
        """The level below which a share of the samples lies, (H, W)."""
        if not 0 <= share <= 1:
            raise InputError(f"the share of a quantile must be from 0 to 1, not {share}")
        return np.quantile(self.samples, share, axis=0).astype(np.float32)

    @by_annotation
    def interval(self, share: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """The lower and upper limits, (H, W) each, that a share of the pixels lies within.

        They are the result plus and minus the deviation of the samples times the quantile of
        Student's t distribution for their number.
        """
        return self.deviation.interval(share)

    @by_annotation
    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the standard deviation: a picture with a scale, or, as .tif, numbers.

        The picture is in grey levels of 255. The TIFF has three pages in floating point, in levels
        from 0 to 1: the deviation, and the lower and upper limits of the 90 % interval.
        """
        self.deviation.save(path)
