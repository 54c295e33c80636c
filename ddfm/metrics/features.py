"""Feature mutual information: how much the fused image's small windows tell of the sources'.

In each 3x3 window the feature values, less their minimum and divided by their sum, are taken for
the probabilities of the nine positions: p in the source, q in the fused image, with cumulative
sums P and Q and entropies H. The joint distribution is not known, so FMI takes a mixture

    J = theta M + (1 - theta) p q^T,    theta = corr(p, q) / corr_M,

of independence and of the most dependent distribution M with these marginals, min(P_i, Q_j) as a
cumulative sum (Frechet's bound), where corr_M is the correlation of the positions under M. If
corr(p, q) is negative, M is the most opposed one: the same with the positions of q reversed.
The window's value is 2 (H(p) + H(q) - H(J)) / (H(p) + H(q)).

M has at most 17 of its 81 entries above zero: the overlaps of the intervals [P_i-1, P_i] and
[Q_j-1, Q_j]. So the entropy of J needs only these, because with phi(x) = x log |x|

    -H(J) = sum phi(J) = phi(1 - theta) - (1 - theta) (H(p) + H(q))
            + sum over M > 0 of phi(J) - phi(J - theta M).

The overlaps come from merging the two sorted sequences P and Q, for many windows at a time. All
this is done in single precision, with P and Q as 30-bit fractions: a window is off by some 1e-7,
and the mean of many windows by 1e-8.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ddfm.errors import DdfmError, unknown
from ddfm.metrics.grey import Array, Grey, ImageLike, pair_up

__all__ = ["fmi"]

SIDE = 3
CELLS = SIDE * SIDE
INNER = CELLS - 1  # cumulative sums short of the last, which is 1
# Windows that are worked on at a time: enough to outweigh the calls, few enough for the cache.
CHUNK = 4096
ONE = np.int32(2**30)
TINY = np.float32(1e-30)

POSITIONS = np.arange(CELLS, dtype=np.float32)
MOMENTS = np.stack([POSITIONS, POSITIONS**2])
CUMULATIVE = np.tril(np.ones((INNER, CELLS), np.float32))
# The sum of x_j - x_i over all pairs of a rising sequence is its product with these weights.
PAIR_WEIGHTS = 2.0 * np.arange(2 * INNER) - (2 * INNER - 1)


class Windows(NamedTuple):
    """What is known of n windows of one image."""

    centred: Array  # (9, n) probabilities less 1/9
    energy: Array  # sum of their squares
    sums: Array  # (8, n) cumulative probabilities, in units of 1 / ONE
    entropy: Array
    mean: Array  # of the position
    deviation: Array  # of the position
    spread: Array  # sum of the differences of all pairs of cumulative sums


def fmi(fused: ImageLike, *sources: ImageLike, feature: str = "pixel") -> float:
    """Feature mutual information, 0 to 1, the mean over windows and sources (see the module).

    `feature` is "pixel" or "gradient" (the horizontal central difference). Windows that are equal
    count as 1. Sources: Haghighat, Aghagolzadeh and Seyedarabi, A non-reference image fusion
    metric based on mutual information of image features, Comput. Electr. Eng. 37, 2011; the
    windows are those of Haghighat and Razian, Fast-FMI, AICT 2014.
    """
    if feature not in FEATURES:
        raise unknown("feature", feature, FEATURES)
    f, greys = pair_up(fused, *sources)
    if min(f.pixels.shape) < SIDE:
        raise DdfmError(f"FMI needs images of at least {SIDE}x{SIDE} pixels")
    q_map, *p_maps = (FEATURES[feature](g) for g in (f, *greys))
    total, count = 0.0, 0
    for rows in _strips(*q_map.shape):
        q = _windows(q_map[rows])
        for p_map in p_maps:
            value = _normalised_information(_windows(p_map[rows]), q)
            value[_equal_windows(p_map[rows], q_map[rows])] = 1
            total, count = total + float(value.sum()), count + value.size
    return total / count


def _pixels(g: Grey) -> Array:
    return g.pixels


def _gradient(g: Grey) -> Array:
    return np.gradient(g.pixels, axis=1)


FEATURES = {"pixel": _pixels, "gradient": _gradient}


def _strips(height: int, width: int) -> Iterator[slice]:
    """Rows of the image, cut so that each strip holds about CHUNK windows and none is lost."""
    step = max(1, CHUNK // width)
    for top in range(0, height - SIDE + 1, step):
        yield slice(top, min(top + step, height - SIDE + 1) + SIDE - 1)


def _equal_windows(a: Array, b: Array) -> Array:
    equal = a == b
    rows = equal[:-2] & equal[1:-1] & equal[2:]
    return (rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]).ravel()


def _windows(image: Array) -> Windows:
    height, width = (n - SIDE + 1 for n in image.shape)
    stack = np.empty((CELLS, height, width))
    for k in range(CELLS):  # column by column
        stack[k] = image[k % SIDE : k % SIDE + height, k // SIDE : k // SIDE + width]
    stack -= stack.min(axis=0)
    p = stack.reshape(CELLS, -1).astype(np.float32)
    total = p.sum(axis=0)
    flat = total == 0
    if flat.any():
        p[:, flat], total[flat] = 1, CELLS

    # Grey levels and their sums are exact in single precision, so divide last.
    mean, square = (MOMENTS @ p) / total.astype(np.float64)
    sums = CUMULATIVE @ p
    sums *= np.float32(ONE) / total
    p /= total
    entropy = -_phi(p).sum(axis=0, dtype=np.float64)
    p -= np.float32(1 / CELLS)
    return Windows(
        centred=p,
        energy=(p * p).sum(axis=0),
        sums=np.minimum(sums.astype(np.int32), ONE),
        entropy=entropy,
        mean=mean,
        deviation=np.sqrt(np.maximum(square - mean * mean, 0)),
        spread=INNER * mean - square,
    )


def _normalised_information(p: Windows, q: Windows) -> Array:
    """2 I / (H(p) + H(q)) of each window."""
    product = (p.centred * q.centred).sum(axis=0)
    opposed = product < 0
    merged = _merge(p.sums, _reverse(q.sums, opposed))

    # sum_ij min(P_i, Q_j) - P_i Q_j is the covariance of the positions under M (Hoeffding), and
    # the minimum of two numbers is half of their sum less half of their distance.
    p_total, q_total = INNER - p.mean, np.where(opposed, q.mean, INNER - q.mean)
    distance = PAIR_WEIGHTS @ merged / float(ONE) - p.spread - q.spread
    covariance = (INNER * (p_total + q_total) - distance) / 2 - p_total * q_total
    theta = np.abs(product) * p.deviation * q.deviation
    scale = np.sqrt(p.energy * q.energy) * covariance
    dependent = (theta > 1e-9) & (scale > 1e-9)
    theta = np.divide(theta, scale, out=np.zeros_like(theta), where=dependent)

    both = p.entropy + q.entropy
    information = theta * both + _phi(1 - theta) + _overlap_terms(merged, theta)
    return np.divide(2 * information, both, out=np.zeros_like(both), where=dependent & (both > 0))


def _reverse(sums: Array, where: Array) -> Array:
    """The cumulative sums of the positions counted backwards, in the windows chosen."""
    change = ONE - sums[::-1]
    change -= sums
    change *= where.astype(np.int32)
    change += sums
    return change


def _merge(p_sums: Array, q_sums: Array) -> Array:
    """Both sequences in one rising one (16, n), where the last bit is 1 in what is from q.

    A bitonic merge: exchanges at distances 8, 4, 2 and 1 sort a rising sequence that is followed
    by a falling one.
    """
    n = p_sums.shape[1]
    sequence = np.concatenate([p_sums & -2, q_sums[::-1] | 1])
    other = np.empty_like(sequence)
    for distance in (8, 4, 2, 1):
        a = sequence.reshape(-1, 2, distance, n)
        b = other.reshape(-1, 2, distance, n)
        np.minimum(a[:, 0], a[:, 1], out=b[:, 0])
        np.maximum(a[:, 0], a[:, 1], out=b[:, 1])
        sequence, other = other, sequence
    return sequence


def _overlap_terms(merged: Array, theta: Array) -> Array:
    """sum of phi(J) - phi(J - theta M) over the overlaps of p's and q's intervals."""
    cells = _enclosing(merged)
    joint, independent = terms = np.empty((2, len(cells), len(theta)), np.float32)
    np.multiply(cells[:, 0], cells[:, 1], out=independent)
    independent *= ((1 - theta) / float(ONE) ** 2).astype(np.float32)
    joint[0], joint[-1] = merged[0], ONE - merged[-1]
    np.subtract(merged[1:], merged[:-1], out=joint[1:-1])
    joint *= (theta / float(ONE)).astype(np.float32)
    joint += independent
    of_joint, of_independent = _phi(terms).sum(axis=1)
    return of_joint - of_independent


def _enclosing(merged: Array) -> Array:
    """For each of the 17 overlaps, the lengths of p's and q's interval that it lies in."""
    count, n = merged.shape
    of_q = -(merged & 1)  # all bits set or none
    of_p = ~of_q
    start = np.zeros((count + 1, 2, n), np.int32)
    stop = np.full((count + 1, 2, n), ONE)
    # What is of the other sequence must not count: 0 in the search for the last end before, all
    # bits set, which is the largest unsigned number, in the search for the first end after.
    for k, (own, foreign) in enumerate([(of_p, of_q), (of_q, of_p)]):
        np.bitwise_and(merged, own, out=start[1:, k])
        np.bitwise_or(merged, foreign, out=stop[:-1, k])
    unsigned = stop.view(np.uint32)
    for k in range(1, count):
        np.maximum(start[k], start[k + 1], out=start[k + 1])
    for k in reversed(range(count)):
        np.minimum(unsigned[k], unsigned[k + 1], out=unsigned[k])
    stop -= start
    return stop.astype(np.float32)


def _phi(x: Array) -> Array:
    """x log |x|, which is 0 at 0."""
    out = np.abs(x)
    out += TINY
    np.log(out, out=out)
    out *= x
    return out
