"""Rectifying a prior gives a prior: rectified(x_t, t) = likelihood(prior(x_t, t)).

The likelihood works on luminance. A grey prior hands it its image as it is; an RGB prior hands it
the luminance of its image, and what the likelihood changes there is added to R, G and B alike,
which leaves the chroma untouched.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ddfm.imaging.color import luminance
from ddfm.likelihood import Likelihood
from ddfm.priors.prior import Prior
from ddfm.schedule import alpha_sigma

__all__ = ["Rectified"]


class Rectified(Prior):
    """A prior whose x_0 is pulled towards the sources at every step.

    The likelihood remembers, so a `Rectified` serves one run of a sampler.

    Attributes:
        clip: whether x_0 is clipped to [-1, 1] before it is rectified.
        x0_prior: the last x_0 before it was rectified.
    """

    def __init__(self, prior: Prior, likelihood: Likelihood, *, clip: bool = False) -> None:
        super().__init__(
            prior.alphas_bar,
            channels=prior.channels,
            multiple=prior.multiple,
            name=prior.name,
            info=prior.info,
        )
        self.prior = prior
        self.likelihood = likelihood
        self.clip = clip
        self.x0_prior: Tensor | None = None

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        x0 = self.prior(x_t, t)
        if self.clip:
            x0 = x0.clamp(-1, 1)
        self.x0_prior = x0
        alpha, sigma = alpha_sigma(self.alphas_bar, t, x0)
        gain, offset = self.likelihood.luma
        luma = gain * luminance(x0) + offset
        rectified = self.likelihood(luma, (sigma / alpha).flatten())
        return x0 + (rectified - luma) / gain

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Rectified:
        self.prior.to(device, dtype)
        return self
