"""Tone: spreads the grey levels over the range, in a separate step after the fusion.

A first curve spreads the levels of an image; a second one folds levels beyond white back into the
range. The first is given by its values at two or more levels, evenly spaced from black to white. It
is linear between them, and extrapolated linearly beyond black and white.
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

KNEE = 0.05  # width below white that levels beyond white are folded back into


@dataclass(frozen=True)
class Tone:
    """The settings of the tone step, which is applied by calling it.

    Attributes:
        spread: standard deviation that levels should have; 0 changes nothing.
        gains: the least and the greatest gain.
        curve: one curve for all images of a series; None finds one for each image.
    """

    spread: float = 0.0
    gains: tuple[float, float] = (1.0, 1.33)
    curve: Sequence[float] | None = None

    @classmethod
    def among(cls, options: Mapping[str, Any]) -> Tone:
        """The tone from those options of a fusion that belong to it."""
        names = [field.name for field in fields(cls)]
        return cls(**{k: v for k, v in options.items() if k in names and v is not None})

    @classmethod
    def others(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a fusion that do not belong to the tone."""
        names = [field.name for field in fields(cls)]
        return {k: v for k, v in options.items() if k not in names}

    def with_curve_of(self, chosen: Mapping[str, Any]) -> Tone:
        """The same tone with the curve found for one image, for other images of the scene."""
        return self if self.curve is not None else replace(self, curve=chosen.get("curve"))

    def __call__(self, fused: Tensor) -> tuple[Tensor, list[dict[str, Any]]]:
        """Spreads luminance (B, 1, H, W) in [0, 1]; also returns the curve found for each image."""
        fused, own = self.applied(fused)
        if own is None:
            return fused, [{} for _ in fused]
        return fused, [{"curve": tuple(curve)} for curve in own.tolist()]

    def applied(self, fused: Tensor) -> tuple[Tensor, Tensor | None]:
        """The spread luminance, and the curves as a tensor, or None if nothing is spread."""
        if not self.spread and self.curve is None:
            return fused, None
        own = good_curve(2 * fused - 1, self.spread, self.gains)
        return (_by(own, fused) if self.curve is None else self.again(fused)), own

    def again(self, fused: Tensor) -> Tensor:
        """The luminance spread by `curve`, without looking for another; as it is if there is none.

        This is for the samples of an image whose tone has been found.
        """
        if self.curve is None:
            return fused
        return _by(fused.new_tensor(self.curve).expand(len(fused), -1), fused)


def _by(curve: Tensor, fused: Tensor) -> Tensor:
    """Luminance mapped by the curve of each image, (B, n)."""

    def of(band: Band) -> Tensor:
        return ((toned(2 * band.around(fused) - 1, curve) + 1) / 2).clamp(0, 1)

    return in_bands(of, fused, 0)


def knots(count: int, like: Tensor) -> Tensor:
    """Evenly spaced levels from black to white; as a curve, the identity."""
    return torch.linspace(-1, 1, count, dtype=like.dtype, device=like.device)


def along(curve: Tensor, u: Tensor) -> Tensor:
    """The levels u (B, ...) mapped by the curve of each image, (B, n)."""
    bins = curve.shape[-1] - 1
    at = (u.flatten(1) + 1) / 2 * bins
    left = at.floor().long().clamp(0, bins - 1)  # clamped last, for NaN too
    before, after = (curve.gather(1, left + k) for k in (0, 1))
    return (before + (at - left) * (after - before)).view_as(u)


def good_curve(u: Tensor, spread: float, gains: tuple[float, float]) -> Tensor:
    """The linear curve (B, 2) that spreads the levels u of each image within the range.

    Its gain brings their standard deviation to `spread`, as far as `gains` and the range allow. The
    darkest levels stay where they are, unless the brightest would exceed white.
    """
    step = 1 + torch.sym_max(*u.shape[-2:]) // 1024  # a subset is enough for a large image
    part = u[..., ::step, ::step]
    low, high = part.flatten(1).quantile(u.new_tensor([0.01, 0.99]), dim=1)[..., None]
    deviation = per_image_mean((part - per_image_mean(part)) ** 2).sqrt().view(-1, 1)
    gain = (spread / deviation.clamp(min=1e-3)).clamp(*gains)
    gain = torch.minimum(gain, 2 / (high - low).clamp(min=1e-3)).clamp(min=1)
    # Without a gain there is no offset either, unless levels are beyond white.
    return gain * knots(2, u) + torch.minimum((1 - gain) * low, 1 - gain * high)


def toned(f: Tensor, curve: Tensor) -> Tensor:
    """f (B, 1, H, W) mapped by the curve of each image; exactly f if the curve is the identity."""
    moves = (curve - knots(curve.shape[-1], curve)).abs().amax(dim=1) > 1e-6
    return torch.where(moves.view(-1, 1, 1, 1), fold(along(curve, f), KNEE), f)


def fold(f: Tensor, knee: float) -> Tensor:
    """Folds levels beyond white smoothly back: f up to 1 - knee, and less than 1 above.

    Above 1 - knee, the curve is 1 - knee exp(-(f - 1 + knee) / knee), which begins with slope 1. It
    is the same for all images, so frames do not flicker. Levels beyond black are clipped, so that a
    background that is black in all sources stays black.
    """
    over = (f - (1 - knee)).clamp(min=0)
    return (f - over + knee * (1 - torch.exp(-over / knee))).clamp(min=-1)
