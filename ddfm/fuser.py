"""Fuse registered images of one scene: the algorithm's story.

    sources -> luminance -> a first guess, noised -> the prior's sampling loop, its every estimate
    rectified by the likelihood -> tone -> luminance of the result -> colour, depth and size of the
    sources

`Fuser` holds a prior and its settings, and fuses any number of pairs; `fuse` is one call. Method
"dmfuse" has one pass of a trained head in place of first guess and loop; all else is the same.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddfm.arguments import plain_options, text, whole_number
from ddfm.config import Recipe, find_recipe
from ddfm.diffusion.guided import GuidedDenoiser
from ddfm.diffusion.samplers import Noise, find_sampler, noised
from ddfm.diffusion.watch import Callback, Watch
from ddfm.dmfuse.fuse import OVERLAP, DMFuse, check_options
from ddfm.errors import DdfmError, unknown
from ddfm.imaging.color import luminance
from ddfm.imaging.picture import Picture
from ddfm.imaging.sources import (
    check_color,
    check_resize,
    equally_bright,
    grey,
    in_color,
    read_sources,
)
from ddfm.likelihood import check_source_count, make_likelihood
from ddfm.numerics.device import find_device, find_dtype
from ddfm.numerics.noise_level import noise_level
from ddfm.numerics.tone import check_tone, given_curve, good_curve, toned
from ddfm.priors import load_prior
from ddfm.priors.denoise import denoise, padded, unclipped
from ddfm.priors.prior import Prior
from ddfm.priors.schedule import timesteps
from ddfm.priors.tiled import Tiled, check_tile
from ddfm.result import Chosen, Fusion
from ddfm.version import __version__

__all__ = ["METHODS", "Fuser", "Fusion", "check_number", "fuse"]

METHODS = ("ddfm", "dmfuse")
TONE_OPTIONS = ("curve", "gains", "spread")
NO_GAIN = {"gains": (1.0, 1.0)}

Pictures = tuple[Picture, ...]  # of one scene, two or more
Evidence = tuple[list[Tensor], list[float], float]  # sources, noise found in each, most noise left


def fuse(*sources: Any, prior: Any = "default", **kwargs: Any) -> Fusion:
    """Fuses registered images, two or more. Keywords are those of `Fuser` and of its call."""
    names = ("progress", "callback", "trajectory", "first_guess")
    of_call = {name: kwargs.pop(name) for name in names if name in kwargs}
    return Fuser(prior, **kwargs)(*sources, **of_call)


class Fuser:
    """Loads a prior once, and fuses any number of pairs with it.

    Args:
        prior: whatever `ddfm.load_prior` takes: a name, a path, a model, or a prior. One that is
            shared stays as it is: where device or dtype are to change, a copy is used.
        method: "ddfm", or "dmfuse": one pass of a small head, trained on this prior's features for
            infrared and visible. It knows no likelihood, sampler, steps and start.
        task: "ir-visible", "medical", "multi-exposure" or "multi-focus"; "auto" takes sources that
            are all in colour for exposures, or where all are equally bright for pictures of
            differing focus, and all else for infrared and visible. `Fusion.settings` tells.
        likelihood: "default", "paper" or "reference".
        sampler: "ddim", "ddpm" or "dpm-solver".
        steps: network calls, or a respacing of the timesteps up to `start` in the notation of
            guided-diffusion ("ddim13", "4,2").
        start: timestep that the first guess is noised to before the loop begins there.
            What is None of sampler, steps and start is as the likelihood's recipe has it.
        seed: of the noise. The same seed gives the same pixels, alone or in a batch.
        device: "auto", "cpu", "cuda", "mps", ...
        dtype: of the network: "auto" (float32), "float32", "bfloat16", "float16".
        tone: "auto" spreads the levels of the result where the task has a use for it; "none" leaves
            them as they were fused.
        color: whose chroma is kept: "auto" (whoever has any), "grey", "a", "b".
        resize: what to do with sources of two sizes: "error", or to the size of "a" or "b".
        tile: side of the network's tiles in pixels; None chooses it by size, 0 never tiles.
        options: further options of the likelihood and of the tone, or of
            `ddfm.dmfuse.fuse.DMFuse`.
        head: weights of dmfuse, trained by `ddfm train-dmfuse`; None takes those of ddfm.
    """

    def __init__(
        self,
        prior: Any = "default",
        *,
        method: str = "ddfm",
        task: str = "auto",
        likelihood: str = "default",
        sampler: str | None = None,
        steps: int | str | None = None,
        start: int | None = None,
        seed: int = 3407,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        tone: str = "auto",
        color: str = "auto",
        resize: str = "error",
        tile: int | None = None,
        options: dict[str, Any] | None = None,
        head: str | os.PathLike[str] | None = None,
    ) -> None:
        self.method, self.task = text("method", method), text("task", task)
        self.likelihood = text("likelihood", likelihood)
        self.sampler = None if sampler is None else text("sampler", sampler)
        counted = not (steps is None or isinstance(steps, str))
        self.steps = whole_number("steps", steps) if counted else steps
        self.start = None if start is None else whole_number("start", start)
        self.seed = _seed(seed)
        self.tone = check_tone(text("tone", tone))
        self.color = check_color(text("color", color))
        self.resize = check_resize(text("resize", resize))
        self.tile = None if tile is None else whole_number("tile", tile)
        self.options = plain_options(options)
        self._recipe(task)  # names are checked before there is work
        self._check_method(head)
        self.device, self.dtype = find_device(device), find_dtype(dtype)
        self.prior = _loaded(prior, self.device, self.dtype)
        self.weights = self.prior.fingerprint
        self.dmfuse = DMFuse(self.prior, head).to(self.device) if method == "dmfuse" else None
        self.recipe(task)

    def __call__(
        self,
        *sources: Any,
        progress: bool | None = None,
        callback: Callback | None = None,
        trajectory: bool = False,
        first_guess: np.ndarray | None = None,
    ) -> Fusion:
        """Fuses infrared (PET, CT, ...) with visible (MRI, ...), or any number of images.

        Args:
            sources: two or more paths, PIL images, NumPy arrays or tensors of one size.
            first_guess: luminance (H, W) in [0, 1] that a loop which starts late begins with,
                such as the result of the frame before; None takes the likelihood's own.
                Refused where the loop starts from pure noise, or where there is none.
            progress: a bar; None shows one on a terminal if the work takes a while.
            callback: sees every `Step` of the sampler.
            trajectory: whether the result keeps a snapshot of every step.
        """
        if first_guess is not None and not self.begins_late:
            raise DdfmError(
                "first_guess (--warm) is for a loop that begins late: for likelihood default, or "
                "any with a start"
            )
        pictures = read_sources(sources, self.resize)
        watch = Watch(progress, callback, trajectory)
        return self._fuse([pictures], self._task_of(pictures), watch, first_guess)[0]

    def batch(self, groups: Iterable[Sequence[Any]], **how: Any) -> list[Fusion]:
        """All results of `stream`, whose keywords it takes."""
        return list(self.stream(groups, **how))

    def stream(
        self,
        groups: Iterable[Sequence[Any]],
        *,
        together: int = 1,
        progress: bool | None = None,
        callback: Callback | None = None,
        trajectory: bool = False,
    ) -> Iterator[Fusion]:
        """Fuses pairs, or larger groups, as they are asked for; each comes out as it would alone.

        Args:
            groups: the sources of each result. They are read when their turn comes, so that no
                more than `together` of them, and of the results, need memory at a time.
            together: how many neighbours of one size go through the network at once. More than 1
                is faster on a GPU, whose kernels then differ in the last digits of a float.
        """
        read = (read_sources(sources, self.resize) for sources in groups)
        for (task, *_), alike in groupby(read, lambda p: (self._task_of(p), len(p), p[0].size)):
            for some in _chunks(alike, together):
                yield from self._fuse(some, task, Watch(progress, callback, trajectory))

    def check_number(self, number: int) -> None:
        """Refuses more sources than are fused at a time."""
        check_number(number, self.method, self.likelihood)

    @property
    def begins_late(self) -> bool:
        """Whether the loop starts from a first guess, which can then be given."""
        return self.dmfuse is None and self._recipe(self.task).start is not None

    def sharing(self, groups: Iterable[Sequence[Any]]) -> Fuser:
        """A fuser for a series of images, slices or frames, that are all fused alike.

        What would be set by itself, image by image, which is the curve of the tone, is set to the
        median of what it is for these sources. What the caller has set remains.
        """
        chosen = [self._chosen(read_sources(sources, self.resize)) for sources in groups]
        names = chosen[0] if chosen else ()
        medians = {k: np.median([one[k] for one in chosen], axis=0) for k in names}
        fuser = copy.copy(self)
        fuser.options = plain_options(medians) | self.options
        return fuser

    def recipe(self, task: str) -> Recipe:
        """How this task is fused with this prior: the recipe, and what the caller set over it."""
        recipe = self._recipe(task)
        last = len(self.prior.alphas_bar) - 1
        if recipe.start is not None and not 0 <= recipe.start <= last:
            raise DdfmError(f"start must be a timestep from 0 to {last}, not {recipe.start}")
        available = 1 + (last if recipe.start is None else recipe.start)
        if self.steps is None and isinstance(recipe.steps, int):
            recipe = replace(recipe, steps=min(recipe.steps, available))
        timesteps(available, recipe.steps)
        return recipe

    def settings(self, task: str) -> dict[str, Any]:
        """All that a result depends on beside its sources, ready for JSON."""
        recipe = self.recipe(task)
        options = recipe.options | recipe.tone if self.dmfuse is None else self.options
        of_method = {
            "likelihood": recipe.likelihood,
            "sampler": recipe.sampler,
            "steps": recipe.steps,
            "start": recipe.start,
        }
        if self.dmfuse is not None:
            of_method = {"head": self.dmfuse.fingerprint}
        return {
            "ddfm": __version__,
            "method": self.method,
            "prior": self.prior.name,
            "weights": self.weights,
            "task": recipe.task,
            **of_method,
            "options": {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()},
            "seed": self.seed,
            "tone": self.tone,
            "color": self.color,
            "resize": self.resize,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.device.type,
            "tile": self.tile,
        }

    @torch.no_grad()
    def _fuse(
        self, groups: Sequence[Pictures], task: str, watch: Watch, guess: np.ndarray | None = None
    ) -> list[Fusion]:
        """Groups of one size, one number and one task, together."""
        self.check_number(len(groups[0]))
        if self.dmfuse is not None and watch.trajectory:
            raise DdfmError("dmfuse is one pass: no steps to keep (trajectory, --save-steps)")
        recipe = self.recipe(task)
        height, width = size = groups[0][0].size
        prior = Tiled.if_needed(self.prior, self.tile, size)
        evidence = [self._evidence(pictures, recipe, prior) for pictures in groups]
        s = [torch.cat(of_all) for of_all in zip(*(x for x, _, _ in evidence), strict=True)]
        shares = None
        with watch:
            if self.dmfuse is None:
                guess = None if guess is None else self._guess(guess, size, prior)
                noise = [left for _, _, left in evidence]
                fused, shares = self._in_a_loop(s, noise, recipe, prior, watch, guess)
                fused, chosen = _in_tone(fused[..., :height, :width], recipe.tone)
            else:
                options = ({} if self.tone == "auto" else NO_GAIN) | _given(self.options)
                fused, chosen = self.dmfuse(*s, seed=self.seed, tile=self.tile, **options)
        fused = fused[:, 0, :height, :width].float().cpu().numpy()
        return [
            Fusion(
                in_color(
                    recipe.finished(fused[k]),
                    pictures,
                    self.color,
                    None if shares is None else shares[k, :, :height, :width].float().cpu(),
                ),
                self.settings(task) | _about(pictures, evidence[k][1]),
                watch.snapshots(k, size),
                chosen[k],
            )
            for k, pictures in enumerate(groups)
        ]

    def _in_a_loop(
        self,
        s: list[Tensor],
        noise: list[float],
        recipe: Recipe,
        prior: Prior,
        watch: Watch,
        guess: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Fused luminance in [-1, 1], by DDFM, and the sources' shares in colour, if it is mixed."""
        likelihood = make_likelihood(recipe.likelihood, s, **_given(recipe.options))
        likelihood.noise = torch.tensor(noise)
        draw = Noise([self.seed] * len(s[0]))
        x = draw(_channels(s[0], prior))
        start = len(prior.alphas_bar) - 1 if recipe.start is None else recipe.start
        if recipe.start is not None:
            first = likelihood.first_guess() if guess is None else guess
            x = noised(_channels(first, prior), start, prior.alphas_bar, x)
        x = find_sampler(recipe.sampler)(
            GuidedDenoiser(prior, likelihood, clip=recipe.clip),
            x,
            timesteps(start + 1, recipe.steps),
            prior.alphas_bar,
            noise=draw,
            callback=watch,
        )
        return likelihood.finish(luminance(x)), likelihood.shares() if recipe.mixes_color else None

    @torch.no_grad()
    def _chosen(self, pictures: Pictures) -> Chosen:
        """The options that would be set by themselves for these sources."""
        task = self._task_of(pictures)
        if self.dmfuse is None and not self.recipe(task).tone:
            return {}
        return self._fuse([pictures], task, Watch(False))[0].chosen

    def _guess(self, guess: np.ndarray, size: tuple[int, int], prior: Prior) -> Tensor:
        guess = np.asarray(guess)
        if guess.shape != size:
            raise DdfmError(f"the first guess has the shape {guess.shape}, the sources {size}")
        return padded(_plane(guess), prior.multiple).to(self.device)

    def _evidence(self, pictures: Pictures, recipe: Recipe, prior: Prior) -> Evidence:
        """The sources as the likelihood is to see them."""
        sources, levels, left = [], [], 0.0
        for picture in pictures:
            height, width = picture.size
            x = padded(_plane(recipe.prepared(grey(picture))), prior.multiple).to(self.device)
            level = float(noise_level(x[..., :height, :width]))
            if level >= recipe.clean:
                x = luminance(denoise(prior, _channels(x, prior), level))
                left = max(left, float(noise_level(x[..., :height, :width])))
            clipped = level if picture.clipped_noise is None else picture.clipped_noise
            if clipped >= recipe.clean:
                x = unclipped(x, clipped)
            sources.append(x)
            levels.append(round(level, 5))
        return sources, levels, left

    def _check_method(self, head: Any) -> None:
        """Refuses what the method does not know."""
        _check_known(self.method)
        if self.method == "ddfm":
            check_tile(self.tile)
            if head is not None:
                raise DdfmError("a head is for method dmfuse; give --method dmfuse with it")
            return
        check_tile(self.tile, OVERLAP)
        check_options(self.options)
        usual = {"likelihood": "default", "sampler": None, "steps": None, "start": None}
        for name, value in usual.items():
            if getattr(self, name) != value:
                raise DdfmError(f"{name} is for method ddfm; dmfuse is one pass without a loop")

    def _recipe(self, task: str) -> Recipe:
        """Without regard to the prior. "auto" stands for what is most usual."""
        recipe = find_recipe(self.likelihood, "ir-visible" if task == "auto" else task)
        given = {"sampler": self.sampler, "steps": self.steps, "start": self.start}
        recipe = replace(recipe, **{k: v for k, v in given.items() if v is not None})
        find_sampler(recipe.sampler)
        of_tone = {} if self.tone == "none" else recipe.tone
        given = {k: v for k, v in self.options.items() if k in TONE_OPTIONS and of_tone}
        options = {k: v for k, v in self.options.items() if k not in given}
        return replace(recipe, options=recipe.options | options, tone=of_tone | given)

    def _task_of(self, pictures: Pictures) -> str:
        if self.task != "auto":
            return self.task
        if not all(p.is_color for p in pictures):
            return "ir-visible"
        return "multi-focus" if equally_bright(pictures) else "multi-exposure"


def check_number(number: int, method: str, likelihood: str) -> None:
    """Refuses more sources than the method and the likelihood take."""
    _check_known(method)
    if method == "dmfuse" and number != 2:
        raise DdfmError(f"dmfuse fuses two images, infrared and visible, not {number}")
    check_source_count(number, likelihood)


def _check_known(method: str) -> None:
    if method not in METHODS:
        raise unknown("method", method, METHODS)


def _seed(value: Any) -> int:
    bounds = " from 0 to 2^63 - 1"
    seed = whole_number("the seed", value, bounds)
    if not 0 <= seed < 2**63:
        raise DdfmError(f"the seed must be a whole number{bounds}, not {value}")
    return seed


def _loaded(prior: Any, device: torch.device, dtype: torch.dtype) -> Prior:
    """A file is read to where it is used; what the caller holds is left as it is."""
    if isinstance(prior, str | Path):
        return load_prior(prior).to(device, dtype)
    return load_prior(prior).at(device, dtype)


def _in_tone(f: Tensor, tone: dict[str, Any]) -> tuple[Tensor, list[Chosen]]:
    """Fused luminance with its levels spread, and the curves that would do it for each image."""
    if not tone:
        return f, [{} for _ in f]
    own = good_curve(f, tone["spread"], tone["gains"])
    f = toned(f, given_curve(tone.get("curve"), own))
    return f, [{"curve": tuple(curve)} for curve in own.tolist()]


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """None leaves an option to whoever has it."""
    return {name: value for name, value in options.items() if value is not None}


def _chunks(groups: Iterable[Pictures], size: int) -> Iterator[list[Pictures]]:
    some: list[Pictures] = []
    for pictures in groups:
        some.append(pictures)
        if len(some) >= size:
            yield some
            some = []
    if some:
        yield some


def _plane(levels: np.ndarray) -> Tensor:
    """(H, W) in [0, 1] as (1, 1, H, W) in [-1, 1]."""
    return torch.from_numpy(2 * levels.astype(np.float32) - 1)[None, None]


def _channels(x: Tensor, prior: Prior) -> Tensor:
    """A grey image with as many channels as the prior has."""
    return x.expand(-1, prior.channels, -1, -1)


def _about(pictures: Pictures, noise: list[float]) -> dict[str, Any]:
    return {"sources": [picture.name for picture in pictures], "source_noise": noise}
