"""Metrics of bright things, which are the reason to fuse infrared and visible images.

A thing is a connected patch of a source, from `SMALLEST` pixels to the share `LARGEST` of the
picture, that is brighter than the source's mean by `DEVIATIONS` standard deviations (all after a
blur of one pixel). Its contrast is its mean level less that of the ring around it, which leaves out
other pixels as bright. What the fused image keeps of a thing is the contrast there, between the
same pixels, as a share of the contrast in the source: 1 if all is kept, 0 if none, and negative if
bright has become dark.

- Targets are the things of the infrared image.
- Lights are the things of the visible image that are brighter there than in the infrared image.

Since pictures have few things or none, means over a set of pictures are taken over things, not
pictures: each share comes with the number of its things (`COUNTED_BY`), by which
`ddfm.metrics.pooling` weights it. For a picture without things, the share is NaN.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation, find_objects, gaussian_filter, label

from ddfm.metrics.grey import Array, Grey, ImageLike, pair_up

__all__ = [
    "COUNTED_BY",
    "COUNTS",
    "lights",
    "lights_kept",
    "lights_lost",
    "targets",
    "targets_kept",
    "targets_lost",
]

BLUR = 1.0  # sigma in pixels
DEVIATIONS = 2.0  # standard deviations above the mean
SMALLEST = 25  # pixels of the smallest thing
LARGEST = 0.02  # share of the picture that the largest thing covers
GAP, RING = 1, 5  # pixels: width of the margin where a thing fades, and of the ring around it
LOST = 0.2  # a thing that keeps a smaller share of its contrast is lost

# For each mean over things, the metric that gives their number.
COUNTED_BY = {
    "targets_kept": "targets",
    "targets_lost": "targets",
    "lights_kept": "lights",
    "lights_lost": "lights",
}
COUNTS = frozenset(COUNTED_BY.values())  # numbers of things, of which none is better than another


class Thing(NamedTuple):
    """A thing: a part of the picture around it, and within that its pixels and its ring's."""

    part: tuple[slice, ...]
    inside: Array
    ring: Array

    def contrast(self, pixels: Array) -> float:
        """Its mean level less that of its ring, in an image."""
        near = pixels[self.part]
        return float(near[self.inside].mean() - near[self.ring].mean())


def targets(fused: ImageLike, infrared: ImageLike, visible: ImageLike) -> float:
    """The number of targets, kept or not."""
    return float(_targets(fused, infrared, visible).size)


def targets_kept(fused: ImageLike, infrared: ImageLike, visible: ImageLike) -> float:
    """The share of the targets' contrast in the infrared image that the fused image keeps.

    A mean over targets. Not bounded: twice the contrast counts as 2, an inverted target below 0.
    """
    return _mean(_targets(fused, infrared, visible))


def targets_lost(fused: ImageLike, infrared: ImageLike, visible: ImageLike) -> float:
    """The share of targets that keep less than a fifth of their contrast, or are inverted."""
    return _mean(_targets(fused, infrared, visible) < LOST)


def lights(fused: ImageLike, infrared: ImageLike, visible: ImageLike) -> float:
    """The number of lights, kept or not."""
    return float(_lights(fused, infrared, visible).size)


def lights_kept(fused: ImageLike, infrared: ImageLike, visible: ImageLike) -> float:
    """The share of the lights' contrast in the visible image that is kept, a mean over lights."""
    return _mean(_lights(fused, infrared, visible))


def lights_lost(fused: ImageLike, infrared: ImageLike, visible: ImageLike) -> float:
    """The share of lights that keep less than a fifth of their contrast, or are inverted."""
    return _mean(_lights(fused, infrared, visible) < LOST)


def _targets(fused: ImageLike, infrared: ImageLike, visible: ImageLike) -> Array:
    """The share of contrast that is kept, for each target."""
    f, (ir, _) = pair_up(fused, infrared, visible)
    return f.shared(_kept, ir, None)


def _lights(fused: ImageLike, infrared: ImageLike, visible: ImageLike) -> Array:
    """The share of contrast that is kept, for each light."""
    f, (ir, vis) = pair_up(fused, infrared, visible)
    return f.shared(_kept, vis, ir)


def _kept(f: Grey, source: Grey, darker: Grey | None) -> Array:
    """The share that is kept of each thing; if `darker` is given, only of those darker there."""
    shares = []
    for thing in source.shared(_things):
        inside = thing.part, thing.inside
        if darker is not None and _level(source, *inside) <= _level(darker, *inside):
            continue
        shares.append(thing.contrast(f.pixels) / thing.contrast(source.pixels))
    return np.array(shares)


def _things(source: Grey) -> list[Thing]:
    blurred = gaussian_filter(source.pixels, BLUR)
    bright = blurred > blurred.mean() + DEVIATIONS * blurred.std()
    labels, _ = label(bright)
    sizes = np.bincount(labels.ravel())
    things = []
    for k, box in enumerate(find_objects(labels), 1):
        if not SMALLEST <= sizes[k] <= LARGEST * bright.size:
            continue
        reach = GAP + RING
        part = tuple(slice(max(0, side.start - reach), side.stop + reach) for side in box)
        inside = labels[part] == k
        near = binary_dilation(inside, iterations=GAP)
        ring = binary_dilation(near, iterations=RING) & ~near & ~bright[part]
        thing = Thing(part, inside, ring)
        if ring.any() and thing.contrast(source.pixels) > 0:
            things.append(thing)
    return things


def _level(image: Grey, part: tuple[slice, ...], inside: Array) -> float:
    return float(image.pixels[part][inside].mean())


def _mean(values: Array) -> float:
    return float(values.mean()) if values.size else math.nan
