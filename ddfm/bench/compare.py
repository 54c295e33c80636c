"""Tests whether one method is better than another, or only by chance.

Two methods are compared pair by pair, with Wilcoxon's signed-rank test (Wilcoxon, Individual
comparisons by ranking methods, Biometrics Bulletin 1, 1945). As many tests find differences by
chance alone, the p-values of one metric on one set are corrected together (Holm, A simple
sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import median

import numpy as np
from scipy.stats import rankdata, wilcoxon

from ddfm.bench.datasets import Dataset
from ddfm.bench.results import Bench
from ddfm.metrics import COUNTS
from ddfm.metrics.tables import column

__all__ = ["Comparison", "compare", "holm"]


@dataclass(frozen=True)
class Comparison:
    """A comparison of two methods in one metric on one set.

    Attributes:
        pairs: the number of pairs that both have fused with a finite value of the metric.
        difference: the median over pairs of the value of `a` minus that of `b`.
        sign: 1 if larger values of the metric are better, -1 if smaller ones are.
        lead: the sum of the signed ranks of the differences: above 0 if `a` has larger values.
        p: the probability of a difference at least this clear between equally good methods.
        corrected: the same after Holm's correction.
    """

    dataset: str
    metric: str
    a: str
    b: str
    pairs: int
    difference: float
    sign: int
    lead: float
    p: float
    corrected: float = math.nan

    @property
    def better(self) -> str:
        """The method that the test favours, or "" if it favours none.

        The median may be 0, if most pairs are equal, or even have the other sign.
        """
        if not self.lead:
            return ""
        return self.a if self.sign * self.lead > 0 else self.b


def compare(result: Bench) -> list[Comparison]:
    """Compare every two methods, in every metric, on every set."""
    found = []
    for dataset in result.datasets:
        for metric in result.metrics(dataset):
            if metric not in COUNTS:
                found += _compared(result, dataset, metric)
    return found


def holm(values: Sequence[float]) -> list[float]:
    """Holm's correction of p-values.

    The k-th smallest of n is multiplied by n - k + 1, and is never less than the one before it.
    """
    corrected, least = [0.0] * len(values), 0.0
    for k, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        least = max(least, min(1.0, values[index] * (len(values) - k)))
        corrected[index] = least
    return corrected


def _compared(result: Bench, dataset: Dataset, metric: str) -> list[Comparison]:
    """Every two methods in one metric on one set, with p-values corrected together."""
    values = {
        method.name: {
            row.pair.name: row.metrics[metric]
            for row in result.of(method, dataset)
            if math.isfinite(row.metrics.get(metric, math.nan))
        }
        for method in result.methods
    }
    sign = column(metric, result.own.get(metric)).better
    some = []
    for a, b in combinations(values, 2):
        differences = [values[a][pair] - values[b][pair] for pair in values[a] if pair in values[b]]
        if differences:
            some.append(
                Comparison(dataset.name, metric, a, b, len(differences), median(differences),
                           sign, *_signed_rank_test(differences))
            )  # fmt: skip
    corrected = holm([one.p for one in some])
    return [replace(one, corrected=p) for one, p in zip(some, corrected, strict=True)]


def _signed_rank_test(differences: Sequence[float]) -> tuple[float, float]:
    """The sum of the signed ranks, and the p-value. Pairs without a difference have no rank."""
    # With zeros among them, scipy would approximate the p-value, even of few differences.
    some = np.array([difference for difference in differences if difference])
    if not some.size:
        return 0.0, 1.0
    return float(rankdata(np.abs(some)) @ np.sign(some)), float(wilcoxon(some).pvalue)
