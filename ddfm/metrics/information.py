"""Metrics from histograms of grey levels: the information in F, and in common with the sources.

H(X) is Shannon's entropy of the histogram of 256 grey levels, H(X, Y) that of the joint histogram,
and I(X, Y) = H(X) + H(Y) - H(X, Y) the mutual information.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import entr

from ddfm.metrics.grey import Array, Grey, ImageLike, as_grey, pair_up

__all__ = ["en", "mi", "nmi"]


def en(fused: ImageLike) -> float:
    """Entropy in bits, 0 to 8: H(F) = -sum p log2 p.

    Source: Roberts, van Aardt and Ahmed, Assessment of image fusion procedures using entropy,
    image quality, and multispectral classification, J. Appl. Remote Sens. 2, 2008.
    """
    return as_grey(fused, "fused").shared(_entropy) / math.log(2)


def mi(fused: ImageLike, *sources: ImageLike) -> float:
    """Mutual information in nats, the sum over the sources of I(F, S_k).

    Source: Qu, Zhang and Yan, Information measure for performance of image fusion, Electron.
    Lett. 38, 2002. Values in bits are larger by the factor 1 / ln 2.
    """
    f, greys = pair_up(fused, *sources)
    return sum(f.shared(_mutual_information, s) for s in greys)


def nmi(fused: ImageLike, *sources: ImageLike) -> float:
    """Normalised mutual information, the sum over the sources of 2 I(F, S_k) / (H(F) + H(S_k)).

    Source: Hossny, Nahavandi and Creighton, Comments on "Information measure for performance of
    image fusion", Electron. Lett. 44, 2008.
    """
    f, greys = pair_up(fused, *sources)
    total = 0.0
    for s in greys:
        both = f.shared(_entropy) + s.shared(_entropy)
        total += 2 * f.shared(_mutual_information, s) / both if both else 0.0
    return total


def _levels(g: Grey) -> Array:
    return np.clip(np.rint(g.pixels), 0, 255).astype(np.intp).ravel()


def _histogram_entropy(counts: Array) -> float:
    """Entropy in nats of a histogram."""
    return float(entr(counts[counts > 0] / counts.sum()).sum())


def _entropy(g: Grey) -> float:
    return _histogram_entropy(np.bincount(g.shared(_levels)))


def _mutual_information(f: Grey, s: Grey) -> float:
    joint = _histogram_entropy(np.bincount(f.shared(_levels) * 256 + s.shared(_levels)))
    return max(0.0, f.shared(_entropy) + s.shared(_entropy) - joint)
