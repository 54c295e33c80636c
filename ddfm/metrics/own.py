"""Metrics of the caller's own, or of another package."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from numbers import Real
from typing import Any

from ddfm.errors import InputError, one_line, short
from ddfm.extensions import find_part
from ddfm.metrics.grey import Grey

__all__ = ["Own", "own_metric"]


@dataclass(frozen=True)
class Own:
    """A metric `(fused, *sources) -> float` of grey images, float64 from 0 to 255.

    Attributes:
        name: the name of its column.
        function: what computes it; its attribute `lower_is_better`, if any, tells the direction.
    """

    name: str
    function: Callable[..., Any]

    @property
    def better(self) -> int:
        """1 if larger values are better, -1 if smaller ones are."""
        return -1 if getattr(self.function, "lower_is_better", False) else 1

    def __call__(self, fused: Grey, *sources: Grey) -> float:
        """Its value; NaN if it has none for these images."""
        images = [grey.pixels.copy() for grey in (fused, *sources)]  # it may write into them
        try:
            value = self.function(*images)
            is_a_number = isinstance(value, Real) or getattr(value, "shape", None) == ()
            number = float(value) if is_a_number else None
        except Exception as error:  # it may be anything
            why = f"{type(error).__name__}: {one_line(error)}"
            raise InputError(f"the metric {self.name} failed: {why}") from error
        if number is None:
            raise InputError(f"the metric {self.name} must return a number, not {short(value)}")
        return number


def own_metric(metric: str | Callable[..., Any], ours: Collection[str]) -> Own:
    """A metric by the name that another package gives it, or a function of the caller's.

    It must not have the name of one of `ours`.
    """
    if isinstance(metric, Own):
        return metric
    if isinstance(metric, str):
        name, function = metric, find_part("metric", metric, dict.fromkeys(ours))
    else:
        name, function = str(getattr(metric, "__name__", "")), metric
    if not callable(function):
        raise InputError(f"the metric {short(metric)} is no function of (fused, *sources)")
    if not re.fullmatch(r"\w[\w.+-]*", name):  # it names files, and columns
        raise InputError(
            f"the metric {short(metric)} needs a name of letters, digits and - _ . +, which is "
            "the function's __name__, or that of its entry point"
        )
    if name.casefold() in {known.casefold() for known in ours}:
        raise InputError(f"the metric {name} has the name of one of ddfm's own; give it another")
    return Own(name, function)
