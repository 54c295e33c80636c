r"""Estimates the blur of a picture from its spectrum.

The power of a natural picture falls with the frequency f roughly as f^-alpha. A Gaussian blur of
deviation sigma makes it fall much faster, and noise of power N does not fall at all:

    P(f) = C f^-alpha exp(-(2 pi sigma f)^2) + N

C, alpha, sigma and N are fitted to the mean logarithm of the power in rings of equal frequency.
Lenses and sensors blur every picture by 0.4 to 0.9 pixels, and a smooth scene, or one with lines
along a few directions, may seem more blurred than that in some directions. A blurred picture is so
in all of them: the spectrum is divided into `DIRECTIONS`, and the least sigma counts.

If only a part of the picture is sharp, as with a lens out of focus elsewhere, nothing is found.

An enlarged picture lacks high frequencies as well, but a blur would be the wrong thing to undo: its
spectrum ends abruptly, and the picture would get ringing edges. So the model must fit, and nothing
else may show that the picture was enlarged.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from scipy.fft import fftfreq, rfft2, rfftfreq

from ddfm.restoration.enlarged import SMALLEST, looks_enlarged

__all__ = ["LEAST", "find_blur"]

LEAST = 1.2  # pixels; without a blur, all pictures at hand stay below 0.95
MOST = 6.0  # pixels; with more, too few frequencies are left to fit
LARGEST = 1024  # pixels of a side of the parts that a larger picture is examined in
DIRECTIONS = 4
SLOWEST, RING = 0.02, 0.01  # lowest frequency, and width of a ring, per pixel
RINGS = round((0.5 - SLOWEST) / RING)
FREQUENCIES = SLOWEST + RING * (np.arange(RINGS) + 0.5)  # in the middle of each ring
# The most misfit of a ring, on average. Blocks, sharpening and enlargement bend the spectrum more.
MISFIT = 3.0
FEWEST = 8  # frequencies of a ring, at least
FITTED = 12  # rings of a direction, at least
SIGNAL = 5  # in which the power of the picture exceeds that of the noise, at least
ABOVE = 3.0  # times N: the least power that the linear fit uses
ROUNDING = 1 / 12  # power of the error of rounding to 8 bits
# Grey levels of noise that is added. In smooth areas without noise, rounding to 8 bits leaves
# contours, whose power falls with the frequency, unlike N. More would hide that a spectrum ends.
DITHER = 0.5
# Bounds of log C, alpha, sigma^2 and log N.
BOUNDS = [-50.0, 0.0, -2.0, np.log(ROUNDING / 4)], [50.0, 5.0, 60.0, 15.0]
TINY = 1e-12  # keeps logarithms finite
EULER = 0.5772  # the logarithm of the mean power less the mean logarithm, for noise


def find_blur(plane: np.ndarray) -> float | None:
    """The deviation, in pixels, of the blur of (H, W) levels in [0, 1]; None below `LEAST`."""
    if min(plane.shape) < SMALLEST:  # it cannot be told whether it was enlarged
        return None
    spectra = []
    for part in _parts(255.0 * plane):
        logs, counts = _spectrum(part)
        rough = _roughly(np.average(logs, axis=0, weights=counts + TINY))
        if rough is not None:
            if rough < LEAST**2 / 2:
                return None
            spectra.append((logs, counts))
    if not spectra or looks_enlarged(plane):
        return None
    counts = np.sum([count for _, count in spectra], axis=0)
    logs = np.sum([log * count for log, count in spectra], axis=0) / np.maximum(counts, 1)
    if _fitted(np.average(logs, axis=0, weights=counts + TINY), counts.sum(axis=0))[1] > MISFIT:
        return None
    squares = [_fitted(*one)[0] for one in zip(logs, counts, strict=True)]
    least = max(min(squares), 0.0) ** 0.5
    return round(least, 2) if LEAST <= least <= MOST else None


def _parts(plane: np.ndarray) -> Iterator[np.ndarray]:
    """The picture, or parts of a large one: it may be sharp in one part only."""
    for rows in np.array_split(plane, -(-plane.shape[0] // LARGEST)):
        yield from np.array_split(rows, -(-plane.shape[1] // LARGEST), axis=1)


def _spectrum(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The logarithm of the power in each direction and ring, and how many frequencies it has."""
    h, w = plane.shape
    plane = plane + _dither(h, w)
    window = np.hanning(h + 2)[1:-1, None] * np.hanning(w + 2)[1:-1]
    waves = rfft2((plane - plane.mean()) * window)
    logs = np.log(np.abs(waves) ** 2 / (window**2).sum() + TINY)
    places, counts = _places(h, w)
    sums = np.bincount(places, logs.ravel(), minlength=counts.size + 1)[:-1].reshape(counts.shape)
    return sums / np.maximum(counts, 1) + EULER, counts


@lru_cache(maxsize=4)  # the same for the other source, and for all pictures of this size
def _dither(h: int, w: int) -> np.ndarray:
    return DITHER * np.random.default_rng(0).standard_normal((h, w))


@lru_cache(maxsize=4)
def _places(h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    """The direction and ring of each frequency, as one number, and the size of each."""
    down, across = fftfreq(h)[:, None], rfftfreq(w)
    ring = np.floor((np.hypot(down, across) - SLOWEST) / RING).astype(int)
    angle = np.arctan2(down, across + 0 * down) / np.pi
    direction = np.floor(DIRECTIONS * angle + 0.5).astype(int) % DIRECTIONS
    outside = (ring < 0) | (ring >= RINGS)
    places = np.where(outside, DIRECTIONS * RINGS, direction * RINGS + ring).ravel()
    counts = np.bincount(places, minlength=DIRECTIONS * RINGS + 1)[:-1]
    return places, counts.reshape(DIRECTIONS, RINGS)


def _roughly(logs: np.ndarray) -> float | None:
    """sigma^2 by a linear fit, where the power is well above that of the noise; None if nowhere."""
    noise = max(np.exp(logs[-4:].min()), ROUNDING)
    faint = np.exp(logs) < ABOVE * noise
    last = int(faint.argmax()) if faint.any() else RINGS
    if last < SIGNAL:
        return None
    f = FREQUENCIES[:last]
    terms = np.stack([np.ones_like(f), -np.log(f), -((2 * np.pi * f) ** 2)], axis=1)
    values = np.log(np.maximum(np.exp(logs[:last]) - noise, TINY))
    return float(np.linalg.lstsq(terms, values, rcond=None)[0][2])


def _fitted(logs: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """sigma^2, and the misfit of a ring; sigma is 0 if there are too few frequencies."""
    used = counts >= FEWEST
    if used.sum() < FITTED:
        return 0.0, 0.0
    from scipy.optimize import least_squares  # takes long to load, and few pictures get here

    f, logs, weights = FREQUENCIES[used], logs[used], np.sqrt(counts[used])

    def residuals(x: np.ndarray) -> np.ndarray:
        power = np.exp(x[0] - x[1] * np.log(f) - x[2] * (2 * np.pi * f) ** 2) + np.exp(x[3])
        return weights * (np.log(power) - logs)

    fits = []
    for square in (0.3, 3.0):  # the fit may end in a local minimum
        first = [logs[0] + 2 * np.log(f[0]), 2.0, square, logs[-5:].mean() - 0.5]
        first = np.clip(first, *BOUNDS)
        fits.append(least_squares(residuals, first, bounds=BOUNDS, loss="soft_l1", f_scale=2.0))
    best = min(fits, key=lambda fit: fit.cost)
    return float(best.x[2]), float(best.cost / used.sum())
