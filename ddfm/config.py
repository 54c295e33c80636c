"""One configuration: all that a fusion depends on beside its sources and its prior.

What the caller leaves open, the recipe of the likelihood for the task says; `FusionConfig.resolved`
is where the two meet, and the only place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ddfm.arguments import plain_options, text, whole_number
from ddfm.errors import DdfmError, unknown
from ddfm.extensions import find_part
from ddfm.imaging.choices import check_color, check_resize

__all__ = ["METHODS", "TASKS", "FusionConfig", "name_of"]

METHODS = ("ddfm", "dmfuse")
TASKS = ("ir-visible", "medical", "multi-exposure", "multi-focus")

Part = Callable[..., Any]  # a likelihood or a sampler of the caller's


@dataclass(frozen=True)
class FusionConfig:
    """How to fuse. A variant is made by `dataclasses.replace`.

    Attributes:
        method: "ddfm", or "dmfuse": one pass of a small head, trained on this prior's features for
            infrared and visible. It knows no likelihood, sampler, steps and start.
        task: "ir-visible", "medical", "multi-exposure" or "multi-focus"; "auto" takes sources that
            are all in colour for exposures, and all else for infrared and visible.
        likelihood: "default", "paper", "reference", the name of one that another package brings,
            or a subclass of `ddfm.Likelihood`.
        sampler: "ddim", "ddpm", "dpm-solver", a name of another package's, or a function like
            `ddfm.diffusion.samplers.ddim`.
        steps: network calls, or a respacing of the timesteps up to `start` in the notation of
            guided-diffusion ("ddim13", "4,2").
        start: timestep that the first guess is noised to before the loop begins there; None, of a
            resolved configuration, is pure noise, the last one.
        clean: the least noise (standard deviation, of levels from 0 to 1) that, found in a source,
            is removed by the prior first. Below it, fine texture is too easily mistaken for noise.
        clip: whether the prior's estimate is clipped to [-1, 1] before the likelihood sees it.
        seed: of the noise. The same seed gives the same pixels, alone or in a batch.
        color: whose chroma is kept: "auto" (whoever has any), "grey", "a", "b".
        resize: what to do with sources of two sizes: "error", or to the size of "a" or "b".
        tile: side of the network's tiles in pixels; None chooses it by size, 0 never tiles.
        options: further options of the likelihood, or of `ddfm.dmfuse.fuse.DMFuse`.

    What is None of sampler, steps, start, clean and clip is as the recipe has it.
    """

    method: str = "ddfm"
    task: str = "auto"
    likelihood: str | Part = "default"
    sampler: str | Part | None = None
    steps: int | str | None = None
    start: int | None = None
    clean: float | None = None
    clip: bool | None = None
    seed: int = 3407
    color: str = "auto"
    resize: str = "error"
    tile: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            "method": _method(self.method),
            "task": _task(self.task),
            "likelihood": _part("likelihood", self.likelihood),
            "seed": _seed(self.seed),
            "color": check_color(text("color", self.color)),
            "resize": check_resize(text("resize", self.resize)),
            "options": plain_options(self.options),
        }
        if self.sampler is not None:
            checked["sampler"] = _part("sampler", self.sampler)
        respacing = isinstance(self.steps, str) and not self.steps.isdecimal()
        if self.steps is not None and not respacing:
            checked["steps"] = whole_number("steps", self.steps)
        if self.start is not None:
            checked["start"] = whole_number("start", self.start)
        if self.tile is not None:
            checked["tile"] = whole_number("tile", self.tile)
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # how a frozen dataclass is finished
        _recipe(self.likelihood, "ir-visible")  # refuses names that there are not
        self._check_method()

    @property
    def usual_task(self) -> str:
        """The task; of "auto" the most usual."""
        return "ir-visible" if self.task == "auto" else self.task

    def resolved(self, task: str) -> FusionConfig:
        """This configuration for one task, its open places filled from the recipe."""
        recipe = _recipe(self.likelihood, task)
        if self.method == "dmfuse":
            recipe = {"clean": recipe["clean"]}
        options = recipe.pop("options", {}) | dict(self.options)
        filled = {name: value for name, value in recipe.items() if getattr(self, name) is None}
        return replace(self, task=task, **filled, options=options)

    def plain(self) -> dict[str, Any]:
        """Ready for JSON, as a manifest has it."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["options"] = {
            k: list(v) if isinstance(v, tuple) else v for k, v in self.options.items()
        }
        if self.clean == math.inf:  # JSON has no infinity
            values["clean"] = None
        names = ("likelihood", "sampler")
        return values | {k: name_of(values[k]) for k in names if values[k] is not None}

    def _check_method(self) -> None:
        """Refuses what dmfuse has no use for."""
        if self.method != "dmfuse":
            return
        usual = FusionConfig()
        for name in ("likelihood", "sampler", "steps", "start"):
            if getattr(self, name) != getattr(usual, name):
                raise DdfmError(f"{name} is for method ddfm; dmfuse is one pass without a loop")


def name_of(part: str | Part) -> str:
    """What a part is called in settings: its name, or where it is defined."""
    if isinstance(part, str):
        return part
    return f"{part.__module__}.{getattr(part, '__qualname__', type(part).__qualname__)}"


# The loop around each likelihood: the settings that nobody should have to know. A likelihood of
# another package, or of the caller's, has such a table as its attribute `recipe`.
PUBLISHED: dict[str, Any] = {
    "sampler": "ddim",
    "steps": 100,
    "start": None,
    "clean": math.inf,
    "clip": True,
}
RECIPES: dict[str, dict[str, Any]] = {
    "default": {"steps": 3, "start": 120, "clean": 8 / 255, "clip": False},
    "paper": {},
    "reference": {},
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


def _recipe(likelihood: str | Part, task: str) -> dict[str, Any]:
    """The recipe of a likelihood for a task; a copy."""
    if task not in TASKS:
        raise unknown("task", task, [*TASKS, "auto"])
    if isinstance(likelihood, str):
        likelihood = find_part("likelihood", likelihood, RECIPES)
    own = likelihood if isinstance(likelihood, dict) else getattr(likelihood, "recipe", {})
    if likelihood is RECIPES["default"]:
        own = own | OF_TASK[task]
    return PUBLISHED | own


def _method(method: Any) -> str:
    if text("method", method) not in METHODS:
        raise unknown("method", method, METHODS)
    return str(method)


def _task(task: Any) -> str:
    if text("task", task) not in (*TASKS, "auto"):
        raise unknown("task", task, [*TASKS, "auto"])
    return str(task)


def _part(kind: str, part: Any) -> Any:
    """A name, or something to call."""
    return part if callable(part) else text(kind, part)


def _seed(value: Any) -> int:
    bounds = " from 0 to 2^63 - 1"
    seed = whole_number("the seed", value, bounds)
    if not 0 <= seed < 2**63:
        raise DdfmError(f"the seed must be a whole number{bounds}, not {value}")
    return seed
