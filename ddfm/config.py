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

# What a task changes in the default recipe; "ir-visible" is what the likelihood is set for itself.
OF_TASK: dict[str, dict[str, Any]] = {
    "ir-visible": {},
    "medical": {
        "clean": 20 / 255,  # the texture of a sharp MRI slice looks like noise of 6 grey levels
        "options": {
            "alpha": 0.42,
            "rivalry": 2.0,  # CT has edges of its own, PET and SPECT are smooth beside MRI
            "kappa": 80.0,
            "beta": 0.1,
            "hot": 0.0,
            "width": 0.0036,
            "contour": 0.0,
            "p": 0.132,
            "follow": 0.0,
            "faint": 0.0034,
            "restore": 0.0,
            "detail": 0.9876,
            "grain": 0.626,
            "ease": 10.0,
            "learn": 6.45,
            "room": 150.0,
            "knee": 0.025,
            "gains": (1.0, 1.0),
            "even": 0.08,
            "light": 0.0,
        },
    },
    "multi-exposure": {
        "options": {
            "anchor": 0.0,
            "alpha": 0.3,
            "kappa": -6.0,
            "beta": 0.0,
            "hot": 0.0,
            "width": 0.02,
            "contour": 0.0,
            "gains": (1.0, 1.0),
            "even": 0.0,
            "light": 0.0,
            "p": 0.02,
            "follow": 0.0,
            "faint": 0.002,
            "restore": 0.3,
            "detail": 1.03,
            "grain": 1.1,
            "ease": 0.0,
            "learn": 9.0,
            "room": 150.0,
            "knee": 0.05,
        }
    },
    "multi-focus": {
        "options": {
            "kappa": 0.0,
            "contour": 0.0,
            "hot": 0.0,
            "sharp": 3.0,
            "gains": (1.0, 1.0),
            "even": 0.0,
            "light": 0.0,
            "alpha": 0.3,
            "p": 3.0,
            "grain": 2.0,
            "follow": 0.0,
            "ease": 0.0,
            "learn": 0.0,
            "room": 0.0,
            "faint": 0.0,
            "restore": 0.0,
            "detail": 1.0,
        }
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
