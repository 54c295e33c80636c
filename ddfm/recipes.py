"""How each likelihood is run, task by task: the settings that nobody should have to know."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ddfm.errors import unknown

__all__ = ["TASKS", "Recipe", "find_recipe"]

TASKS = ("ir-visible", "medical", "multi-exposure")


@dataclass(frozen=True)
class Recipe:
    """The loop around a likelihood.

    Attributes:
        steps: network calls, or a respacing in the notation of guided-diffusion.
        start: timestep that the first guess is noised to; None is pure noise, the last one.
        clean: whether noise found in the sources is removed by the prior first.
        clip: whether the prior's estimate is clipped to [-1, 1] before it is rectified.
        eight_bit: whether sources are rounded to 256 grey levels, and the result is stretched to
            its own minimum and maximum, as the authors' program does.
        options: of the likelihood.
    """

    likelihood: str
    task: str = "ir-visible"
    sampler: str = "ddim"
    steps: int | str = 100
    start: int | None = None
    clean: bool = False
    clip: bool = True
    eight_bit: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def prepared(self, plane: np.ndarray) -> np.ndarray:
        """A source's luminance in [0, 1] as the likelihood is to see it."""
        return np.rint(plane * 255) / 255 if self.eight_bit else plane

    def finished(self, fused: np.ndarray) -> np.ndarray:
        """Fused luminance from [-1, 1] to [0, 1]."""
        if self.eight_bit:
            low, high = fused.min(), fused.max()
            return (fused - low) / (high - low or 1)
        return np.clip((fused + 1) / 2, 0, 1)


RECIPES = {
    "default": Recipe("default", steps=10, start=200, clean=True, clip=False),
    "paper": Recipe("paper"),
    "reference": Recipe("reference", eight_bit=True),
}

# What a task changes in the default recipe.
OF_TASK: dict[str, dict[str, Any]] = {
    "ir-visible": {},
    "medical": {},
    "multi-exposure": {},
}


def find_recipe(likelihood: str, task: str) -> Recipe:
    """The recipe of a likelihood for a task."""
    if likelihood not in RECIPES:
        raise unknown("likelihood", likelihood, RECIPES)
    if task not in TASKS:
        raise unknown("task", task, [*TASKS, "auto"])
    recipe = replace(RECIPES[likelihood], task=task)
    return replace(recipe, **OF_TASK[task]) if likelihood == "default" else recipe
