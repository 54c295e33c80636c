"""The interface of all likelihoods: a proximal step that keeps its state.

    likelihood(x0, sigma) -> x0

takes the denoised estimate of the fused image, and returns one that agrees better with the
sources. A likelihood is made for one batch of pairs. It carries its state (latent weights,
hyper-parameters, splitting variables) from step to step, separately for each image.
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
from ddfm.numerics.planes import levels_of, of_shape
from ddfm.numerics.poisson import steepness

__all__ = ["Likelihood", "Shares", "share_of"]

REACH = 1.5  # pixels; standard deviation of the window in which a change and the image are compared
NO_STEP = "the objective needs what a step leaves behind; call it after one"
LEAST = 1 / 127.5  # one grey level, of levels from -1 to 1; avoids quotients of smaller values


@dataclass(frozen=True, eq=False)
class Shares:
    """The share of each source, and last that of the prior, at each pixel; they sum to one.

    Attributes:
        levels, gradients: (B, K + 1, H, W) each.
    """

    levels: Tensor
    gradients: Tensor

    def with_change(
        self, f: Tensor, change: Tensor, change_of_gradients: Tensor | None = None
    ) -> Shares:
        """These shares, with a share of the prior that is measured by what it changed.

        Args:
            f: the fused image, which includes the change.
            change: (B, 1, H, W), what the prior changed.
            change_of_gradients: an image with the gradients that the prior changed, if these are
                not the gradients of `change`.
        """
        levels, gradients = share_of(change, f)
        if change_of_gradients is not None:
            gradients = share_of(change_of_gradients, f)[1]
        return Shares(_beside(levels, self.levels), _beside(gradients, self.gradients))

    @classmethod
    def of_sources(cls, levels: Tensor, gradients: Tensor) -> Shares:
        """The shares of the sources, (B, K, H, W), with 0 for the prior."""
        nothing = torch.zeros_like(levels[:, :1])
        return cls(torch.cat([levels, nothing], 1), torch.cat([gradients, nothing], 1))


def share_of(change: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """The size of a change, relative to the levels of f above black, and to the gradients of f.

    Both are |c| / (|c| + |f|), where |c| and |f| are averaged over a few pixels.
    """
    level = smooth(change, REACH).abs()
    of_levels = level / (level + smooth(f + 1, REACH).clamp(min=LEAST))
    size = steepness(change, REACH)
    return of_levels, size / (size + steepness(f, REACH).clamp(min=LEAST))


def _beside(share: Tensor, others: Tensor) -> Tensor:
    shares = (1 - share) * others
    return torch.cat([shares[:, :-1], shares[:, -1:] + share], dim=1)


class Likelihood(ABC):
    """Base class of all likelihoods; a subclass must define `step` only.

    Args:
        sources: luminance of two or more sources, (B, 1, H, W) in [-1, 1]. Of two, the first is the
            infrared image (or MRI, ...), i in the paper's letters, and the second is the visible
            image, v.

    Attributes:
        recipe: defaults for the loop: `sampler`, `steps`, `start`, `clean` and `clip` of
            `ddfm.FusionConfig`; and `tone`, a dictionary of `spread` and `gains`, if levels are
            to be spread in the end.
        noise: (B,), the standard deviation of the noise left in the sources, 0 for clean ones. A
            likelihood may weight the prior by it.
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
        self.noise = torch.zeros(self.shape[0], dtype=torch.float32)

    def __call__(self, x0: Tensor, sigma: Tensor | None = None) -> Tensor:
        """One step, on the device of x0 and in its dtype (at least float32, which FFTs need).

        The step works on luminance. In a colour image, the change is added equally to R, G and B,
        which keeps the chroma.

        Args:
            x0: the estimate to rectify, (B, C, H, W), grey or RGB.
            sigma: (B,), standard deviation of the noise that the prior removed, sigma_t / alpha_t.
                A likelihood may weight its evidence by it.
        """
        f = self.to_luma(x0)
        if f.shape != self.shape:
            raise InputError(
                f"the estimate has the shape {tuple(f.shape)}, the sources {tuple(self.shape)}"
            )
        dtype = f.dtype if f.dtype == torch.float64 else torch.float32
        self.sources = [source.to(dtype).to(f.device) for source in self.sources]
        # A step may write into what it is given.
        own, own_sigma = f.to(dtype, copy=True), None if sigma is None else sigma.clone()
        stepped = self.step(own, own_sigma)  # type: ignore[arg-type]  # a sampler says it
        stepped = of_shape(stepped, f.shape, f"the step of {type(self).__name__}")
        return x0 + self.from_luma(stepped.to(f.dtype) - f)

    @staticmethod
    def prepared(plane: np.ndarray) -> np.ndarray:
        """The luminance of a source, in [0, 1], in the form that the likelihood needs."""
        return plane

    def to_luma(self, x0: Tensor) -> Tensor:
        """The luminance of an image, as `step` takes it."""
        return luminance(x0)

    def from_luma(self, change: Tensor) -> Tensor:
        """What to add to R, G and B for a change of luminance made by `step`."""
        return change

    @property
    def i(self) -> Tensor:
        return self.sources[0]

    @property
    def v(self) -> Tensor:
        return self.sources[1]

    def first_guess(self) -> Tensor:
        """A fused image from the sources alone, with which a warm start begins."""
        return sum(self.sources[1:], self.sources[0]) / len(self.sources)

    def finish(self, f: Tensor) -> Tensor:
        """Luminance in [0, 1] from the sampler's result, (B, 1, H, W) in about [-1, 1]."""
        return levels_of(f)

    def needs_prior(self, sigma: Tensor) -> bool:
        """Whether the prior has any weight at noise sigma (B,); if not, it is not evaluated."""
        return True

    def objective(self, f: Tensor) -> Tensor | None:
        """The logarithm, up to a constant, that a step raises: (B,), at luminance f (B, 1, H, W).

        What is not f (labels, hyper-parameters, the prior's estimate) is as the last step left it,
        so it needs one. None if the likelihood has no objective.
        """
        return None

    def shares(self, rows: slice = slice(None)) -> Tensor | None:
        """The share of each source in the fused levels, (B, K, H, W), if known; for these rows."""
        return None

    def attribution(self) -> Shares | None:
        """From which sources the last estimate has its levels and gradients, if known."""
        return None

    def again(self, *sources: Tensor) -> Tensor | None:
        """The last estimate for other sources of the same scene, without the prior.

        Only for a likelihood whose batch is one pair (or group) of sources. The sources given here,
        and the result, are (N, 1, H, W). None if the loop has to be run again.
        """
        return None

    @abstractmethod
    def step(self, f: Tensor, sigma: Tensor) -> Tensor:
        """The step itself: luminance in, luminance out; f and the sources have one dtype."""
