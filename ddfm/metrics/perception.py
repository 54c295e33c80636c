"""Metrics modelled on human vision: perceived contrast (QCB) and perceived error (QCV).

Both first stretch each image to 0..255, and then filter it by the eye's contrast sensitivity as a
function of frequency. For the viewing distances of the usual programs, the frequency of the Fourier
coefficient (u, v) is r = sqrt(u^2 + v^2) / 15 for QCB, and sqrt(u^2 + v^2) / 4 for QCV.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import fft

from ddfm.metrics.filters import bands, smooth, sobel
from ddfm.metrics.grey import Array, Grey, ImageLike, pair_up

__all__ = ["qcb", "qcv"]

BLOCK = 16
TINY = 1e-300


def qcb(fused: ImageLike, *sources: ImageLike) -> float:
    """Preservation of perceived contrast, 0 to 1: mean(sum_k l_k min(c_k, c_F) / max(c_k, c_F)).

    The images are filtered by exp(-(r / 15.387)^2) - 0.7622 exp(-(r / 1.3456)^2). Local contrast
    is C = |(G2 * I) / (G4 * I) - 1|, with Gaussians of sigma 2 and 4; masked contrast is c = C^3 /
    (C^2 + 1e-4); and the saliency of a source is l_k = c_k^2 / sum_j c_j^2. Where no image has
    contrast, the value is 1, since nothing is lost. Source: Chen and Blum, A new automated quality
    assessment algorithm for image fusion, Image Vis. Comput. 27, 2009.
    """
    f, greys = pair_up(fused, *sources)
    fused_contrast, *contrasts = map(_masked_contrast, (f, *greys))
    total = 0.0
    for rows in bands(f.pixels):
        cf = fused_contrast[rows]
        value, weight = np.zeros_like(cf), np.zeros_like(cf)
        for contrast in contrasts:
            c = contrast[rows]
            saliency = c * c + TINY
            weight += saliency
            value += (np.minimum(c, cf) + TINY) / (np.maximum(c, cf) + TINY) * saliency
        total += float((value / weight).sum())
    return total / f.pixels.size


def qcv(fused: ImageLike, *sources: ImageLike) -> float:
    """Perceived error in salient regions, 0 is best: sum_kb L_kb D_kb / sum_kb L_kb.

    For each block b of 16x16 pixels, the saliency L_kb is the sum of g_k^5, with the Sobel strength
    g_k, and the error D_kb is the mean square of S_k - F after filtering by the contrast
    sensitivity 2.6 (0.0192 + 0.144 r) exp(-(0.144 r)^1.1). Beyond the border, images are black, and
    blocks that the border cuts are filled up with an error of 0, as in the usual program.
    Source: Chen and Varshney, A human perception inspired quality metric for image fusion based on
    regional information, Inf. Fusion 8, 2007.
    """
    f, greys = pair_up(fused, *sources)
    response = _mannos_sakrison(*f.pixels.shape)
    error = saliency = 0.0
    for s in greys:
        salient = _block_saliency(s)
        seen = _filtered(s.shared(_spectrum) - f.shared(_spectrum), response, f.pixels.shape)
        error += float(np.vdot(salient, _block_sums(seen * seen))) / BLOCK**2
        saliency += float(salient.sum())
    return error / saliency if saliency else 0.0


def _stretched(g: Grey) -> Array:
    low, high = g.pixels.min(), g.pixels.max()
    # A constant image is not stretched.
    return np.rint((g.pixels - low) * (255 / (high - low))) if high > low else g.pixels


def _spectrum(g: Grey) -> Array:
    return fft.rfft2(g.shared(_stretched))


def _filtered(spectrum: Array, response: Array, shape: tuple[int, ...]) -> Array:
    return fft.irfft2(spectrum * response, shape)


def _frequency(height: int, width: int) -> Array:
    """The length of (u, v), in the layout of rfft2."""
    v = fft.fftfreq(height, 1 / height)[:, None]
    return np.sqrt(v**2 + fft.rfftfreq(width, 1 / width) ** 2)


def _truncated_gaussian(sigma: float) -> Array:
    """A Gaussian over 31 pixels, not normalised after truncation, as in the usual program."""
    return np.exp(-(np.arange(-15, 16) ** 2) / (2 * sigma**2)) / (np.sqrt(2 * np.pi) * sigma)


@lru_cache(maxsize=2)
def _watson_ahumada(height: int, width: int) -> Array:
    r = _frequency(height, width) / 15
    return np.exp(-((r / 15.3870) ** 2)) - 0.7622 * np.exp(-((r / 1.3456) ** 2))


@lru_cache(maxsize=2)
def _mannos_sakrison(height: int, width: int) -> Array:
    r = 0.144 * _frequency(height, width) / 4
    return 2.6 * (0.0192 + r) * np.exp(-(r**1.1))


def _masked_contrast(g: Grey) -> Array:
    shape = g.pixels.shape
    seen = np.pad(_filtered(g.shared(_spectrum), _watson_ahumada(*shape), shape), 15)
    contrast, wide = (smooth(seen, _truncated_gaussian(sigma)) for sigma in (2, 4))
    for rows in bands(contrast):
        far = wide[rows]
        # Where even the wide mean is 0, as in a black image, contrast is 0; this avoids 0 / 0.
        c = np.abs((contrast[rows] - far) / (far + (far == 0)))
        contrast[rows] = c * (c * c) / (c * c + 1e-4)
    return contrast


def _block_saliency(g: Grey) -> Array:
    x, y = sobel(np.pad(g.shared(_stretched), 1))
    square = x * x + y * y
    return _block_sums(square * square * np.sqrt(square))


def _block_sums(image: Array) -> Array:
    """Sums over blocks of the image, padded with zeros to whole blocks."""
    h, w = image.shape
    padded = np.pad(image, ((0, -h % BLOCK), (0, -w % BLOCK)))
    rows = np.add.reduceat(padded, np.arange(0, h, BLOCK), axis=0)
    return np.add.reduceat(rows, np.arange(0, w, BLOCK), axis=1)
