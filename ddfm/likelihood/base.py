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

__all__ = ["Likelihood"]


class Likelihood(ABC):
    """Base of all likelihoods.

    Args:
        sources: two or more, luminance, (B, 1, H, W) in [-1, 1]. Of two the first is the infrared
            one (or MRI, ...), i in the paper's letters, and the second the visible one, v.

    Attributes:
        luma: (gain, offset). What it is given, and gives back, is gain * luminance + offset.
        noise: (B,), the standard deviation of the noise that was found in the sources, 0 where
            they are clean. For likelihoods that weigh the prior by it.
    """

    luma: tuple[float, float] = (1.0, 0.0)

    def __init__(self, *sources: Tensor) -> None:
        shapes = {tuple(source.shape) for source in sources}
        shape = next(iter(shapes), ())
        if len(sources) < 2 or len(shapes) > 1 or len(shape) != 4 or shape[1] != 1:
            raise DdfmError(
                "a likelihood needs two or more sources of one shape (B, 1, H, W), "
                f"not {' and '.join(str(tuple(source.shape)) for source in sources)}"
            )
        self.sources = list(sources)
        self.shape = sources[0].shape
        self.noise = torch.zeros(self.shape[0])

    def __call__(self, f: Tensor, sigma: Tensor | None = None) -> Tensor:
        """One step, in the dtype and on the device of f (FFTs need at least float32).

        Args:
            f: the estimate to rectify, (B, 1, H, W).
            sigma: (B,), the noise that the prior removed, sigma_t / alpha_t. For likelihoods that
                weigh their evidence by it.
        """
        if f.shape != self.shape:
            raise DdfmError(
                f"the estimate has the shape {tuple(f.shape)}, the sources {tuple(self.shape)}"
            )
        dtype = f.dtype if f.dtype == torch.float64 else torch.float32
        self.sources = [source.to(dtype).to(f.device) for source in self.sources]
        return self.step(f.to(dtype), sigma).to(f.dtype)

    @property
    def i(self) -> Tensor:
        return self.sources[0]

    @property
    def v(self) -> Tensor:
        return self.sources[1]

    def first_guess(self) -> Tensor:
        """A fused image from the sources alone, from which a warm start begins."""
        return sum(self.sources) / len(self.sources)

    def finish(self, f: Tensor) -> Tensor:
        """What is left to be done to the sampler's result, luminance (B, 1, H, W)."""
        return f

    def prior_weight(self, sigma: Tensor) -> Tensor:
        """What the prior's estimate weighs at these noise levels, (B,); where it is 0, it is not
        looked at, and need not be made."""
        return torch.ones_like(sigma)

    def shares(self) -> Tensor | None:
        """Which share of the level at each pixel is from which source, (B, K, H, W), if known."""
        return None

    @abstractmethod
    def step(self, f: Tensor, sigma: Tensor | None) -> Tensor:
        """The step itself, with f and the sources in one dtype."""
