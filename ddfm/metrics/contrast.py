"""Metrics of things that stand out: what people fuse infrared and visible images for.

A thing is a connected patch of a source, from `SMALLEST` pixels to `LARGEST` of the picture, that
lies above the source's mean by `DEVIATIONS` standard deviations (both after a blur of one pixel).
Its contrast is its mean level less that of the ring around it, which leaves out whatever else is
as bright. What the fused image keeps of a thing is its contrast there, between the same pixels, as
a share of its contrast in the source: 1 for all of it, 0 for nothing, and less than 0 where bright
has become dark.

- Targets are the things of the infrared image.
- Lights are the things of the visible image that are brighter there than in the infrared one.

Pictures have few of them or none, so a set of pictures is measured over things, not over pictures:
each share comes with the number of things that it is of (`COUNTED_BY`), and `ddfm.metrics.pooling`
weighs by it. The share of a picture that has none is not a number.
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

BLUR = 1.0  # pixels
DEVIATIONS = 2.0
SMALLEST = 25  # pixels
LARGEST = 0.02  # of the picture
GAP, RING = 1, 5  # pixels: what is left out around a thing, for it fades there, and the ring beyond
LOST = 0.2  # a smaller share of the contrast is as good as nothing

# Which metric says of how many things another one is the mean.
COUNTED_BY = {
    "targets_kept": "targets",
    "targets_lost": "targets",
    "lights_kept": "lights",
    "lights_lost": "lights",
}
COUNTS = frozenset(COUNTED_BY.values())  # neither many nor few is better


class Thing(NamedTuple):
    """The part of the picture that it lies in, and within that its pixels and the ring's."""

    part: tuple[slice, ...]
    inside: Array
    ring: Array

    def contrast(self, pixels: Array) -> float:
        """How far it lies above its ring in an image."""
        near = pixels[self.part]
        return float(near[self.inside].mean() - near[self.ring].mean())


def targets(fused: ImageLike, infrared: ImageLike, visible: ImageLike) -> float:
    """The number of targets, whatever became of them."""
    return float(_targets(fused, infrared, visible).size)


def targets_kept(fused: ImageLike, infrared: ImageLike, visible: ImageLike) -> float:
    """How much of the targets' contrast in the infrared image the fused image keeps, on average.

    Not bounded: twice the contrast counts as 2, and an inverted target below 0.
    """
    return _mean(_targets(fused, infrared, visible))


def targets_lost(fused: ImageLike, infrared: ImageLike, visible: ImageLike) -> float:
    """The share of targets that keep less than a fifth of their contrast, or are inverted."""
    return _mean(_targets(fused, infrared, visible) < LOST)


def lights(fused: ImageLike, infrared: ImageLike, visible: ImageLike) -> float:
    """The number of lights, whatever became of them."""
    return float(_lights(fused, infrared, visible).size)


def lights_kept(fused: ImageLike, infrared: ImageLike, visible: ImageLike) -> float:
    """How much of the lights' contrast in the visible image the fused image keeps, on average."""
    return _mean(_lights(fused, infrared, visible))


def lights_lost(fused: ImageLike, infrared: ImageLike, visible: ImageLike) -> float:
    """The share of lights that keep less than a fifth of their contrast, or are inverted."""
    return _mean(_lights(fused, infrared, visible) < LOST)


def _targets(fused: ImageLike, infrared: ImageLike, visible: ImageLike) -> Array:
    """What is kept of each target."""
    f, (ir, _) = pair_up(fused, infrared, visible)
    return f.shared(_kept, ir, None)


def _lights(fused: ImageLike, infrared: ImageLike, visible: ImageLike) -> Array:
    """What is kept of each light."""
    f, (ir, vis) = pair_up(fused, infrared, visible)
    return f.shared(_kept, vis, ir)


def _kept(f: Grey, source: Grey, darker: Grey | None) -> Array:
    """What is kept of each thing of a source; of those that are darker in another, if given."""
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
