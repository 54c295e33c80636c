"""Fuse registered images of one scene: the algorithm's story.

    sources -> luminance -> a first guess, noised -> the prior's sampling loop, its every estimate
    rectified by the likelihood -> luminance of the result -> colour, depth and size of the sources

`Fuser` holds a prior and its settings, and fuses any number of pairs; `fuse` is one call.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

import ddfm
from ddfm.device import find_device, find_dtype
from ddfm.errors import DdfmError
from ddfm.imaging.color import luminance
from ddfm.imaging.pair import check_color, check_resize, grey, in_color, read_pair
from ddfm.imaging.picture import Picture
from ddfm.likelihood import make_likelihood
from ddfm.priors import load_prior
from ddfm.priors.denoise import denoise
from ddfm.priors.noise_level import noise_level
from ddfm.priors.prior import Prior
from ddfm.priors.tiled import Tiled, check_tile
from ddfm.recipes import Recipe, find_recipe
from ddfm.rectify import Rectified
from ddfm.result import Fusion
from ddfm.samplers import Noise, find_sampler, noised
from ddfm.schedule import timesteps
from ddfm.watch import Callback, Watch

__all__ = ["Fuser", "Fusion", "fuse"]

Pair = tuple[Picture, Picture]
Evidence = tuple[list[Tensor], list[float]]  # both sources, and the noise found in each


def fuse(a: Any, b: Any, prior: Any = "default", **kwargs: Any) -> Fusion:
    """Fuses two registered images. Keywords are those of `Fuser` and of its call."""
    of_call = {k: kwargs.pop(k) for k in ("progress", "callback", "trajectory") if k in kwargs}
    return Fuser(prior, **kwargs)(a, b, **of_call)


class Fuser:
    """Loads a prior once, and fuses any number of pairs with it.

    Args:
        prior: whatever `ddfm.load_prior` takes: a name, a path, a model, or a prior.
        task: "ir-visible", "medical" or "multi-exposure"; "auto" takes two colour sources for
            exposures and everything else for infrared and visible.
        likelihood: "default", "paper" or "reference".
        sampler: "ddim", "ddpm" or "dpm-solver".
        steps: network calls, or a respacing in the notation of guided-diffusion ("ddim50").
        start: timestep that the first guess is noised to before the loop begins there.
            What is None of sampler, steps and start is as the likelihood's recipe has it.
        seed: of the noise. The same seed gives the same pixels, alone or in a batch.
        device: "auto", "cpu", "cuda", "mps", ...
        dtype: of the network: "auto" (float32), "float32", "bfloat16", "float16".
        color: whose chroma is kept: "auto" (whoever has any), "grey", "a", "b".
        resize: what to do with sources of two sizes: "error", or to the size of "a" or "b".
        tile: side of the network's tiles in pixels; None chooses it by size, 0 never tiles.
        options: further options of the likelihood.
    """

    def __init__(
        self,
        prior: Any = "default",
        *,
        task: str = "auto",
        likelihood: str = "default",
        sampler: str | None = None,
        steps: int | str | None = None,
        start: int | None = None,
        seed: int = 3407,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        color: str = "auto",
        resize: str = "error",
        tile: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        if not 0 <= int(seed) < 2**63:
            raise DdfmError(f"the seed must be a whole number from 0 to 2^63 - 1, not {seed}")
        self.task, self.likelihood, self.seed = task, likelihood, int(seed)
        self.sampler, self.steps, self.start = sampler, steps, start
        self.color, self.resize, self.tile = check_color(color), check_resize(resize), tile
        self.options = dict(options or {})
        self._recipe(task)  # names are checked before there is work
        check_tile(tile)
        self.device, self.dtype = find_device(device), find_dtype(dtype)
        self.prior: Prior = load_prior(prior).to(self.device, self.dtype)
        self.weights = self.prior.fingerprint
        self.recipe(task)

    def __call__(
        self,
        a: Any,
        b: Any,
        *,
        progress: bool | None = None,
        callback: Callback | None = None,
        trajectory: bool = False,
        first_guess: np.ndarray | None = None,
    ) -> Fusion:
        """Fuses a (infrared, PET, CT, ...) with b (visible, MRI, ...).

        Args:
            a, b: paths, PIL images, NumPy arrays or tensors of one size.
            first_guess: luminance (H, W) in [0, 1] that a loop which starts late begins with,
                such as the result of the frame before; None takes the likelihood's own.
            progress: a bar; None shows one on a terminal if the work takes a while.
            callback: sees every `Step` of the sampler.
            trajectory: whether the result keeps a snapshot of every step.
        """
        pair = read_pair(a, b, self.resize)
        watch = Watch(progress, callback, trajectory)
        return self._fuse([pair], self._task_of(pair), watch, first_guess)[0]

    def batch(
        self,
        pairs: Iterable[tuple[Any, Any]],
        *,
        together: int = 1,
        progress: bool | None = None,
        callback: Callback | None = None,
        trajectory: bool = False,
    ) -> list[Fusion]:
        """Fuses pairs; each comes out as it would alone.

        Args:
            together: how many neighbours of one size go through the network at once. More than 1
                is faster on a GPU, whose kernels then differ in the last digits of a float.
        """
        fusions: list[Fusion] = []
        read = (read_pair(a, b, self.resize) for a, b in pairs)
        for (task, _), alike in groupby(read, lambda pair: (self._task_of(pair), pair[0].size)):
            for some in _chunks(alike, together):
                fusions += self._fuse(some, task, Watch(progress, callback, trajectory))
        return fusions

    def sharing(self, pairs: Iterable[tuple[Any, Any]]) -> Fuser:
        """A fuser for a series of images, slices or frames, that all get the same contrast.

        What the likelihood would set by itself, image by image, is set to the median of what it
        sets for these pairs. What the caller has set remains.
        """
        chosen = [self._chosen(read_pair(a, b, self.resize)) for a, b in pairs]
        names = chosen[0] if chosen else ()
        medians = {name: float(np.median([one[name] for one in chosen])) for name in names}
        fuser = copy.copy(self)
        fuser.options = medians | self.options
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
        options = recipe.options.items()
        return {
            "ddfm": ddfm.__version__,
            "prior": self.prior.name,
            "weights": self.weights,
            "task": recipe.task,
            "likelihood": recipe.likelihood,
            "options": {k: list(v) if isinstance(v, tuple) else v for k, v in options},
            "sampler": recipe.sampler,
            "steps": recipe.steps,
            "start": recipe.start,
            "seed": self.seed,
            "color": self.color,
            "resize": self.resize,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.device.type,
            "tile": self.tile,
        }

    @torch.no_grad()
    def _fuse(
        self, pairs: Sequence[Pair], task: str, watch: Watch, guess: np.ndarray | None = None
    ) -> list[Fusion]:
        """Pairs of one size and one task, together through the loop."""
        recipe = self.recipe(task)
        height, width = size = pairs[0][0].size
        prior = Tiled.if_needed(self.prior, self.tile, size)
        evidence = [self._evidence(pair, recipe, prior) for pair in pairs]
        i, v = (torch.cat([sources[k] for sources, _ in evidence]) for k in (0, 1))
        likelihood = make_likelihood(recipe.likelihood, (i, v), **recipe.options)

        draw = Noise([self.seed] * len(pairs))
        x = draw(_channels(i, prior))
        start = len(prior.alphas_bar) - 1 if recipe.start is None else recipe.start
        if recipe.start is not None:
            first = likelihood.first_guess() if guess is None else self._guess(guess, size, prior)
            x = noised(_channels(first, prior), start, prior.alphas_bar, x)
        with watch:
            x = find_sampler(recipe.sampler)(
                Rectified(prior, likelihood, clip=recipe.clip),
                x,
                timesteps(start + 1, recipe.steps),
                prior.alphas_bar,
                noise=draw,
                callback=watch,
            )
        fused = likelihood.finish(luminance(x))[:, 0, :height, :width].float().cpu().numpy()
        chosen = likelihood.chosen()
        return [
            Fusion(
                in_color(recipe.finished(fused[k]), pair, self.color),
                self.settings(task) | _about(pair, evidence[k][1]),
                watch.snapshots(k, size),
                chosen[k],
            )
            for k, pair in enumerate(pairs)
        ]

    @torch.no_grad()
    def _chosen(self, pair: Pair) -> dict[str, float]:
        """The options that the likelihood sets by itself for this pair."""
        recipe = self.recipe(self._task_of(pair))
        prior = Tiled.if_needed(self.prior, self.tile, pair[0].size)
        sources, _ = self._evidence(pair, recipe, prior)
        return make_likelihood(recipe.likelihood, sources, **recipe.options).chosen()[0]

    def _guess(self, guess: np.ndarray, size: tuple[int, int], prior: Prior) -> Tensor:
        if guess.shape != size:
            raise DdfmError(f"the first guess has the shape {guess.shape}, the sources {size}")
        return _padded(guess, prior.multiple).to(self.device)

    def _evidence(self, pair: Pair, recipe: Recipe, prior: Prior) -> Evidence:
        """The sources as the likelihood is to see them."""
        sources, levels = [], []
        for picture in pair:
            height, width = picture.size
            x = _padded(recipe.prepared(grey(picture)), prior.multiple).to(self.device)
            level = float(noise_level(x[..., :height, :width]))
            if level >= recipe.clean:
                x = luminance(denoise(prior, _channels(x, prior), level))
            sources.append(x)
            levels.append(round(level, 5))
        return sources, levels

    def _recipe(self, task: str) -> Recipe:
        """Without regard to the prior. "auto" stands for what is most usual."""
        recipe = find_recipe(self.likelihood, "ir-visible" if task == "auto" else task)
        given = {"sampler": self.sampler, "steps": self.steps, "start": self.start}
        recipe = replace(recipe, **{k: v for k, v in given.items() if v is not None})
        find_sampler(recipe.sampler)
        return replace(recipe, options=recipe.options | self.options)

    def _task_of(self, pair: Pair) -> str:
        if self.task != "auto":
            return self.task
        return "multi-exposure" if all(p.is_color for p in pair) else "ir-visible"


def _chunks(pairs: Iterable[Pair], size: int) -> Iterator[list[Pair]]:
    some: list[Pair] = []
    for pair in pairs:
        some.append(pair)
        if len(some) >= size:
            yield some
            some = []
    if some:
        yield some


def _padded(plane: np.ndarray, multiple: int) -> Tensor:
    """(1, 1, H', W') in [-1, 1], continued by reflection to multiples of `multiple`."""
    height, width = plane.shape
    # NumPy reflects as often as it takes, so that 1 x 1 pixels will do.
    padded = np.pad(plane, ((0, -height % multiple), (0, -width % multiple)), mode="reflect")
    return torch.from_numpy(2 * padded.astype(np.float32) - 1)[None, None]


def _channels(x: Tensor, prior: Prior) -> Tensor:
    """A grey image with as many channels as the prior has."""
    return x.expand(-1, prior.channels, -1, -1)


def _about(pair: Pair, noise: list[float]) -> dict[str, Any]:
    return {"sources": [picture.name for picture in pair], "source_noise": noise}
