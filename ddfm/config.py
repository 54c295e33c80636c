"""The configuration: everything a fusion depends on except its sources and its prior.

Settings that the caller leaves open are filled in from the recipe of the likelihood and the task,
in `FusionConfig.resolved` and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ddfm.arguments import (
    a_seed,
    check_known,
    flag,
    number,
    one_of,
    plain_options,
    text,
    whole_number,
)
from ddfm.diffusion import SAMPLERS
from ddfm.errors import InputError, short, unknown
from ddfm.extensions import find_part
from ddfm.priors.respacing import counts_of
from ddfm.priors.tile_sizes import check_tile
from ddfm.registration.transform import ALIGN, Transform
from ddfm.restoration.observation import files_of, plain_observations
from ddfm.storage.checksum import sha256_of
from ddfm.version import __version__

__all__ = ["METHODS", "MIXED", "QUALITIES", "TASKS", "FusionConfig", "ResolvedConfig", "name_of"]

METHODS = ("ddfm", "dmfuse")
QUALITIES = ("fast", "default")
TASKS = ("ir-visible", "medical", "multi-exposure", "multi-focus")

MIXED = TASKS[2:]  # tasks in which colours are mixed by the sources' shares of the levels

PUBLISHED = ("paper", "reference")  # likelihoods of the DDFM authors
TONES = ("auto", "none")
COLORS = ("auto", "grey", "a", "b")
RESIZES = ("auto", "error", "a", "b")
REFERENCES = ("a", "b")
CROPS = ("none", "common")
MOVING = ("once", "keep")
METADATA = ("auto", "a", "b", "none")

Part = Callable[..., Any]  # the caller's own likelihood or sampler


@dataclass(frozen=True)
class FusionConfig:
    """How to fuse. Use `dataclasses.replace` to make a variant.

    Attributes:
        method: "ddfm", or "dmfuse": one pass of a small head, trained on this prior's features for
            infrared and visible images, without likelihood, sampler, steps and start.
        task: "ir-visible", "medical", "multi-exposure" or "multi-focus". With "auto", sources that
            are all in colour are exposures, or, if all are equally bright, a focus stack; all
            others are infrared and visible.
        likelihood: "default", "paper", "reference", the name of one from another package, or a
            subclass of `ddfm.Likelihood`.
        quality: "default", or "fast": one pass of the default likelihood; the prior is then used
            only to remove noise beforehand.
        sampler: "ddim", "ddpm", "dpm-solver", the name of one from another package, or a function
            like `ddfm.diffusion.samplers.ddim`.
        steps: network calls, or a respacing of the timesteps up to `start` in the notation of
            guided-diffusion ("ddim13", "4,2").
        start: timestep to which the first guess is noised, and at which the loop begins. None in a
            resolved configuration is the last one, pure noise.
        clean: the least noise (standard deviation, of levels from -1 to 1) for which the prior
            denoises a source first. Below it, fine texture is too easily mistaken for noise.
        clip: whether the prior's estimate is clipped to [-1, 1] before the likelihood sees it.
        balance: from -1, more of the first source, to 1, more of the second; 0 lets their content
            decide. For the default likelihood and two sources. Targets are always kept.
        seed: of the noise. The same seed gives the same pixels, alone or in a batch.
        tone: "auto" spreads the levels of the result, for tasks that profit from it; "none" leaves
            them as they were fused.
        color: whose chroma is kept: "auto" (of every source in colour), "grey", "a", "b".
        resize: to which size sources of different sizes are brought: that of "a", of "b", or, with
            "auto", of the finest, if all have the same shape; "error" refuses them.
        observations: what is known of each source: a `ddfm.Observation`, a dictionary, or None;
            everything else is estimated.
        align: "none" leaves sources as they are, and warns if one is clearly misaligned; "auto"
            aligns them by the simplest model that explains them, where that is certain; "shift",
            "similarity", "affine" and "homography" use this model. "flow" is "auto" with a smooth
            field on top of it. "once" is for folders and films.
        align_to: the source that stays: "a", "b", or its number, starting from 1. None is the one
            whose size `resize` selects, or the middle one; of two, the second.
        transform: the transform of a pair, if known: a `Transform`, or what its `to_dict` returned.
            For more sources, a list with one for each, and None for the source that stays.
        crop: "none" keeps the frame of the source that stays, "common" what all sources show.
        look: whether sources that are not aligned are checked for misalignment.
        moving: of exposures between which something moved: "once" shows it as in one of them,
            "keep" mixes all, so that it may be seen double.
        metadata_from: whose EXIF, XMP and coordinates the result gets: "auto" (of the source that
            gives the colour, else of the second), "a", "b", or "none".
        strip: whether a written result has no metadata at all, not even the record of how it was
            made.
        tile: side of the network's tiles in pixels; None chooses it by size, 0 never tiles.
        options: further options of the likelihood and of the tone; for dmfuse, of the tone alone.

    Where `sampler`, `steps`, `start`, `clean` or `clip` is None, the recipe sets it.
    """

    method: str = "ddfm"
    task: str = "auto"
    likelihood: str | Part = "default"
    quality: str = "default"
    sampler: str | Part | None = None
    steps: int | str | None = None
    start: int | None = None
    clean: float | None = None
    clip: bool | None = None
    balance: float = 0.0
    seed: int = 3407
    tone: str = "auto"
    color: str = "auto"
    resize: str = "auto"
    observations: Any = ()
    align: str = "none"
    align_to: str | int | None = None
    transform: Any = None
    crop: str = "none"
    look: bool = True
    moving: str = "once"
    metadata_from: str = "auto"
    strip: bool = False
    tile: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            "method": one_of("method", self.method, METHODS),
            "task": one_of("task", self.task, (*TASKS, "auto")),
            "likelihood": _part("likelihood", self.likelihood),
            "quality": one_of("quality", self.quality, QUALITIES),
            "balance": number("balance", self.balance, -1, 1),
            "seed": a_seed(self.seed),
            "tone": one_of("tone", self.tone, TONES),
            "color": one_of("color", self.color, COLORS, "colour mode"),
            "resize": one_of("resize", self.resize, RESIZES, "way to resize"),
            "observations": plain_observations(self.observations),
            "align": one_of("align", self.align, ALIGN, "way to align"),
            "transform": _transform(self.transform),
            "crop": one_of("crop", self.crop, CROPS, "way to crop"),
            "look": flag("look", self.look),
            "moving": one_of("moving", self.moving, MOVING, "way to show what moves"),
            "metadata_from": one_of(
                "metadata_from", self.metadata_from, METADATA, "source of metadata"
            ),
            "strip": flag("strip", self.strip),
            "options": plain_options(self.options),
        }
        for name, check in _MAY_BE_NONE.items():
            if (value := getattr(self, name)) is not None:
                checked[name] = check(name, value)
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # how a frozen dataclass is finished
        self._check_names()
        self._check_tone()
        self._check_method()

    @classmethod
    def among(cls, keywords: Mapping[str, Any]) -> FusionConfig:
        """The configuration from those keywords that belong to it; others are ignored."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: value for name, value in keywords.items() if name in names})

    @property
    def usual_task(self) -> str:
        """The task; for "auto" the most common one."""
        return "ir-visible" if self.task == "auto" else self.task

    def resolved(self, task: str) -> ResolvedConfig:
        """The configuration for one task, with open settings filled in from the recipe."""
        recipe = _recipe(self.likelihood, task)
        if self.quality == "fast":
            recipe |= FAST | {"options": recipe.get("options", {}) | FAST["options"]}
        if self.method == "dmfuse":
            recipe = {name: recipe[name] for name in ("clean", "tone") if name in recipe}
        of_tone = recipe.pop("tone", {})
        if self.tone == "none":
            of_tone = {}
        options = recipe.pop("options", {}) | of_tone | dict(self.options)
        own = {name: value for name, value in vars(self).items() if value is not None}
        return ResolvedConfig(**(recipe | own | {"task": task, "options": options}))

    def plain(self) -> dict[str, Any]:
        """The settings as a dictionary ready for JSON, as manifests hold it."""
        options = {k: list(v) if isinstance(v, tuple) else v for k, v in self.options.items()}
        values = vars(self) | {"options": options}
        if self.clean == math.inf:  # JSON has no infinity
            values["clean"] = None
        names = ("likelihood", "sampler")
        return values | {k: name_of(values[k]) for k in names if values[k] is not None}

    def _check_names(self) -> None:
        """Refuses unknown likelihoods and samplers, and invalid respacings."""
        _recipe(self.likelihood, "ir-visible")
        if isinstance(self.sampler, str):
            find_part("sampler", self.sampler, dict.fromkeys(SAMPLERS))
        if self.steps is not None:
            counts_of(self.steps)

    def _check_tone(self) -> None:
        """Refuses options of the tone that are out of range."""
        if (spread := self.options.get("spread")) is not None:
            number("the option spread", spread, 0, math.inf)
        if (gains := self.options.get("gains")) is not None and not 0 < gains[0] <= gains[1]:
            low, high = gains
            raise InputError(
                "the option gains must be two numbers above 0, the least gain first, not "
                f"{low:g}, {high:g}"
            )

    @property
    def moves(self) -> bool:
        """Whether sources are aligned, rather than left as they are."""
        return self.align != "none" or self.transform is not None

    @property
    def one_camera(self) -> bool | None:
        """Whether the sources are exposures or a focus stack; None: if all are in colour."""
        return None if self.task == "auto" else self.task in MIXED

    @property
    def finds_common(self) -> bool:
        """Whether one transform for many pairs has yet to be found."""
        return self.align == "once" and self.transform is None

    def reference(self, number: int) -> int:
        """The index, from 0, of the source that the others are aligned to; `number` is their count.

        By default it is the middle one (of two, the second), which in a series of exposures or of
        focus distances is most similar to all others.
        """
        if isinstance(self.transform, list):
            return self._fixed_by_transforms(number)
        chosen = self.align_to or (self.resize if self.resize in REFERENCES else None)
        if chosen is None:
            return number // 2
        index = REFERENCES.index(chosen) if chosen in REFERENCES else int(chosen) - 1
        if index >= number:
            raise InputError(f"align_to (--align-to) is {chosen}, but there are {number} sources")
        return index

    def found_transform(self) -> Transform | list[Transform | None] | None:
        """The specified transform, or those of several sources, if any were specified."""
        if isinstance(self.transform, list):
            return [None if one is None else Transform.from_dict(one) for one in self.transform]
        return None if self.transform is None else Transform.from_dict(self.transform)

    def _fixed_by_transforms(self, number: int) -> int:
        """The index of the source that has no transform, since the others are aligned to it."""
        if len(self.transform) != number:
            raise InputError(
                f"the transforms (--transform) are for {len(self.transform)} sources, not {number}"
            )
        fixed = int(self.transform.index(None))
        names = (None, str(fixed + 1), *REFERENCES[fixed : fixed + 1])
        if self.align_to not in names:
            raise InputError(
                f"align_to (--align-to) is {self.align_to}, and the transforms (--transform) are "
                f"to source {fixed + 1}"
            )
        return fixed

    def _check_method(self) -> None:
        """Refuses settings that the method or the likelihood does not use."""
        which = self.method if self.method == "dmfuse" else name_of(self.likelihood)
        if self.balance and which in ("dmfuse", *PUBLISHED):
            raise InputError(f"balance (--balance) is for the default likelihood, not for {which}")
        if self.quality != "default" and which != "default":
            raise InputError(f"quality (--quality) is for the default likelihood, not for {which}")
        if self.method != "dmfuse":
            check_tile(self.tile)
            return
        usual = FusionConfig()
        for name in ("likelihood", "sampler", "steps", "start"):
            if getattr(self, name) != getattr(usual, name):
                raise InputError(f"{name} is for method ddfm; dmfuse has one pass and no loop")


@dataclass(frozen=True)
class ResolvedConfig(FusionConfig):
    """A configuration for one task, with all settings filled in; defaults are those of the paper.

    Method dmfuse ignores sampler, steps and clip.
    """

    sampler: str | Part = "ddim"
    steps: int | str = 100
    clean: float = math.inf
    clip: bool = True

    def noted(self, prior: str, weights: str | None, dtype: str, device: str) -> dict[str, Any]:
        """Everything that a result depends on except its sources, ready for JSON."""
        where = {"dtype": dtype, "device": device}
        # Masks and kernels are named by their paths, whose content may change.
        files = [sha256_of(path) for path in files_of(self.observations)]
        where |= {"files": "+".join(files)} if files else {}
        return {"ddfm": __version__, "prior": prior, "weights": weights} | self.plain() | where

    def _check_method(self) -> None:
        """Accepts all settings: those filled in by a recipe are not the caller's."""


def name_of(part: str | Part) -> str:
    """The name of a part in settings; for a callable, where it is defined."""
    if isinstance(part, str):
        return part
    return f"{part.__module__}.{getattr(part, '__qualname__', type(part).__qualname__)}"


# The settings of the loop for each likelihood. Likelihoods of other packages or of the caller have
# such a dictionary as their attribute `recipe`.
RECIPES: dict[str, dict[str, Any]] = {
    "default": {"steps": 3, "start": 120, "clean": 8 / 255, "clip": False},
    "paper": {},
    "reference": {},
}

# Quality "fast". There is none above the default, since more steps gain nothing: docs/speed.md.
FAST: dict[str, Any] = {"steps": 1, "options": {"lam": 0.0}}

# What each task changes in the default recipe, which is for infrared and visible images. In the
# other tasks all sources show the same thing: there are no targets, and texture of a darker source
# is not foreign.
ALIKE = {"phi": 0.0, "theta": 0.0, "edge": 0.03}
LOCAL = ALIKE | {"width": 0.008}  # levels are chosen locally rather than by region
OF_TASK: dict[str, dict[str, Any]] = {
    "ir-visible": {"tone": {"spread": 0.48, "gains": (1.0, 1.33)}},
    "medical": {
        "clean": 20 / 255,  # the texture of a sharp MRI slice looks like noise of 6 grey levels
        "options": LOCAL | {"alpha": 0.01, "full": 8.0},
    },
    "multi-exposure": {"options": ALIKE | {"saliency": "exposed", "kappa": 2.0}},
    "multi-focus": {"options": LOCAL | {"saliency": "sharp", "alpha": 0.3}},
}


def _recipe(likelihood: str | Part, task: str) -> dict[str, Any]:
    """A copy of the recipe of a likelihood for a task."""
    if task not in TASKS:
        raise unknown("task", task, TASKS)
    found: Any = likelihood
    if isinstance(likelihood, str):
        found = find_part("likelihood", likelihood, RECIPES)
    own = found if isinstance(found, dict) else getattr(found, "recipe", {})
    if not isinstance(own, Mapping):
        raise InputError(
            f"the recipe of {name_of(likelihood)} must be a dictionary of settings, not "
            f"{short(own)}"
        )
    names = [f.name for f in fields(ResolvedConfig)] + ["tone"]
    check_known(f"setting in the recipe of {name_of(likelihood)}", own, names)
    return dict(own) | (OF_TASK[task] if found is RECIPES["default"] else {})


def _steps(name: str, value: Any) -> Any:
    """Checks a number of steps, or a respacing, which is checked further where it is used."""
    is_respacing = isinstance(value, str) and not value.isdecimal()
    return value if is_respacing else whole_number(name, value)


def _align_to(name: str, value: Any) -> str:
    """Checks the name or the number of a source."""
    if isinstance(value, str) and value in REFERENCES:
        return str(value)
    return str(whole_number(name, value, ' from 1, or "a" or "b"', 1))


def _transform(transform: Any) -> Any:
    """Ready for JSON: a transform, or its dictionary, or a list of these, one for each source."""
    if transform is None:
        return None
    if isinstance(transform, list | tuple):
        if sum(one is None for one in transform) != 1:
            raise InputError(
                "of the transforms of several sources, exactly one is None, that of the source "
                "that stays"
            )
        return [_transform(one) for one in transform]
    given = isinstance(transform, Transform)
    return (transform if given else Transform.from_dict(transform)).to_dict()


def _part(kind: str, part: Any) -> Any:
    """Checks that a part is a name or a callable, and not an instance of a likelihood."""
    # By name, since torch would be imported with the class.
    if "Likelihood" in [base.__name__ for base in type(part).__mro__]:
        raise InputError(
            f"{kind} is an instance of {type(part).__name__}; pass the class, and its keywords as "
            "options"
        )
    return part if callable(part) else text(kind, part)


# How the settings that may be None are checked.
_MAY_BE_NONE: dict[str, Callable[[str, Any], Any]] = {
    "align_to": _align_to,
    "sampler": _part,
    "steps": _steps,
    "start": whole_number,
    "clean": lambda name, value: number(name, value, 0, math.inf),
    "clip": flag,
    "tile": whole_number,
}
