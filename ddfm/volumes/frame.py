"""Continues volumes beyond their borders, so that they have no influence there.

Outside its frame, a volume is given the mean of the others, and so agrees with them. Close to the
frame, the offset between itself and the others at the frame is added, which fades over a few
voxels; across thick slices, over as many millimetres as within them. Without it the frame would
show as a seam, where the result steps from the levels of all volumes to those of the others alone.
No detail is invented: the offset has none finer than the distance to the frame, and at most doubles
the level of the others, so that air stays black beside bone that the frame cuts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

__all__ = ["continued"]

# Sigmas of the Gaussian means that make up the offset, in sides of a voxel, the shortest of three.
WIDTHS = (1.0, 2.0, 4.0, 8.0)
FADING = 1e-3  # weight of a zero offset, so that the offset fades away from the frame


def continued(
    values: Sequence[np.ndarray],
    insides: Sequence[np.ndarray | None],
    spacing: Sequence[float] | np.ndarray = (1.0, 1.0, 1.0),
) -> list[np.ndarray]:
    """The volumes, each continued beyond its frame by the others.

    Args:
        values: the volumes' values from 0 to 1 on one grid, (I, J, K), or (I, J, K, 3) in colour.
        insides: for each volume, True where it is known, (I, J, K); None if everywhere.
        spacing: millimetres between voxels along each index.
    """
    if all(inside is None for inside in insides):
        return list(values)
    greys = [_grey(one) for one in values]
    side = np.min(spacing) / np.asarray(spacing, float)  # the shortest, in voxels of each index
    done = []
    for k, (own, inside) in enumerate(zip(values, insides, strict=True)):
        if inside is not None:
            others = [j for j in range(len(values)) if j != k]
            mean, count = _mean([greys[j] for j in others], [insides[j] for j in others])
            outside = ~inside & (count > 0)
            known = inside & (count > 0)
            box = _around(outside, known, side)
            offset = _offset((greys[k] - mean)[box], known[box], side)
            # At most doubled, so that there is no glow where the others are dark.
            around = np.clip(mean, 0, 1)
            around[box] = np.clip(mean[box] + np.minimum(offset, mean[box]), 0, 1)
            if own.ndim == 4:
                outside, around = outside[..., None], around[..., None]
            own = np.where(outside, around, own)
        done.append(own)
    return done


def _mean(
    values: Sequence[np.ndarray], insides: Sequence[np.ndarray | None]
) -> tuple[np.ndarray, np.ndarray]:
    """The mean at each voxel of the values known there, and their number."""
    total, count = np.zeros_like(values[0]), np.zeros(values[0].shape, np.uint8)
    for one, inside in zip(values, insides, strict=True):
        known = np.ones(one.shape, bool) if inside is None else inside
        total += one * known
        count += known
    return total / np.maximum(count, 1), count


def _around(outside: np.ndarray, known: np.ndarray, side: np.ndarray) -> tuple[slice, ...]:
    """The box beyond which no offset is needed, or all are 0: the means reach only so far."""
    box = []
    for axis, reach in enumerate(np.ceil(4 * max(WIDTHS) * side).astype(int) + 1):
        others = tuple({0, 1, 2} - {axis})
        needed, given = (np.flatnonzero(mask.any(axis=others)) for mask in (outside, known))
        if not (needed.size and given.size):
            return (slice(0),) * 3
        first = max(needed[0], given[0] - reach) - reach
        last = min(needed[-1], given[-1] + reach) + reach
        box.append(slice(max(first, 0), last + 1))
    return tuple(box)


def _offset(difference: np.ndarray, known: np.ndarray, side: np.ndarray) -> np.ndarray:
    """A difference continued from where it is known, with more weight to what is near."""
    value, total = np.zeros_like(difference), np.full_like(difference, FADING)
    weight, weighed = known.astype(np.float32), difference * known
    for sigma in WIDTHS:
        share = sigma**-3
        value += share * ndimage.gaussian_filter(weighed, sigma * side, mode="nearest")
        total += share * ndimage.gaussian_filter(weight, sigma * side, mode="nearest")
    return value / total


def _grey(values: np.ndarray) -> np.ndarray:
    return values.mean(3) if values.ndim == 4 else values
