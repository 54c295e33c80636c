"""A denoiser guided by a likelihood is a denoiser: guided(x_t, t) = likelihood(prior(x_t, t)).

The likelihood works on luminance. A grey prior hands it its image as it is; an RGB prior hands it
the luminance of its image, and what the likelihood changes there is added to R, G and B alike,
which leaves the chroma untouched.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ddfm.imaging.color import luminance
from ddfm.priors.schedule import alpha_sigma

__all__ = ["Denoiser", "GuidedDenoiser", "Proximal"]


class Denoiser(Protocol):
    """The posterior mean of a clean image in [-1, 1]; a prior is one that owns its schedule."""

    @property
    def alphas_bar(self) -> Tensor: ...

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor: ...


class Proximal(Protocol):
    """A likelihood, as it is seen from here.

    Attributes:
        luma: (gain, offset). What it is given, and gives back, is gain * luminance + offset.
    """

    @property
    def luma(self) -> tuple[float, float]: ...

    def prior_weight(self, sigma: Tensor) -> Tensor: ...

    def __call__(self, f: Tensor, sigma: Tensor | None = None) -> Tensor: ...


class GuidedDenoiser:
    """A denoiser whose x_0 is pulled towards the sources at every step.

    Where the likelihood gives the prior's estimate no weight, the prior is not asked.

    The likelihood remembers, so it serves one run of a sampler.

    Attributes:
        clip: whether x_0 is clipped to [-1, 1] before the likelihood sees it.
        x0_prior: the last x_0 before the likelihood.
    """

    def __init__(self, prior: Denoiser, likelihood: Proximal, *, clip: bool = False) -> None:
        self.prior = prior
        self.likelihood = likelihood
        self.clip = clip
        self.x0_prior: Tensor | None = None

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = alpha_sigma(self.prior.alphas_bar, t, x_t)
        noise = (sigma / alpha).flatten()
        asked = bool(self.likelihood.prior_weight(noise).any())
        x0 = self.prior(x_t, t) if asked else x_t / alpha
        if self.clip:
            x0 = x0.clamp(-1, 1)
        self.x0_prior = x0
        gain, offset = self.likelihood.luma
        luma = gain * luminance(x0) + offset
        rectified = self.likelihood(luma, noise)
        return x0 + (rectified - luma) / gain
