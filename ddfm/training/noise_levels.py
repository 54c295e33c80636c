"""How often each noise level is trained, and how much its error counts."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["NoiseLevels"]

LOW = (0.02, 0.7)  # sigma / alpha: noise of 2.5 to 90 grey levels, what pictures and fusion have
BINS = 20
MEMORY = 0.995  # the usual error of a bin is an average over about 200 steps


class NoiseLevels:
    """Timesteps by chance, and weights that let every noise level count alike.

    The error of v is many times larger where there is little noise, where grain and texture cannot
    be told apart, than where pictures are denoised in earnest. So each error is divided by the
    usual one of its level: what is minimised is then in effect the mean of its logarithm, which is
    what decibels measure.
    """

    def __init__(self, alphas_bar: Tensor, low_noise: float) -> None:
        """A share `low_noise` is drawn evenly in log(sigma / alpha) within LOW, the rest evenly."""
        ratio = ((1 - alphas_bar) / alphas_bar).sqrt().numpy()
        log_step = np.gradient(np.log(ratio)) * ((ratio > LOW[0]) & (ratio < LOW[1]))
        even = np.full(len(ratio), 1 / len(ratio))
        chances = (1 - low_noise) * even + low_noise * log_step / log_step.sum()
        self.chances = chances / chances.sum()
        before = np.cumsum(self.chances) - self.chances / 2
        self._bin = torch.from_numpy((before * BINS).astype(np.int64))  # of each timestep
        self._errors, self._counts = torch.zeros(BINS), torch.zeros(BINS)

    def draw(self, rng: np.random.Generator, count: int) -> Tensor:
        return torch.from_numpy(rng.choice(len(self.chances), size=count, p=self.chances))

    def weights(self, t: Tensor, errors: Tensor) -> Tensor:
        """One over the usual error at each of the timesteps, times that of all levels."""
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
