"""What a likelihood is: a proximal step with memory.

    likelihood(x0, sigma) -> x0

takes the denoised estimate of the fused image and returns one that agrees better with the
sources. It is built for one batch of pairs and carries its state (latent weights,
hyper-parameters, splitting variables), image by image, from step to step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ddfm.errors import InputError
from ddfm.imaging.color import luminance

__all__ = ["Likelihood"]


class Likelihood(ABC):
    """Base of all likelihoods; `step` is all that one must have.

    Args:
        sources: two or more, luminance, (B, 1, H, W) in [-1, 1]. Of two the first is the infrared
            one (or MRI, ...), i in the paper's letters, and the second the visible one, v.

    Attributes:
        recipe: how the loop around it is run where nobody says otherwise: sampler, steps, start,
            clean and clip of `ddfm.FusionConfig`.
        noise: (B,), the standard deviation of the noise that is left in the sources, 0 where they
            are clean. For likelihoods that weigh the prior by it.
    """

    recipe: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, *sources: Tensor) -> None:
        shape = sources[0].shape if sources else ()
        alike = all(source.shape == shape for source in sources)
        if len(sources) < 2 or not alike or len(shape) != 4 or shape[1] != 1:
            raise InputError(
                "a likelihood needs two or more sources of one shape (B, 1, H, W), "
                f"not {' and '.join(str(tuple(source.shape)) for source in sources)}"
            )
        self.sources = list(sources)
        self.shape = sources[0].shape
        self.noise = torch.zeros(self.shape[0])

    def __call__(self, x0: Tensor, sigma: Tensor | None = None) -> Tensor:
        """One step, in the dtype and on the device of x0 (FFTs need at least float32).

        It works on luminance. What it changes there is added to R, G and B of a colour image alike,
        which leaves the chroma untouched.

        Args:
            x0: the estimate to rectify, (B, C, H, W), grey or RGB.
            sigma: (B,), the noise that the prior removed, sigma_t / alpha_t. For likelihoods that
                weigh their evidence by it.
        """
        f = self.to_luma(x0)
        if f.shape != self.shape:
            raise InputError(
                f"the estimate has the shape {tuple(f.shape)}, the sources {tuple(self.shape)}"
            )
        dtype = f.dtype if f.dtype == torch.float64 else torch.float32
        self.sources = [source.to(dtype).to(f.device) for source in self.sources]
        return x0 + self.from_luma(self.step(f.to(dtype), sigma).to(f.dtype) - f)

    @staticmethod
    def prepared(plane: np.ndarray) -> np.ndarray:
        """A source's luminance in [0, 1] as the likelihood is to see it."""
        return plane

    def to_luma(self, x0: Tensor) -> Tensor:
        """What `step` is given of an image."""
        return luminance(x0)

    def from_luma(self, change: Tensor) -> Tensor:
        """What a change that `step` made means for R, G and B."""
        return change

    @property
    def i(self) -> Tensor:
        return self.sources[0]

    @property
    def v(self) -> Tensor:
        return self.sources[1]

    def first_guess(self) -> Tensor:
        """A fused image from the sources alone, from which a warm start begins."""
        return sum(self.sources[1:], self.sources[0]) / len(self.sources)

    def finish(self, f: Tensor) -> Tensor:
        """Luminance in [0, 1] of the sampler's result, (B, 1, H, W) about [-1, 1]."""
        return ((f + 1) / 2).clamp(0, 1)

    @property
    def needs_prior(self) -> bool:
        """Whether the prior's estimate weighs anything; where not, the prior is not asked."""
        return True

    def shares(self) -> Tensor | None:
        """Of the sources in the fused levels, (B, K, H, W), where it knows them."""
        return None

    @abstractmethod
    def step(self, f: Tensor, sigma: Tensor | None) -> Tensor:
        """The step itself, with f and the sources in one dtype."""
