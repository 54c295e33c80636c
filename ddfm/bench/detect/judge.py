"""Rates detections in the results of every method of a benchmark, and in each source alone.

detections.csv    AP50 and recall by detector, group, class and method, with intervals
detections.md     AP50 in tables
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddfm.bench.datasets import Dataset
from ddfm.bench.detect.boxes import Annotated, Box, corners
from ddfm.bench.detect.detectors import Detector
from ddfm.bench.detect.scores import (
    Judged,
    average_precision,
    draws,
    interval,
    judged,
    recall,
)
from ddfm.bench.results import Bench
from ddfm.errors import InputError, short, warn
from ddfm.imaging.picture import Picture, eight_bit, in_rgb
from ddfm.imaging.reading import read_image
from ddfm.imaging.sources import read_sources
from ddfm.metrics.tables import as_csv, as_grid
from ddfm.storage.noted import write_noted

__all__ = ["Score", "check_boxes", "detect"]

EVERYTHING, MEAN = "all", "mean"
FEW = 10  # classes with fewer boxes in all depend on chance, and are not in the mean


@dataclass(frozen=True)
class Score:
    """The scores of one method for one class, with intervals of 95 %.

    Attributes:
        kind: the class, or "mean", of the classes that are not rare.
        boxes: the number of annotated boxes.
        difference: the AP50 minus that of the first method.
    """

    detector: str
    group: str
    kind: str
    method: str
    boxes: int
    ap50: float
    ap50_interval: tuple[float, float]
    recall: float
    difference: float
    difference_interval: tuple[float, float]


def check_boxes(annotated: Annotated, datasets: Sequence[Dataset]) -> None:
    """Raise if no box belongs to any pair."""
    if not _annotated_pairs(annotated, datasets):
        name = next(iter(annotated.boxes))
        raise InputError(f"no box belongs to a pair of these sets; the first box is for {name}")


def detect(
    result: Bench, annotated: Annotated, detectors: Mapping[str, Detector], out: Path
) -> list[Score]:
    """Runs the detectors on all results and sources of annotated pairs; writes both files."""
    pairs = _annotated_pairs(annotated, result.datasets)
    wanted = {box.kind for _, name in pairs for box in annotated.boxes[name]}
    _name_incomplete(result, pairs)
    scores = []
    for name, detector in detectors.items():
        found = _found(result, pairs, detector)
        _name_classes_never_found(name, found, wanted)
        for group, some in _groups(annotated, pairs).items():
            scores += _scores(name, group, some, found, annotated, _common(annotated, pairs))
    _write(scores, out)
    return scores


Pair = tuple[str, str]  # the names of a set and of a pair in it


def _annotated_pairs(annotated: Annotated, datasets: Sequence[Dataset]) -> list[Pair]:
    return [(d.name, p.name) for d in datasets for p in d.pairs if p.name in annotated.boxes]


def _groups(annotated: Annotated, pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    groups = {EVERYTHING: list(pairs)}
    for pair in pairs:
        if pair[1] in annotated.groups:
            groups.setdefault(annotated.groups[pair[1]], []).append(pair)
    return groups


def _common(annotated: Annotated, pairs: Sequence[Pair]) -> set[str]:
    """The classes that the mean is taken over: those that are not rare, or else all."""
    counts = Counter(box.kind for pair in pairs for box in annotated.boxes[pair[1]])
    return {kind for kind, count in counts.items() if count >= FEW} or set(counts)


def _found(
    result: Bench, pairs: Sequence[Pair], detector: Detector
) -> dict[str, dict[Pair, list[Box]]]:
    """Detections by method or source, for those that have a result of every pair."""
    wanted = set(pairs)
    found: dict[str, dict[Pair, list[Box]]] = {m.name: {} for m in result.methods}
    for row in result.rows:
        pair = row.dataset, row.pair.name
        if pair in wanted:
            found[row.method][pair] = _boxes(detector, read_image(row.file))
    for dataset in result.datasets:
        for own in dataset.pairs:
            pair = dataset.name, own.name
            if pair not in wanted:
                continue
            sources = read_sources(own.files, result.resize_of(dataset.name))
            for folder, source in zip(dataset.subfolders, sources, strict=True):
                found.setdefault(f"{folder} alone", {})[pair] = _boxes(detector, source)
    return {name: boxes for name, boxes in found.items() if set(boxes) == wanted}


def _name_incomplete(result: Bench, pairs: Sequence[Pair]) -> None:
    """Warns of methods that are left out because they have no result of some pairs."""
    for method in result.methods:
        own = {(row.dataset, row.pair.name) for row in result.rows if row.method == method.name}
        if missing := set(pairs) - own:
            word = f"{method.name} is not among the detections: it has no result for "
            word += f"{len(missing)} of {len(pairs)} pairs with boxes"
            warn(word)


def _name_classes_never_found(
    detector: str, found: Mapping[str, Mapping[Pair, list[Box]]], wanted: set[str]
) -> None:
    """Warns of annotated classes that a detector may not know, or call by another name."""
    seen = {box.kind for of_pairs in found.values() for some in of_pairs.values() for box in some}
    for kind in sorted(wanted - seen):
        others = ", ".join(sorted(seen)) or "nothing"
        word = f"{detector} found no {kind} in any image, which counts as 0; it found {others}"
        warn(word)


def _boxes(detector: Detector, picture: Picture) -> list[Box]:
    found = detector(np.ascontiguousarray(in_rgb(eight_bit(picture))))
    if not isinstance(found, Iterable):
        raise _no_detection(found)
    return [_box(each) for each in found]


def _box(found: Any) -> Box:
    """One detection, as a function of the user returns it."""
    try:
        kind, score, places = found
        box = Box(str(kind), corners(places), float(score))
    except (TypeError, ValueError):
        raise _no_detection(found) from None
    if not np.isfinite([box.score, *box.corners]).all():
        raise _no_detection(found)
    return box


def _no_detection(found: Any) -> InputError:
    return InputError(
        "a detector must return (class, score, (x0, y0, x1, y1)) for each object, of finite "
        f"numbers, not {short(found)}"
    )


def _scores(
    detector: str,
    group: str,
    pairs: Sequence[Pair],
    found: Mapping[str, Mapping[Pair, list[Box]]],
    annotated: Annotated,
    common: set[str],
) -> list[Score]:
    """The scores of every method for every class, and for their mean."""
    there = {pair: annotated.boxes[pair[1]] for pair in pairs}
    present = {box.kind for boxes in there.values() for box in boxes}
    kinds = [kind for kind in annotated.kinds if kind in present]
    drawn = draws(len(pairs))
    first: dict[str, _Rates] = {}
    scores = []
    for method, boxes in found.items():
        of_kinds = {k: [judged(boxes[pair], there[pair], k) for pair in pairs] for k in kinds}
        rates = {k: _Rates.of(pictures, drawn) for k, pictures in of_kinds.items()}
        rates[MEAN] = _mean([rates[k] for k in kinds if k in common] or [*rates.values()])
        first = first or rates
        for kind, own in rates.items():
            differences = [a - b for a, b in zip(own.drawn, first[kind].drawn, strict=True)]
            scores.append(
                Score(detector, group, kind, method, own.boxes, own.ap50, interval(own.drawn),
                      own.recall, own.ap50 - first[kind].ap50, interval(differences))
            )  # fmt: skip
    return scores


@dataclass(frozen=True)
class _Rates:
    """How well a class is detected: AP50, the same of pairs that are drawn again, and recall."""

    ap50: float
    drawn: list[float]
    recall: float
    boxes: int

    @classmethod
    def of(cls, pictures: Sequence[Judged], drawn: np.ndarray) -> _Rates:
        again = [average_precision([pictures[k] for k in draw]) for draw in drawn]
        boxes = sum(picture.boxes for picture in pictures)
        return cls(average_precision(pictures), again, recall(pictures), boxes)


def _mean(rates: Sequence[_Rates]) -> _Rates:
    """The mean over classes; draws that lack one of them become NaN."""
    return _Rates(
        float(np.mean([one.ap50 for one in rates])),
        np.mean([one.drawn for one in rates], axis=0).tolist(),
        float(np.mean([one.recall for one in rates])),
        sum(one.boxes for one in rates),
    )


def _write(scores: Sequence[Score], out: Path) -> None:
    head = ["detector", "group", "class", "method", "boxes", "AP50", "AP50 low", "AP50 high"]
    head += ["recall", "difference", "difference low", "difference high"]
    lines = [
        [s.detector, s.group, s.kind, s.method, s.boxes, s.ap50, *s.ap50_interval, s.recall,
         s.difference, *s.difference_interval]
        for s in scores
    ]  # fmt: skip
    for name, text in (("detections.csv", as_csv(head, lines)), ("detections.md", _tables(scores))):
        write_noted(out / name, text)


def _tables(scores: Sequence[Score]) -> str:
    """A table for each detector and group.

    AP50 in percent, with its interval, and the difference of the mean from the first method.
    """
    tables = []
    for detector, group in dict.fromkeys((s.detector, s.group) for s in scores):
        some = [s for s in scores if (s.detector, s.group) == (detector, group)]
        kinds = {s.kind: s.boxes for s in some}
        cells = [["method", *(f"{k} ({n})" for k, n in kinds.items()), "mean minus first method"]]
        for method in dict.fromkeys(s.method for s in some):
            own = [s for s in some if s.method == method]
            cells.append([method, *(_percent(s.ap50, s.ap50_interval) for s in own),
                          _percent(own[-1].difference, own[-1].difference_interval)])  # fmt: skip
        tables.append(f"{detector}, {group}: AP50 in %, with intervals of 95 %\n\n{as_grid(cells)}")
    return "\n".join(tables)


def _percent(value: float, ends: tuple[float, float]) -> str:
    if math.isnan(value):
        return "–"
    return f"{100 * value:.1f} ({100 * ends[0]:.1f} to {100 * ends[1]:.1f})"
