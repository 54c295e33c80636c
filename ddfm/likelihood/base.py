"""What a likelihood is: a proximal step with memory.

    likelihood(x0, sigma) -> x0

takes the denoised estimate of the fused image, and returns one that agrees better with the
sources. It is built for one batch of pairs and carries its state (latent weights,
hyper-parameters, splitting variables), image by image, from step to step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ddfm.errors import InputError
from ddfm.imaging.color import luminance
from ddfm.numerics.filters import smooth
from ddfm.numerics.poisson import steepness

__all__ = ["Likelihood", "Shares", "share_of"]

REACH = 1.5  # pixels, over which a change is compared with the image
LEAST = 1 / 127.5  # a grey level; less counts as nothing


@dataclass(frozen=True, eq=False)
class Shares:
    """Shares, which sum to one at each pixel: of each source, and last of the prior.

    Attributes:
        levels, gradients: (B, K + 1, H, W) each.
    """

    levels: Tensor
    gradients: Tensor

    def with_change(
        self, f: Tensor, change: Tensor, change_of_gradients: Tensor | None = None
    ) -> Shares:
        """Shares where the prior has made a change (B, 1, H, W), which f includes.

        Args:
            change_of_gradients: an image with the gradients of the change, if they differ.
        """
        levels, gradients = share_of(change, f)
        if change_of_gradients is not None:
            gradients = share_of(change_of_gradients, f)[1]
        return Shares(_beside(levels, self.levels), _beside(gradients, self.gradients))

    @classmethod
    def of_sources(cls, levels: Tensor, gradients: Tensor) -> Shares:
        """Shares of the sources alone, (B, K, H, W), and none of the prior."""
        nothing = torch.zeros_like(levels[:, :1])
        return cls(torch.cat([levels, nothing], 1), torch.cat([gradients, nothing], 1))


def share_of(change: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """How large a change is, relative to the levels of f above black, and to its gradients.

    |c| / (|c| + |f|), of means over a few pixels.
    """
    level = smooth(change, REACH).abs()
    of_levels = level / (level + smooth(f + 1, REACH).clamp(min=LEAST))
    size = steepness(change, REACH)
    return of_levels, size / (size + steepness(f, REACH).clamp(min=LEAST))


def _beside(share: Tensor, others: Tensor) -> Tensor:
    shares = (1 - share) * others
    return torch.cat([shares[:, :-1], shares[:, -1:] + share], dim=1)


class Likelihood(ABC):
    """Base of all likelihoods; `step` is all that one must have.

    Args:
        sources: two or more, luminance, (B, 1, H, W) in [-1, 1]. Of two the first is the infrared
            one (or MRI, ...), i in the paper's letters, and the second the visible one, v.

    Attributes:
        recipe: the defaults of the loop around it: sampler, steps, start, clean and clip of
            `ddfm.FusionConfig`.
        noise: (B,), the standard deviation of the noise left in the sources, 0 where they are
            clean, for likelihoods that weigh the prior by it.
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
            sigma: (B,), the noise that the prior removed, sigma_t / alpha_t, for likelihoods that
                weigh their evidence by it.
        """
        f = self.to_luma(x0)
        if f.shape != self.shape:
            raise InputError(
                f"the estimate has the shape {tuple(f.shape)}, the sources {tuple(self.shape)}"
            )
        dtype = f.dtype if f.dtype == torch.float64 else torch.float32
        self.sources = [source.to(dtype).to(f.device) for source in self.sources]
        stepped = self.step(f.to(dtype), sigma)  # type: ignore[arg-type]  # a sampler says it
        return x0 + self.from_luma(stepped.to(f.dtype) - f)

    @staticmethod
    def prepared(plane: np.ndarray) -> np.ndarray:
        """A source's luminance in [0, 1] as the likelihood is to see it."""
        return plane

    def to_luma(self, x0: Tensor) -> Tensor:
        """What `step` is given of an image."""
        return luminance(x0)

    def from_luma(self, change: Tensor) -> Tensor:
        """What to add to R, G and B for a change that `step` made."""
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

    def needs_prior(self, sigma: Tensor) -> bool:
        """Whether the prior's estimate at noise sigma (B,) has weight; if not, it is not asked."""
        return True

    def shares(self, rows: slice = slice(None)) -> Tensor | None:
        """The share of each source in the fused levels, (B, K, H, W), in these rows, if known."""
        return None

    def attribution(self) -> Shares | None:
        """Which sources the last estimate has its levels and gradients from, if known."""
        return None

    def again(self, *sources: Tensor) -> Tensor | None:
        """What the last estimate would be with other sources of the same scene, without the prior.

        For a likelihood of one group: (N, 1, H, W), of sources of that shape. None if the loop has
        to be run again.
        """
        return None

    @abstractmethod
    def step(self, f: Tensor, sigma: Tensor) -> Tensor:
        """The step itself, with f and the sources in one dtype."""
