"""Means of metrics over many pictures, or over the targets and lights in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real

from ddfm.arguments import by_annotation
from ddfm.errors import InputError, short
from ddfm.metrics.contrast import COUNTED_BY, COUNTS

__all__ = ["for_json", "pooled"]


@by_annotation
def pooled(pictures: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric over the pictures that have it.

    Shares of things (`COUNTED_BY`) become means over all things: a picture's share is weighted by
    the number of things in it. Numbers of things are summed.
    """
    each = list(pictures)
    for values in each:
        if not isinstance(values, Mapping) or not all(
            isinstance(name, str) and isinstance(value, Real) for name, value in values.items()
        ):
            raise InputError(
                f"the metrics of a picture must be names with numbers, not {short(values)}"
            )
        for share, number in COUNTED_BY.items():
            if share in values and number not in values:
                raise InputError(f"{share} is a mean over {number}; give their number, {number}")
    names = dict.fromkeys(name for values in each for name in values)
    return {name: _pooled(name, [values for values in each if name in values]) for name in names}


def _pooled(name: str, each: Sequence[Mapping[str, float]]) -> float:
    """The mean, or the sum, of one metric over pictures that all have it."""
    weights = [values[COUNTED_BY[name]] if name in COUNTED_BY else 1.0 for values in each]
    weighted = [(w, values[name]) for w, values in zip(weights, each, strict=True) if w]
    total = sum(w * value for w, value in weighted)
    divisor = 1.0 if name in COUNTS else sum(w for w, _ in weighted)
    return total / divisor if divisor else math.nan


def for_json(values: Mapping[str, float]) -> dict[str, float | None]:
    """The values with None for infinity (of PSNR) and NaN (means of nothing), which JSON lacks."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
