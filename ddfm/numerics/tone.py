"""Tone: levels of grey that use the range well, after the fusion and apart from it.

One curve spreads the levels of an image, and another folds back what is beyond white.
A curve is two or more numbers: what as many levels, evenly spaced from black to white, become.
Between them it is straight, and beyond black and white it goes on as it ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from ddfm.numerics.bands import Band, in_bands
from ddfm.numerics.filters import per_image_mean

__all__ = ["Tone", "along", "fold", "good_curve", "knots", "toned"]

KNEE = 0.05  # width of the curve that folds levels back below white


@dataclass(frozen=True)
class Tone:
    """The step after a fusion.

    Attributes:
        spread: standard deviation that levels are to have; 0 leaves all as it is.
        gains: the least and the greatest gain.
        curve: for all images of a series; None is the image's own.
    """

    spread: float = 0.0
    gains: tuple[float, float] = (1.0, 1.33)
    curve: Sequence[float] | None = None

    @classmethod
    def among(cls, options: Mapping[str, Any]) -> Tone:
        """The tone that is among the options of a fusion."""
        names = [field.name for field in fields(cls)]
        return cls(**{k: v for k, v in options.items() if k in names and v is not None})

    @classmethod
    def others(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a fusion that are not of the tone."""
        names = [field.name for field in fields(cls)]
        return {k: v for k, v in options.items() if k not in names}

    def with_curve_of(self, chosen: Mapping[str, Any]) -> Tone:
        """The tone of an image that has chosen its curve, for others of it."""
        return self if self.curve is not None else replace(self, curve=chosen.get("curve"))

    def __call__(self, fused: Tensor) -> tuple[Tensor, list[dict[str, Any]]]:
        """Luminance (B, 1, H, W) in [0, 1], its levels spread, and each image's own curve."""
        fused, own = self.applied(fused)
        if own is None:
            return fused, [{} for _ in fused]
        return fused, [{"curve": tuple(curve)} for curve in own.tolist()]

    def applied(self, fused: Tensor) -> tuple[Tensor, Tensor | None]:
        """The same, with the curves as a tensor; None if no levels are to be spread."""
        if not self.spread and self.curve is None:
            return fused, None
        own = good_curve(2 * fused - 1, self.spread, self.gains)
        curve = own if self.curve is None else own.new_tensor(self.curve).expand(len(own), -1)

        def of(band: Band) -> Tensor:
            return ((toned(2 * band.around(fused) - 1, curve) + 1) / 2).clamp(0, 1)

        return in_bands(of, fused, 0), own


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


def good_curve(u: Tensor, spread: float, gains: tuple[float, float]) -> Tensor:
    """The straight curve (B, 2) that spreads the levels u of each image, and keeps them in range.

    A gain gives them the standard deviation `spread`, as far as `gains` and the range allow. The
    darkest stay where they are, unless the brightest would go beyond white.
    """
    step = 1 + torch.sym_max(*u.shape[-2:]) // 1024  # a part of a large image tells about it
    part = u[..., ::step, ::step]
    low, high = part.flatten(1).quantile(u.new_tensor([0.01, 0.99]), dim=1)[..., None]
    deviation = per_image_mean((part - per_image_mean(part)) ** 2).sqrt().view(-1, 1)
    gain = (spread / deviation.clamp(min=1e-3)).clamp(*gains)
    gain = torch.minimum(gain, 2 / (high - low).clamp(min=1e-3)).clamp(min=1)
    # Where there is no gain, there is no offset, but for what is beyond white.
    return gain * knots(2, u) + torch.minimum((1 - gain) * low, 1 - gain * high)


def toned(f: Tensor, curve: Tensor) -> Tensor:
    """f (B, 1, H, W) by the curve of each image; by one that changes nothing, f as it is."""
    moves = (curve - knots(curve.shape[-1], curve)).abs().amax(dim=1) > 1e-6
    return torch.where(moves.view(-1, 1, 1, 1), fold(along(curve, f), KNEE), f)


def fold(f: Tensor, knee: float) -> Tensor:
    """Levels beyond white, smoothly back: the identity up to 1 - knee, below 1 from there on.

    The curve is 1 - knee exp(-(f - 1 + knee) / knee), with slope 1 where it begins. It is the same
    for every image, so frames do not flicker. Black is black: what lies beyond it is clipped, for
    backgrounds that are black in all sources must come out so.
    """
    over = (f - (1 - knee)).clamp(min=0)
    return (f - over + knee * (1 - torch.exp(-over / knee))).clamp(min=-1)
