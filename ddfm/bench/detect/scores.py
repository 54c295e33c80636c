"""How good a detector's finds are: AP50 and recall, and how sure that is.

A find is right if it overlaps a box of its kind by half (intersection over union) that no better
find has taken already. AP50 is the area below precision as a function of recall, with precision
made monotone, over all finds of a set of pictures in the order of their scores (Everingham et al.,
The Pascal visual object classes challenge: a retrospective, IJCV 111, 2015). Recall is the share
of boxes that were found with a score of `SURE` at least.

Intervals are of a bootstrap over pictures: the set is drawn again and again with replacement, the
same pictures for every method, so that differences between methods have intervals of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ddfm.bench.detect.boxes import Array, Box, overlaps

__all__ = ["Judged", "average_precision", "draws", "interval", "judged", "recall"]

HALF = 0.5
SURE = 0.25
DRAWS, SEED = 1000, 3407


class Judged(NamedTuple):
    """The finds of one kind in one picture: their scores, whether they are right; and all boxes."""

    scores: Array
    right: Array
    boxes: int


def judged(found: Sequence[Box], there: Sequence[Box], kind: str) -> Judged:
    """Compares the finds of one kind with the boxes, the best find first."""
    finds = sorted((box for box in found if box.kind == kind), key=lambda box: -box.score)
    boxes = [box for box in there if box.kind == kind]
    shared = overlaps(finds, boxes)
    right = np.zeros(len(finds), bool)
    for k in range(len(finds) if boxes else 0):
        best = int(shared[k].argmax())
        if shared[k, best] >= HALF:
            right[k] = True
            shared[:, best] = -1  # taken
    return Judged(np.array([box.score for box in finds]), right, len(boxes))


def average_precision(pictures: Sequence[Judged]) -> float:
    """AP50 of one kind, from 0 to 1; not a number where there is nothing to find."""
    boxes = sum(picture.boxes for picture in pictures)
    if not boxes:
        return float("nan")
    scores = np.concatenate([picture.scores for picture in pictures])
    right = np.concatenate([picture.right for picture in pictures])
    right = right[np.argsort(-scores, kind="stable")]
    precision = right.cumsum() / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[right].sum() / boxes)


def recall(pictures: Sequence[Judged]) -> float:
    """The share of boxes that were found; not a number where there is nothing to find."""
    boxes = sum(picture.boxes for picture in pictures)
    found = sum(int(picture.right[picture.scores >= SURE].sum()) for picture in pictures)
    return found / boxes if boxes else float("nan")


def draws(pictures: int) -> Array:
    """`DRAWS` rows of as many pictures, the same in every run."""
    return np.random.default_rng(SEED).integers(0, pictures, (DRAWS, pictures))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Between which 95 % of the draws' values lie; draws with nothing to find do not count."""
    known = np.asarray(values)[~np.isnan(values)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)
