"""How each likelihood is run, task by task: the settings that nobody should have to know."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ddfm.errors import unknown

__all__ = ["TASKS", "Recipe", "find_recipe"]

TASKS = ("ir-visible", "medical", "multi-exposure", "multi-focus")


@dataclass(frozen=True)
class Recipe:
    """The loop around a likelihood.

    Attributes:
        steps: network calls, or a respacing in the notation of guided-diffusion.
        start: timestep that the first guess is noised to; None is pure noise, the last one.
        clean: the least noise (standard deviation, of levels from -1 to 1) that, found in a source,
            is removed by the prior first. Below it, fine texture is too easily mistaken for noise.
        clip: whether the prior's estimate is clipped to [-1, 1] before it is rectified.
        eight_bit: whether sources are rounded to 256 grey levels, and the result is stretched to
            its own minimum and maximum, as the authors' program does.
        options: of the likelihood.
        tone: how levels are spread in the end, as `spread` and `gains` of `good_curve`, and `curve`
            where one is given; nothing where they are left alone.
        mixes_color: whether chroma is mixed in the shares that sources have in the levels.
    """

    likelihood: str
    task: str = "ir-visible"
    sampler: str = "ddim"
    steps: int | str = 100
    start: int | None = None
    clean: float = math.inf
    clip: bool = True
    eight_bit: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    tone: dict[str, Any] = field(default_factory=dict)
    mixes_color: bool = False

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
    "default": Recipe("default", steps=3, start=120, clean=8 / 255, clip=False),
    "paper": Recipe("paper"),
    "reference": Recipe("reference", eight_bit=True),
}

# What a task changes in the default recipe: the likelihood is set for infrared and visible. In
# other tasks no source has targets, and none is foreign where it is darker.
ALIKE = {"phi": 0.0, "theta": 0.0}
LOCAL = ALIKE | {"width": 0.008}  # levels pixel by pixel
OF_TASK: dict[str, dict[str, Any]] = {
    "ir-visible": {"tone": {"spread": 0.48, "gains": (1.0, 1.33)}},
    "medical": {
        "clean": 20 / 255,  # the texture of a sharp MRI slice looks like noise of 6 grey levels
        "options": LOCAL | {"alpha": 0.02},
    },
    "multi-exposure": {
        "options": ALIKE | {"saliency": "exposed", "kappa": 2.0},
        "mixes_color": True,
    },
    "multi-focus": {
        "options": LOCAL | {"saliency": "sharp", "alpha": 0.3},
        "mixes_color": True,
    },
}


def find_recipe(likelihood: str, task: str) -> Recipe:
    """The recipe of a likelihood for a task."""
    if likelihood not in RECIPES:
        raise unknown("likelihood", likelihood, RECIPES)
    if task not in TASKS:
        raise unknown("task", task, [*TASKS, "auto"])
    recipe = replace(RECIPES[likelihood], task=task)
    return replace(recipe, **OF_TASK[task]) if likelihood == "default" else recipe
