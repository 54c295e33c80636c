"""How often each noise level is trained, and how its error is weighted."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["NoiseLevels"]

LOW = (0.02, 0.7)  # sigma / alpha: noise of 2.5 to 90 grey levels, as in images and fusion
BINS = 20  # of noise levels, each with its usual error
MEMORY = 0.995  # averages the usual error of a bin over about 200 steps


class NoiseLevels:
    """Draws random timesteps, and computes weights with which all noise levels count equally.

    The error of v is many times larger at low noise, where grain and texture cannot be separated,
    than at the noise levels that matter for denoising. So each error is divided by the usual error
    of its level. In effect, this minimises the mean logarithm of the error, as decibels measure it.
    """

    def __init__(self, alphas_bar: Tensor, low_noise: float) -> None:
        """A share `low_noise` is drawn evenly in log(sigma / alpha) within LOW, the rest in t."""
        ratio = ((1 - alphas_bar) / alphas_bar).sqrt().numpy()
        log_step = np.gradient(np.log(ratio)) * ((ratio > LOW[0]) & (ratio < LOW[1]))
        even = np.full(len(ratio), 1 / len(ratio))
        chances = (1 - low_noise) * even + low_noise * log_step / log_step.sum()
        self.chances = chances / chances.sum()
        before = np.cumsum(self.chances) - self.chances / 2
        self._bin = torch.from_numpy((before * BINS).astype(np.int64))  # bin of each timestep
        self._errors, self._counts = torch.zeros(BINS), torch.zeros(BINS)

    def draw(self, rng: np.random.Generator, count: int) -> Tensor:
        return torch.from_numpy(rng.choice(len(self.chances), size=count, p=self.chances))

    def weights(self, t: Tensor, errors: Tensor) -> Tensor:
        """The usual error over all levels, divided by that at each of these timesteps."""
        errors, bins = errors.detach().float().cpu(), self._bin[t.cpu()]
        self._errors = (self._errors * MEMORY).index_add(0, bins, errors)
        self._counts = (self._counts * MEMORY).index_add(0, bins, torch.ones_like(errors))
        seen = self._counts > 0
        usual = self._errors / self._counts
        return (usual[seen].mean() / usual[bins]).to(t.device)

    def state_dict(self) -> dict[str, Tensor]:
        return {"errors": self._errors, "counts": self._counts}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._errors, self._counts = state["errors"].cpu(), state["counts"].cpu()
