"""Metrics of edges, from Sobel gradients: how well F keeps the sources' edges, and what it adds.

At each pixel, an image X has an edge of strength g_X and angle a_X. How well F keeps the edge of a
source S is a product of two sigmoids: one of the ratio of the strengths, the smaller over the
larger, and one of the agreement of the angles. Edges have no direction: a turn by 180 degrees does
not change an angle.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ddfm.errors import InputError
from ddfm.metrics.filters import bands, sobel
from ddfm.metrics.grey import Array, Grey, ImageLike, pair_up

__all__ = ["nabf", "qabf"]

TINY = 1e-300


class Edges(NamedTuple):
    """Strength and angle of the gradient at each pixel."""

    strength: Array
    angle: Array


def qabf(fused: ImageLike, *sources: ImageLike) -> float:
    """Edge preservation, 0 to 1: sum_k sum(g_k Q_k) / sum_k sum(g_k).

    Q_k = 0.9994 / (1 + exp(-15 (G - 0.5))) * 0.9879 / (1 + exp(-22 (A - 0.8))). G is the ratio of
    the strengths; if they are equal, it is the strength itself, as in the field's evaluator, which
    saturates the sigmoid. A = 1 - |a_k - a_F| / (pi / 2), with angles in (-pi/2, pi/2]. Beyond the
    border, images are black. If the sources have no edges, the value is 0. Source: Xydeas and
    Petrovic, Objective image fusion performance measure, Electron. Lett. 36, 2000, with the
    evaluator's constants.
    """
    f, greys = pair_up(fused, *sources)
    ef = f.shared(_edges_on_black)
    kept = there = 0.0
    for s in greys:
        es = s.shared(_edges_on_black)
        for rows in bands(f.pixels):
            g, h = es.strength[rows], ef.strength[rows]
            agreement = 1 - np.abs(es.angle[rows] - ef.angle[rows]) * (2 / np.pi)
            ratio = _ratio(g, h) + (g == h) * (g - 1)
            quality = _sigmoid(ratio, 0.9994, 15, 0.5) * _sigmoid(agreement, 0.9879, 22, 0.8)
            kept += float((quality * g).sum())
            there += float(g.sum())
    return kept / there if there else 0.0


def nabf(fused: ImageLike, *sources: ImageLike) -> float:
    """Fusion artefacts, 0 is best: sum over N of sum_k (1 - Q_k) w_k / sum_k sum(w_k).

    N are the pixels where F's edge is stronger than that of every source. The weights are w_k =
    g_k^1.5 where g_k >= 2, and 0.001 elsewhere. Q_k = sqrt(0.9999 / (1 + exp(-19 (G - 0.5))) *
    0.9995 / (1 + exp(-22 (A - 0.5)))) with A = | |a_k - a_F| - pi/2 | / (pi / 2). Sobel sums are
    divided by 8, and images mirrored at the border. Sources: Petrovic and Xydeas, Objective image
    fusion performance characterisation, ICCV 2005; in the form of Shreyamsha Kumar, Multifocus and
    multispectral image fusion based on pixel significance using discrete cosine harmonic wavelet
    transform, SIViP 7, 2013.
    """
    f, greys = pair_up(fused, *sources)
    ef, *edges = (g.shared(_mirrored_edges) for g in (f, *greys))
    lost = there = 0.0
    for rows in bands(f.pixels):
        new = np.logical_and.reduce([ef.strength[rows] > es.strength[rows] for es in edges])
        h, angle = ef.strength[rows][new], ef.angle[rows][new]
        for es in edges:
            g = es.strength[rows] / 8
            weight = g * np.sqrt(g)
            weight[g < 2] = 0.001
            agreement = np.abs(np.abs(es.angle[rows][new] - angle) * (2 / np.pi) - 1)
            quality = _sigmoid(_ratio(8 * g[new], h), 0.9999, 19, 0.5)
            quality *= _sigmoid(agreement, 0.9995, 22, 0.5)
            lost += float(np.vdot(1 - np.sqrt(quality), weight[new]))
            there += float(weight.sum())
    return lost / there if there else 0.0


def _mirrored_edges(g: Grey) -> Edges:
    """Edges of the image mirrored at its border."""
    if min(g.pixels.shape) < 2:
        raise InputError("Qabf and Nabf need images of at least 2x2 pixels")
    padded = np.pad(g.pixels, 1, mode="reflect")
    edges = Edges(np.empty_like(g.pixels), np.empty_like(g.pixels))
    for rows in bands(g.pixels):
        edges.strength[rows], edges.angle[rows] = _edges(padded[rows.start : rows.stop + 2])
    return edges


def _edges_on_black(g: Grey) -> Edges:
    """Edges of the image surrounded by black, which differ from the mirrored only at the border."""
    edges = Edges(*(x.copy() for x in g.shared(_mirrored_edges)))
    padded = np.pad(g.pixels, 1)
    for border, around in (
        (np.s_[:1], np.s_[:3]),
        (np.s_[-1:], np.s_[-3:]),
        (np.s_[:, :1], np.s_[:, :3]),
        (np.s_[:, -1:], np.s_[:, -3:]),
    ):
        edges.strength[border], edges.angle[border] = _edges(padded[around])
    return edges


def _edges(padded: Array) -> Edges:
    x, y = sobel(padded)
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.arctan(y / -x)  # y counts downwards, angles upwards
    # Straight up and straight down are the same angle; where there is no edge, it does not matter.
    angle[x == 0] = np.pi / 2
    return Edges(np.sqrt(x * x + y * y), angle)


def _ratio(g: Array, h: Array) -> Array:
    """The smaller over the larger; 0 where both are 0."""
    return np.minimum(g, h) / (np.maximum(g, h) + TINY)


def _sigmoid(x: Array, top: float, slope: float, middle: float) -> Array:
    return top / (np.exp(-slope * (x - middle)) + 1)
