"""Levels of grey that use the range well: a curve that spreads them, and one that folds them back.

A curve is two or more numbers: what as many levels, evenly spaced from black to white, become.
Between them it is straight, and beyond black and white it goes on as it ends.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["along", "fold", "given_curve", "good_curve", "knots"]

KNOTS = 33  # of a curve that is found here
CROWDED = 1.5  # times as many pixels as on average: what more there are is spread over all levels


def knots(count: int, like: Tensor) -> Tensor:
    """The levels from black to white that a curve is of; the curve that changes nothing."""
    return torch.linspace(-1, 1, count, dtype=like.dtype, device=like.device)


def along(curve: Tensor, u: Tensor) -> Tensor:
    """What the levels u (B, ...) become by the curve of each image, (B, n)."""
    bins = curve.shape[-1] - 1
    at = (u.flatten(1) + 1) / 2 * bins
    left = at.floor().long().clamp(0, bins - 1)  # clamped last: what is no number has a place, too
    before, after = (curve.gather(1, left + k) for k in (0, 1))
    return (before + (at - left) * (after - before)).view_as(u)


def good_curve(u: Tensor, spread: float, gains: tuple[float, float], even: float = 0.0) -> Tensor:
    """The curve (B, KNOTS) that spreads the levels u of each image, and keeps them in the range.

    First they are evened out: by a share `even`, levels that many pixels have are drawn apart, at
    the cost of those that few have. Then a gain gives them the standard deviation `spread`, as far
    as `gains` and the range allow. The darkest stay where they are, unless the brightest would go
    beyond white.
    """
    step = 1 + max(u.shape[-2:]) // 1024  # a part of the pixels tells about a large image
    part = u[..., ::step, ::step].flatten(1)
    low, high = part.quantile(u.new_tensor([0.01, 0.99]), dim=1)[..., None]
    curve = knots(KNOTS, u).expand(len(u), -1)
    if even:
        curve = curve + even * (_equalising(part, low, high) - curve)
        part, low, high = (along(curve, x) for x in (part, low, high))
    deviation = part.std(dim=1, keepdim=True, correction=0)
    gain = (spread / deviation.clamp(min=1e-3)).clamp(*gains)
    gain = torch.minimum(gain, 2 / (high - low).clamp(min=1e-3)).clamp(min=1)
    # Where there is no gain, there is no offset, but for what is beyond white.
    return gain * curve + torch.minimum((1 - gain) * low, 1 - gain * high)


def given_curve(curve: Sequence[float] | None, own: Tensor) -> Tensor:
    """A curve that was given for all images (B, n), or the images' own."""
    return own if curve is None else own.new_tensor(curve).expand(len(own), -1)


def _equalising(u: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The curve that makes levels from low to high about equally frequent, and keeps both ends.

    Contrast-limited histogram equalisation (Pizer et al. 1987), of whole images: what is cut off
    at CROWDED is given back to all levels alike.
    """
    bins = KNOTS - 1
    at = ((u.clamp(low, high) + 1) / 2 * bins).long().clamp(0, bins - 1)
    count = torch.zeros(len(u), bins, dtype=torch.long, device=u.device)
    share = count.scatter_add(1, at, torch.ones_like(at)).to(u) / at.shape[1]
    edges = knots(KNOTS, u)
    inside = (edges[1:].minimum(high) - edges[:-1].maximum(low)).clamp(min=0)
    width = inside / inside.sum(dim=1, keepdim=True).clamp(min=1e-6)
    share = share.minimum(CROWDED * width)
    share = share + width * (1 - share.sum(dim=1, keepdim=True))
    # A bin at an end has its pixels in a part of it only, and rises there as steeply.
    slope = (high - low) * share / inside.clamp(min=1e-6)
    rise = slope * (2 / bins)
    curve = torch.cat([torch.zeros_like(low), rise.cumsum(dim=1)], dim=1)
    return curve + low - along(curve, low)


def fold(f: Tensor, knee: float) -> Tensor:
    """Levels beyond white, smoothly back: the identity up to 1 - knee, below 1 from there on.

    The curve is 1 - knee exp(-(f - 1 + knee) / knee), with slope 1 where it begins. It is the same
    for every image, so frames do not flicker. Black is black: what lies beyond it is clipped, for
    backgrounds that are black in all sources must come out so.
    """
    over = (f - (1 - knee)).clamp(min=0)
    return (f - over + knee * (1 - torch.exp(-over / knee))).clamp(min=-1)
