"""Feature mutual information: how well windows of the fused image predict those of the sources.

In each 3x3 window, the feature values less their minimum are divided by their sum and taken as the
probabilities of the nine positions: p in the source, q in the fused image, with cumulative sums P
and Q and entropies H. The joint distribution is unknown, so FMI assumes a mixture

    J = theta M + (1 - theta) p q^T,    theta = corr(p, q) / corr_M,

of independence and the most dependent distribution M with these marginals. M has the cumulative
sums min(P_i, Q_j) (Frechet's bound), and corr_M is the correlation of the positions under M. If
corr(p, q) is negative, the positions of q are reversed, which gives the most opposed M.
The window's value is 2 (H(p) + H(q) - H(J)) / (H(p) + H(q)).

At most 17 of the 81 entries of M are above zero: the overlaps of the intervals [P_i-1, P_i] and
[Q_j-1, Q_j]. Only these need to be computed, since elsewhere J is (1 - theta) p_i q_j:

    H(p) + H(q) - H(J) = sum_ij J log(J / (p_i q_j))
        = (1 - theta) log |1 - theta| (1 - sum over M > 0 of p_i q_j)
          + sum over M > 0 of p_i q_j r log |r|,    r = 1 - theta + theta M / (p_i q_j).

The overlaps come from merging the sorted sequences P and Q, for many windows at a time. The
computation is in single precision, with P and Q as 30-bit fractions: the error is about 1e-7 for a
window, and 1e-8 for the mean of many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ddfm.arguments import by_annotation, one_of
from ddfm.errors import InputError
from ddfm.metrics.grey import Array, ImageLike, pair_up

__all__ = ["fmi"]

SIDE = 3
CELLS = SIDE * SIDE
INNER = CELLS - 1  # cumulative sums without the last, which is 1
# Windows computed at a time: enough to outweigh the cost of calls, few enough for the cache.
CHUNK = 6000
ONE = np.int32(2**30)
TINY = np.float32(1e-30)
SMALLEST = 1e-9  # a smaller covariance is due to rounding

POSITIONS = np.arange(CELLS, dtype=np.float32)
MOMENTS = np.stack([POSITIONS, POSITIONS**2])
CUMULATIVE = np.tril(np.ones((INNER, CELLS), np.float32))
# The product of these weights with a rising sequence is the sum of x_j - x_i over all pairs.
PAIR_WEIGHTS = 2.0 * np.arange(2 * INNER) - (2 * INNER - 1)


class Windows(NamedTuple):
    """Properties of n windows of one image, each (n,) unless noted."""

    centred: Array  # (9, n) probabilities less 1/9
    sums: Array  # (8, n) cumulative probabilities, in units of 1 / ONE, below ONE
    entropy: Array
    offset: Array  # the middle position less the mean position
    gain: Array  # standard deviation of the position over the norm of `centred`
    spread: Array  # sum of the differences between all pairs of cumulative sums


@by_annotation
def fmi(fused: ImageLike, *sources: ImageLike, feature: str = "pixel") -> float:
    """Feature mutual information, 0 to 1, the mean over windows and sources (see the module).

    `feature` is "pixel" or "gradient" (the horizontal central difference). Identical windows count
    as 1. Sources: Haghighat, Aghagolzadeh and Seyedarabi, A non-reference image fusion
    metric based on mutual information of image features, Comput. Electr. Eng. 37, 2011; the
    windows are those of Haghighat and Razian, Fast-FMI, AICT 2014.
    """
    one_of("feature", feature, FEATURES)
    f, greys = pair_up(fused, *sources)
    if min(f.pixels.shape) < SIDE:
        raise InputError(f"FMI needs images of at least {SIDE}x{SIDE} pixels")
    q_map, *p_maps = (FEATURES[feature](g.pixels) for g in (f, *greys))
    total, count = 0.0, 0
    for rows in _strips(*q_map.shape):
        q = _windows(q_map[rows])
        for p_map in p_maps:
            value = _normalised_information(_windows(p_map[rows]), q)
            value[_equal_windows(p_map[rows], q_map[rows])] = 1
            total, count = total + float(value.sum()), count + value.size
    return total / count


FEATURES: dict[str, Callable[[Array], Array]] = {
    "pixel": lambda pixels: pixels,
    "gradient": lambda pixels: np.gradient(pixels, axis=1),
}


def _strips(height: int, width: int) -> Iterator[slice]:
    """Overlapping strips of rows with about CHUNK windows each, which cover all windows."""
    step = max(1, CHUNK // width)
    for top in range(0, height - SIDE + 1, step):
        yield slice(top, min(top + step, height - SIDE + 1) + SIDE - 1)


def _equal_windows(a: Array, b: Array) -> Array:
    equal = a == b
    rows = equal[:-2] & equal[1:-1] & equal[2:]
    return (rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]).ravel()


def _windows(image: Array) -> Windows:
    height, width = (n - SIDE + 1 for n in image.shape)
    stack = np.empty((CELLS, height, width), np.float32)
    for k in range(CELLS):  # column by column
        stack[k] = image[k % SIDE : k % SIDE + height, k // SIDE : k // SIDE + width]
    p = stack.reshape(CELLS, -1)
    p -= p.min(axis=0)
    total = p.sum(axis=0)
    flat = total == 0
    if flat.any():
        p[:, flat], total[flat] = 1, CELLS

    # Dividing last keeps grey levels and their sums exact in single precision.
    mean, square = (MOMENTS @ p) / total.astype(np.float64)
    sums = CUMULATIVE @ p
    sums *= np.float32(ONE) / total
    p /= total
    entropy = -_times_log(p).sum(axis=0).astype(np.float64)
    p -= np.float32(1 / CELLS)
    whole = sums.astype(np.int32)
    deviation = np.sqrt(np.maximum(square - mean * mean, 0))
    return Windows(
        centred=p,
        sums=np.minimum(whole, ONE - 1, out=whole),
        entropy=entropy,
        offset=INNER / 2 - mean,
        gain=deviation / (np.sqrt((p * p).sum(axis=0)) + TINY),
        spread=INNER * mean - square,
    )


def _normalised_information(p: Windows, q: Windows) -> Array:
    """2 I / (H(p) + H(q)) of each window."""
    product = (p.centred * q.centred).sum(axis=0)
    merged = _merge(p.sums, _reverse(q.sums, product < 0))

    # The covariance of the positions under M is sum_ij min(P_i, Q_j) - P_i Q_j (Hoeffding). The
    # minimum of two numbers is half their sum less half their distance, so only the distances and
    # the offsets remain.
    distance = PAIR_WEIGHTS @ merged / float(ONE) - p.spread - q.spread
    covariance = INNER**2 / 4 - distance / 2 - p.offset * q.offset * np.copysign(1.0, product)
    theta = np.abs(product) * p.gain * q.gain / np.maximum(covariance, SMALLEST)
    return 2 * _information(merged, theta) / (p.entropy + q.entropy + TINY)


def _reverse(sums: Array, where: Array) -> Array:
    """The cumulative sums, with the positions in reverse order in the windows of `where`."""
    return np.where(where, (ONE - 1) - sums[::-1], sums)


def _merge(p_sums: Array, q_sums: Array) -> Array:
    """Merge both sequences into a rising one, (16, n); the last bit marks numbers from q.

    This is a bitonic merge: exchanges at distances 8, 4, 2 and 1 sort a rising sequence followed
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


def _information(merged: Array, theta: Array) -> Array:
    """H(p) + H(q) - H(J), from the overlaps of p's and q's intervals."""
    cells = _enclosing(merged)
    independent = cells[:, 0] * cells[:, 1]
    overlap = np.diff(merged, axis=0, prepend=np.int32(0), append=ONE).astype(np.float32)
    gain = (theta * float(ONE)).astype(np.float32)
    # r of the module's docstring
    ratio = overlap / (independent + TINY) * gain + (1 - theta).astype(np.float32)
    terms = _times_log(ratio) * independent
    unit = float(ONE) ** 2
    elsewhere = 1 - independent.sum(axis=0) / unit
    return _times_log(1 - theta) * elsewhere + terms.sum(axis=0) / unit


def _enclosing(merged: Array) -> Array:
    """For each of the 17 overlaps, the lengths of the intervals of p and q that contain it."""
    count, n = merged.shape
    of_q = -(merged & 1)  # all bits set or none
    of_p = ~of_q
    start, stop = np.empty((2, count + 1, 2, n), np.int32)
    start[0], stop[-1] = 0, ONE
    # Numbers from the other sequence must not count. In the search for the last end before, they
    # are 0; in the search for the first end after, all bits are set, the largest unsigned number.
    for k, (own, foreign) in enumerate([(of_p, of_q), (of_q, of_p)]):
        np.bitwise_and(merged, own, out=start[1:, k])
        np.bitwise_or(merged, foreign, out=stop[:-1, k])
    unsigned = stop.view(np.uint32)
    for k in range(1, count):
        np.maximum(start[k], start[k + 1], out=start[k + 1])
    for k in reversed(range(count)):
        np.minimum(unsigned[k], unsigned[k + 1], out=unsigned[k])
    return (stop - start).astype(np.float32)


def _times_log(x: Array) -> Array:
    """x log |x|, and 0 at 0."""
    return np.log(np.abs(x) + TINY) * x
