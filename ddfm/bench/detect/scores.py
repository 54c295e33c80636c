"""Scores of detections: AP50 and recall, with their intervals.

A detection is right if its intersection over union with a box of its class is at least `HALF`, and
no better detection has taken that box. AP50 is the area under precision as a function of recall,
with precision made monotone, over all detections in a set of images in the order of their scores
(Everingham et al., The Pascal visual object classes challenge: a retrospective, IJCV 111, 2015).
Recall is the share of boxes that were detected with a score of at least `SURE`.

Intervals are from a bootstrap over images: the set is drawn repeatedly with replacement, the same
images for every method, so that differences between methods have intervals of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ddfm.bench.detect.boxes import Array, Box, overlaps

__all__ = ["Judged", "average_precision", "draws", "interval", "judged", "recall"]

HALF = 0.5  # least intersection over union of a detection with its box
SURE = 0.25  # least score of a detection that counts for recall
DRAWS, SEED = 1000, 3407  # of the bootstrap


class Judged(NamedTuple):
    """Detections of one class in one image: scores, whether they are right; number of boxes."""

    scores: Array
    right: Array
    boxes: int


def judged(found: Sequence[Box], there: Sequence[Box], kind: str) -> Judged:
    """Compares the detections of one class with the boxes, in the order of their scores."""
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
    """The AP50 of one class, from 0 to 1; NaN if there are no boxes."""
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
    """The share of boxes that were detected; NaN if there are no boxes."""
    boxes = sum(picture.boxes for picture in pictures)
    found = sum(int(picture.right[picture.scores >= SURE].sum()) for picture in pictures)
    return found / boxes if boxes else float("nan")


def draws(pictures: int) -> Array:
    """`DRAWS` rows with the indices of as many images, the same in every run."""
    return np.random.default_rng(SEED).integers(0, pictures, (DRAWS, pictures))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The interval that holds 95 % of the values of the draws; NaN values do not count."""
    known = np.asarray(values)[~np.isnan(values)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)
