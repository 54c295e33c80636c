"""The metrics of a folder of fused images, for each pair, and their means."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ddfm.errors import DdfmError, InputError
from ddfm.imaging.pairing import find_pairs, result_of, results_in
from ddfm.metrics import evaluate, found_metrics, pooled
from ddfm.metrics.own import Own
from ddfm.metrics.tables import Table, column

__all__ = ["FolderMetrics", "evaluate_folders"]


@dataclass
class FolderMetrics:
    """The metrics of a folder.

    Attributes:
        pairs: the metrics of each pair, by the pair's name.
        problems: a line for each pair that could not be measured.
        leftovers: a line for each source that is in no pair.
        own: what computes the metrics that are not ddfm's.
    """

    pairs: dict[str, dict[str, float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    own: Mapping[str, Own | None] = field(default_factory=dict)

    @property
    def mean(self) -> dict[str, float]:
        """The mean of each metric over pairs; of shares of targets and lights, over these."""
        return pooled(self.pairs.values())

    def lines(self) -> tuple[list[str], list[list[Any]]]:
        """The headings of a CSV file, and a line for each pair."""
        names = self._names()
        return ["pair", *names], [
            [pair, *(values[name] for name in names)] for pair, values in self.pairs.items()
        ]

    def table(self, with_mean: bool = True) -> Table:
        """A table with a row for each pair, and one for their mean."""
        rows = [*self.pairs.items(), *([("mean", self.mean)] if with_mean else [])]
        columns = [column(name, self.own.get(name)) for name in self._names()]
        return Table("Metrics of fused images", "pair", columns, rows, ranked=False)

    def _names(self) -> list[str]:
        return list(next(iter(self.pairs.values())))


def evaluate_folders(
    fused: str | os.PathLike[str],
    *sources: str | os.PathLike[str],
    pattern: str | None = None,
    ssim_range: float = 2.0,
    metrics: Iterable[str | Callable[..., Any]] | None = None,
    task: str | None = None,
) -> FolderMetrics:
    """Metrics of the images in `fused`, whose stems are the names of pairs in the source folders.

    Args:
        fused: the folder of fused images.
        sources: two folders, or more if a scene has more than two images.
        pattern: as for `ddfm.imaging.pairing.find_pairs`.
        ssim_range, metrics, task: as for `evaluate`.
    """
    found = found_metrics(metrics)
    wanted = None if metrics is None else [own or name for name, own in found.items()]
    if len(sources) < 2:
        raise InputError("a folder of results needs at least two folders of sources")
    results = results_in(fused)
    pairing = find_pairs(*sources, pattern=pattern)
    measured = FolderMetrics(leftovers=pairing.leftovers(), own=found)
    for pair in pairing.pairs:
        try:
            result = result_of(pair.name, results, fused)
            measured.pairs[pair.name] = evaluate(
                result, *pair.files, ssim_range=ssim_range, metrics=wanted, task=task
            )
        except DdfmError as error:
            measured.problems.append(f"{pair.name}: {error}")
    if not measured.pairs:
        reasons = measured.problems + measured.leftovers
        raise InputError(next(iter(reasons), f"no pairs in {' and '.join(map(str, sources))}"))
    return measured
