"""A denoiser guided by a likelihood: guided(x_t, t) = likelihood(prior(x_t, t))."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from ddfm.errors import InputError, short
from ddfm.numerics.planes import finite, of_shape
from ddfm.priors.schedule import alpha_sigma

__all__ = ["GuidedDenoiser"]


class Denoiser(Protocol):
    """Returns the posterior mean of a clean image in [-1, 1], and has a noise schedule."""

    @property
    def name(self) -> str: ...

    @property
    def alphas_bar(self) -> Tensor: ...

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor: ...


class GuidedDenoiser:
    """A denoiser whose x_0 is pulled towards the sources at every step.

    The prior is not evaluated where its x_0 has no weight in the likelihood.

    Args:
        likelihood: (x_0, sigma_t / alpha_t) -> x_0. It keeps state, so it is for one run of a
            sampler. If it has a method `needs_prior`, this takes sigma_t / alpha_t and returns
            whether the prior has any weight.
        clip: whether x_0 is clipped to [-1, 1] before it is passed to the likelihood.

    Attributes:
        x0_prior: the last x_0 before the likelihood.
    """

    def __init__(
        self, prior: Denoiser, likelihood: Callable[[Tensor, Tensor], Tensor], *, clip: bool = False
    ) -> None:
        self.prior = prior
        self.likelihood = likelihood
        self.clip = clip
        self.x0_prior: Tensor | None = None

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        t = _timesteps(t, len(x_t), len(self.prior.alphas_bar))
        alpha, sigma = alpha_sigma(self.prior.alphas_bar, t, x_t)
        noise = (sigma / alpha).flatten()
        needs_prior = getattr(self.likelihood, "needs_prior", None)
        asked = needs_prior is None or needs_prior(noise)
        x0 = self._estimate(x_t, t) if asked else x_t / alpha
        if self.clip:
            x0 = x0.clamp(-1, 1)
        self.x0_prior = x0
        return finite(self.likelihood(x0, noise), f"the step of {type(self.likelihood).__name__}")

    def _estimate(self, x_t: Tensor, t: Tensor) -> Tensor:
        prior = f"the prior {self.prior.name}"
        return finite(of_shape(self.prior(x_t, t), x_t.shape, prior), prior)


def _timesteps(t: Any, images: int, T: int) -> Tensor:
    """t as int64; a sampler that passed it may be the user's own, so it is checked."""
    if not isinstance(t, Tensor):
        found = short(t)
    elif t.is_floating_point() or t.is_complex() or t.dtype == torch.bool or t.shape != (images,):
        found = f"{str(t.dtype).removeprefix('torch.')} of shape {tuple(t.shape)}"
    else:
        t = t.long()  # before the comparison: T does not fit into the smallest types
        if t.is_meta or ((t >= 0) & (t < T)).all():  # meta tensors have no values
            return t
        found = short(t.tolist())
    raise InputError(
        "a sampler must call its denoiser with t an int64 tensor of one timestep for each image, "
        f"here of shape ({images},) and from 0 to {T - 1}, not {found}"
    )
