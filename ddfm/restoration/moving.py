"""Finds what moved between the exposures of a bracket, and takes it from one of them.

Of a still scene, the levels of one exposure follow from those of another by a curve that never
falls. The curve is the median of the levels of one over each level of the other. What departs from
it, by more than noise, clipping and a shift of a pixel can explain, and over more than the width of
an edge, has moved. Fused, it would be seen double and half transparent.

One exposure, the best exposed at all these places, shows them in the result. There, the others get
the levels that they would have had of the same things, by the curve. One source for all places is
needed, since a thing could otherwise be seen at two of them, or at none.

Exposures are compared in the order of their brightness, each with the next one: the curve between
these is the least steep, and clips least. Of pictures that differ widely nothing is taken: one may
be of another scene. Nor is it where the differences fade out: there, light or tone has changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy import ndimage

from ddfm.imaging.picture import Picture
from ddfm.imaging.sizes import resized
from ddfm.imaging.sources import grey

__all__ = ["Moved", "moved_between", "taken_from_one"]

SHORT = 512  # pixels along the shorter side of the copies that are compared, at most
SMALLEST = 64  # and at least
NOISE = 3 / 255  # of each level, as far as it is not averaged away
NEAR = 5  # pixels along the side of the window in which edges may be shifted
OFF = 16 / 255  # a place has moved if it departs by more than this
REST = 4 / 255  # and what is next to it if it departs by more than this
FAR = 20  # pixels that the rest of a thing may reach
WIDE = 5  # pixels; radius of the least thing that has moved
BLACK, WHITE = 4 / 255, 251 / 255  # levels beyond these are clipped
FADED = 0.2  # of what a place departs by, at most this is left on the other side of an edge
EDGED = 0.75  # least part of the rims of what has moved that are edges
FEWEST = 20  # pixels of a level from which its median is taken
MOST = 0.25  # of a larger share of the picture, more may be wrong than things that moved

Plane = np.ndarray  # (h, w)


@dataclass(frozen=True, eq=False)
class Moved:
    """What moved between the exposures.

    Attributes:
        copies: of the pictures, small ones that were compared.
        kept: the index of the picture that shows these places.
        places: where each picture differs from that one, (h, w) of copies; None if nowhere.
        foreign: the indices of two pictures that differ widely, so that no places are given.
    """

    copies: list[Picture]
    kept: int
    places: list[Plane | None]
    foreign: tuple[int, int] | None = None

    @property
    def share(self) -> float:
        """The share of the pixels where something moved."""
        found = [place for place in self.places if place is not None]
        return float(np.logical_or.reduce(found).mean()) if found else 0.0


def moved_between(pictures: Sequence[Picture]) -> Moved | None:
    """What moved between exposures of one size; None if nothing did."""
    copies = _copies(pictures)
    if min(copies[0].size) < SMALLEST:
        return None
    levels = [grey(copy) for copy in copies]
    order = sorted(range(len(copies)), key=lambda k: float(levels[k].mean()))
    between = []  # where each picture, in this order, differs from the next one
    for j, k in pairwise(order):
        seen = copies[j].valid & copies[k].valid
        place = _departs(_as_one(copies[j], copies), _as_one(copies[k], copies), seen)
        if place is None:
            return Moved(copies, j, [None] * len(copies), (j, k))
        between.append(place)
    everywhere = np.logical_or.reduce(between)
    if not everywhere.any():
        return None
    kept = max(order, key=lambda k: _exposed(levels[k] * copies[k].valid)[everywhere].mean())
    places: list[Plane | None] = [None] * len(copies)
    for k, place in zip(order, _apart_from(order.index(kept), between, everywhere), strict=True):
        places[k] = place
    return Moved(copies, kept, places)


def taken_from_one(pictures: Sequence[Picture], moved: Moved) -> tuple[Picture, ...]:
    """The pictures, with the same things at the places where something moved."""
    copies, model = moved.copies, pictures[moved.kept]
    still = ~np.logical_or.reduce([place for place in moved.places if place is not None])
    done = []
    for picture, copy, place in zip(pictures, copies, moved.places, strict=True):
        if place is not None:
            known = still & copies[moved.kept].valid & copy.valid
            curves = _curves(_alike(copies[moved.kept], copy), copy.pixels, known)
            # Where the one that is shown has a gap, only the others see anything.
            weight = _soft(place, picture) * model.valid
            picture = _replaced(picture, _alike(model, picture), curves, weight)
        done.append(picture)
    return tuple(done)


def _apart_from(shown: int, between: list[Plane], everywhere: Plane) -> Iterator[Plane | None]:
    """Where each picture differs from the one that is shown; None if nowhere.

    Args:
        between: where each picture differs from the next one.
        everywhere: all of these places, whose connected parts are the things that moved.
    """
    things, count = ndimage.label(everywhere)
    for at in range(len(between) + 1):
        apart = np.zeros(count + 1, bool)
        for place in between[min(at, shown) : max(at, shown)]:
            apart[np.unique(things[place])] = True
        apart[0] = False  # what belongs to no thing
        yield apart[things] if apart.any() else None


def _exposed(levels: Plane) -> Plane:
    """How well each place is exposed: 0 at black, at white, and where there is no data."""
    return levels * (1 - levels)


def _copies(pictures: Sequence[Picture]) -> list[Picture]:
    """Copies in which noise is averaged, and a moving thing has as many pixels in any picture."""
    h, w = pictures[0].size
    factor = min(1.0, SHORT / min(h, w))
    return [resized(picture, (round(factor * h), round(factor * w))) for picture in pictures]


def _departs(a: np.ndarray, b: np.ndarray, seen: Plane) -> Plane | None:
    """Where two exposures (h, w, C) differ by more than a curve can explain; None if widely."""
    channels = zip(np.moveaxis(a, 2, 0), np.moveaxis(b, 2, 0), strict=True)
    off = np.median([_off(*planes, seen) for planes in channels], axis=0)
    y, x = np.mgrid[-WIDE : WIDE + 1, -WIDE : WIDE + 1]
    disc = np.hypot(x, y) < WIDE + 0.5
    # Edges that do not quite meet are narrower than the disc.
    certain = ndimage.binary_opening(off > OFF, disc)
    if certain.sum() > MOST * seen.sum():
        return None
    if not certain.any() or not _have_edges(certain, off):
        return np.zeros_like(certain)
    whole = ndimage.binary_dilation(certain, iterations=FAR, mask=off > REST)
    # Parts of a thing may have the levels of what is behind it.
    wide = np.pad(ndimage.binary_fill_holes(whole), FAR)
    closed = ndimage.binary_closing(wide, iterations=FAR // 2)[FAR:-FAR, FAR:-FAR]
    return ndimage.binary_dilation(closed, disc)


def _off(a: Plane, b: Plane, seen: Plane) -> Plane:
    """How far one of two planes lies beyond what the other lets expect of it."""
    a, b = (ndimage.gaussian_filter(plane, 1.0) for plane in (a, b))
    return np.where(seen, np.maximum(_beyond(a, b, seen), _beyond(b, a, seen)), 0)


def _have_edges(places: Plane, off: Plane) -> bool:
    """Whether places end abruptly, as things do; tone and light that drift fade out."""
    off = ndimage.uniform_filter(off, WIDE)
    least, most = (f(off, 2 * WIDE + 1) for f in (ndimage.minimum_filter, ndimage.maximum_filter))
    rims = places & ~ndimage.binary_erosion(places)
    return bool((least < FADED * most)[rims].mean() > EDGED)


def _beyond(a: Plane, b: Plane, seen: Plane) -> Plane:
    """How far b lies beyond what a lets expect of it, given noise and a shift of a pixel."""
    curve = _curve(a[seen], b[seen])
    low = ndimage.minimum_filter(a, NEAR) - NOISE
    high = ndimage.maximum_filter(a, NEAR) + NOISE
    least = np.where(low <= BLACK, 0, _along(curve, low))
    most = np.where(high >= WHITE, 1, _along(curve, high))
    return np.maximum(np.maximum(least - b, b - most), 0)


def _curve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The levels of b at 256 levels of a, which never fall."""
    level = np.rint(255 * np.clip(a, 0, 1)).astype(np.uint8)
    order = np.argsort(level, kind="stable")
    ends = np.searchsorted(level[order], np.arange(257))
    sorted_b = b[order]
    parts = [sorted_b[ends[k] : ends[k + 1]] for k in range(256)]
    known = [k for k, part in enumerate(parts) if len(part) >= FEWEST]
    if not known:
        return np.full(256, float(np.median(b)) if b.size else 0.0)
    medians = [float(np.median(parts[k])) for k in known]
    return np.interp(np.arange(256), known, _rising(medians, [len(parts[k]) for k in known]))


def _rising(values: Sequence[float], weights: Sequence[float]) -> np.ndarray:
    """The nearest sequence that never falls: neighbours that fall are replaced by their mean.

    So levels that only a moved thing has follow those of the rest of the scene.
    """
    runs: list[tuple[float, float, int]] = []  # mean, weight, length
    for value, weight in zip(values, weights, strict=True):
        run = (value, float(weight), 1)
        while runs and runs[-1][0] > run[0]:
            (one, w, n), (other, v, m) = runs.pop(), run
            run = ((w * one + v * other) / (w + v), w + v, n + m)
        runs.append(run)
    return np.concatenate([np.full(n, mean) for mean, _, n in runs])


def _along(curve: np.ndarray, levels: np.ndarray) -> np.ndarray:
    return np.interp(255 * levels, np.arange(256), curve)


def _as_one(picture: Picture, pictures: Sequence[Picture]) -> np.ndarray:
    """The pixels of a picture; grey, if any of the pictures is."""
    return picture.pixels if all(p.is_color for p in pictures) else grey(picture)[..., None]


def _alike(model: Picture, picture: Picture) -> np.ndarray:
    """The pixels of a picture with as many channels as another one has."""
    if model.is_color == picture.is_color:
        return model.pixels
    return np.broadcast_to(grey(model)[..., None], picture.samples.shape)


def _curves(a: np.ndarray, b: np.ndarray, known: Plane) -> list[np.ndarray]:
    """The curve of each channel, from places that both show and where nothing moved."""
    return [_curve(a[known, c], b[known, c]) for c in range(a.shape[2])]


def _soft(place: Plane, picture: Picture) -> Plane:
    """The places at full size, with a soft edge, (H, W) from 0 to 1."""
    soft = ndimage.gaussian_filter(place.astype(np.float32), WIDE / 2)
    return resized(Picture(soft[..., None], name=picture.name), picture.size).pixels[..., 0]


def _replaced(
    picture: Picture, model: np.ndarray, curves: Sequence[np.ndarray], weight: Plane
) -> Picture:
    """A picture that shows the same as `model`, (H, W, C), where the weight is 1."""
    pixels = picture.pixels.copy()
    inside = weight > 0
    w = weight[inside]
    for c, curve in enumerate(curves):
        own, same = pixels[inside, c], _along(curve, model[inside, c])
        pixels[inside, c] = own + w * (same - own)
    mask = picture.valid & (weight < 0.5)
    return replace(picture, samples=pixels, mask=mask)
