"""What a likelihood is: a proximal step with memory.

    likelihood(f, sigma) -> f

takes the denoised estimate of the fused image and returns one that agrees better with the
sources. It is built for one batch of pairs and carries its state (latent weights,
hyper-parameters, splitting variables), image by image, from step to step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ddfm.errors import DdfmError

__all__ = ["Likelihood", "per_image_mean"]


class Likelihood(ABC):
    """Base of all likelihoods.

    Args:
        i: first source (infrared, MRI ...), luminance, (B, 1, H, W) in [-1, 1].
        v: second source (visible, CT ...), likewise.

    Attributes:
        luma: (gain, offset). What it is given, and gives back, is gain * luminance + offset.
    """

    luma: tuple[float, float] = (1.0, 0.0)

    def __init__(self, i: Tensor, v: Tensor) -> None:
        if i.ndim != 4 or i.shape[1] != 1 or i.shape != v.shape:
            raise DdfmError(
                "a likelihood needs two sources of one shape (B, 1, H, W), "
                f"not {tuple(i.shape)} and {tuple(v.shape)}"
            )
        self.i = i
        self.v = v

    def __call__(self, f: Tensor, sigma: Tensor | None = None) -> Tensor:
        """One step, in the dtype and on the device of f (FFTs need at least float32).

        Args:
            f: the estimate to rectify, (B, 1, H, W).
            sigma: (B,), the noise that the prior removed, sigma_t / alpha_t. For likelihoods that
                weigh their evidence by it.
        """
        if f.shape != self.i.shape:
            raise DdfmError(
                f"the estimate has the shape {tuple(f.shape)}, the sources {tuple(self.i.shape)}"
            )
        dtype = f.dtype if f.dtype == torch.float64 else torch.float32
        self.i = self.i.to(dtype).to(f.device)
        self.v = self.v.to(dtype).to(f.device)
        return self.step(f.to(dtype), sigma).to(f.dtype)

    def first_guess(self) -> Tensor:
        """A fused image from the sources alone, from which a warm start begins."""
        return (self.i + self.v) / 2

    def finish(self, f: Tensor) -> Tensor:
        """What is left to be done to the sampler's result, luminance (B, 1, H, W)."""
        return f

    @abstractmethod
    def step(self, f: Tensor, sigma: Tensor | None) -> Tensor:
        """The step itself, with f and the sources in one dtype."""


def per_image_mean(x: Tensor) -> Tensor:
    """(B, 1, H, W) -> (B, 1, 1, 1)."""
    return x.mean(dim=(1, 2, 3), keepdim=True)
