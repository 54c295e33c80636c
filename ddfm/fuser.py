"""Fuses registered images of one scene: `Fuser` and `fuse`, the entry points from Python.

    sources -> luminance -> first guess, noised -> the prior's sampling loop, in which the
    likelihood rectifies every estimate -> tone -> luminance of the result -> colour, depth and size
    of the sources

A `Fuser` holds a prior and settings, and fuses any number of pairs; `fuse` is a single call. Method
"dmfuse" replaces the first guess and the loop by one pass of a trained head; all else is the same.
The steps are in `ddfm.fusing`: `ready`, `run` and `results`, in this order.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ddfm.arguments import by_annotation, check_known
from ddfm.config import FusionConfig, ResolvedConfig
from ddfm.diffusion.watch import Callback, Watch
from ddfm.dmfuse.fuse import DMFuse
from ddfm.errors import InputError, KeptWarning, warn
from ddfm.fusing.checks import (
    check_attribution,
    check_early,
    check_number,
    resolved_for,
    usual_dtype,
)
from ddfm.fusing.ready import made_ready, task_of
from ddfm.fusing.results import results
from ddfm.fusing.run import Model, run
from ddfm.numerics.device import find_device, find_dtype, undisturbed
from ddfm.numerics.tone import Tone
from ddfm.priors import load_prior
from ddfm.priors.prior import Prior
from ddfm.progress import stage
from ddfm.registration.register import Registered
from ddfm.registration.transform import save_transforms
from ddfm.result import Chosen, Fusion
from ddfm.trust.samples import check_samples

__all__ = ["Fuser", "fuse"]

Part = str | Callable[..., Any]
_PLAIN = FusionConfig().plain()
SLOW = "float16 is much slower than float32 on a CPU; dtype auto (--dtype auto) takes the fastest"

_OF_THE_LOOP = ("likelihood", "sampler", "steps", "start", "clip")


def fuse(
    *sources: Any,
    prior: Any = "default",
    method: str = "ddfm",
    task: str = "auto",
    likelihood: Part = "default",
    quality: str = "default",
    sampler: Part | None = None,
    steps: int | str | None = None,
    start: int | None = None,
    clean: float | None = None,
    clip: bool | None = None,
    balance: float = 0.0,
    seed: int = 3407,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    tone: str = "auto",
    color: str = "auto",
    resize: str = "auto",
    observations: Sequence[Any] | None = None,
    align: str = "none",
    align_to: str | int | None = None,
    transform: Any = None,
    crop: str = "none",
    look: bool = True,
    moving: str = "once",
    metadata_from: str = "auto",
    strip: bool = False,
    tile: int | None = None,
    options: dict[str, Any] | None = None,
    head: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    callback: Callback | None = None,
    trajectory: bool = False,
    first_guess: np.ndarray | None = None,
    samples: int = 0,
    attribution: bool = False,
) -> Fusion:
    """Fuses two or more registered images. The keywords are those of `Fuser` and of its call."""
    keywords = dict(locals())
    del keywords["sources"]
    of_call = {name: keywords.pop(name) for name in _OF_CALL}
    return Fuser(**keywords)(*sources, **of_call)


_OF_CALL = ("progress", "callback", "trajectory", "first_guess", "samples", "attribution")


class Fuser:
    """Loads a prior once, and fuses any number of pairs with it.

    Args:
        prior: anything `ddfm.load_prior` takes: a name, a path, a model, or a prior. A prior that
            is passed in is never changed; for another device or dtype a copy is made.
        method, task, likelihood, quality, sampler, steps, start, clean, clip: as in
            `ddfm.FusionConfig`. `likelihood` and `sampler` may be your own.
        balance, seed, tone, color, resize, observations: as in `ddfm.FusionConfig`, too.
        align, align_to, transform, crop, look, moving: as there.
        metadata_from, strip, tile, options: as there.
        device: "auto", "cpu", "cuda", "mps", ...
        dtype: of the network: "float32", "bfloat16", "float16", or "auto", the fastest one that
            makes no visible difference: bfloat16 on processors with instructions for it, float32
            elsewhere, for dmfuse, and for loops that start from pure noise.
        head: weights of dmfuse, trained by `ddfm train-dmfuse`; None takes the shipped ones.

    Attributes:
        config: the settings as given, a `FusionConfig`; `with_config` makes a fuser with others.
    """

    def __init__(
        self,
        prior: Any = "default",
        *,
        method: str = "ddfm",
        task: str = "auto",
        likelihood: Part = "default",
        quality: str = "default",
        sampler: Part | None = None,
        steps: int | str | None = None,
        start: int | None = None,
        clean: float | None = None,
        clip: bool | None = None,
        balance: float = 0.0,
        seed: int = 3407,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        tone: str = "auto",
        color: str = "auto",
        resize: str = "auto",
        observations: Sequence[Any] | None = None,
        align: str = "none",
        align_to: str | int | None = None,
        transform: Any = None,
        crop: str = "none",
        look: bool = True,
        moving: str = "once",
        metadata_from: str = "auto",
        strip: bool = False,
        tile: int | None = None,
        options: dict[str, Any] | None = None,
        head: str | os.PathLike[str] | None = None,
    ) -> None:
        config = FusionConfig.among(locals())
        check_early(config, head)
        self.device = find_device(device)
        # As given, for variants that must load them anew.
        self._given_prior, self._given_dtype, self._head = prior, dtype, head
        if self._dtype(config) == torch.float16 and self.device.type == "cpu":
            warn(SLOW)
        self._load(self._dtype(config))
        self._set(config)

    def __repr__(self) -> str:
        changed = {k: v for k, v in self.config.plain().items() if v != _PLAIN[k]}
        others = "".join(f", {name}={value!r}" for name, value in changed.items())
        return f"Fuser({self.prior.name!r}{others}, device={str(self.device)!r})"

    def with_config(self, **changes: Any) -> Fuser:
        """A fuser with the same prior and some other settings, those of `ddfm.FusionConfig`.

        It is what a new one with these settings would be, and shares all that is loaded already;
        only a prior that these settings need in another dtype is loaded again.
        """
        for name in ("prior", "device", "dtype", "head"):
            if name in changes:
                raise InputError(f"a variant shares the {name} of its fuser; make another Fuser")
        check_known("setting of a fusion", changes, [each.name for each in fields(FusionConfig)])
        config = replace(self.config, **changes)
        check_early(config, None)
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        if self._dtype(config) != self.dtype:
            other._load(self._dtype(config))  # afresh: the weights may have been rounded
        other._set(config)
        return other

    def _dtype(self, config: FusionConfig) -> torch.dtype:
        """The dtype that was set, or the usual one for this configuration."""
        return find_dtype(self._given_dtype, usual=usual_dtype(config, self.device))

    @undisturbed()
    def _load(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.prior = _loaded(self._given_prior, self.device, dtype)
        self.weights = self.prior.fingerprint
        self.dmfuse: DMFuse | None = None

    @undisturbed()
    def _set(self, config: FusionConfig) -> None:
        if config.method != "dmfuse":
            self.dmfuse = None
        elif self.dmfuse is None:
            self.dmfuse = DMFuse(self.prior, self._head).to(self.device)
        self.config = config
        self._resolved: dict[str, ResolvedConfig] = {}
        self.resolved(config.usual_task)

    @by_annotation
    def __call__(
        self,
        *sources: Any,
        progress: bool | None = None,
        callback: Callback | None = None,
        trajectory: bool = False,
        first_guess: np.ndarray | None = None,
        samples: int = 0,
        attribution: bool = False,
    ) -> Fusion:
        """Fuses infrared (PET, CT, ...) with visible (MRI, ...), or any number of images.

        Args:
            sources: two or more, of one size or of one shape: paths, bytes, open files, PIL images,
                NumPy arrays or tensors.
            first_guess: luminance (H, W) in [0, 1] from which a loop with a warm start begins,
                such as the result of the previous frame; None takes the likelihood's own.
                Refused if the loop starts from pure noise, or if there is no loop.
            progress: whether to show a progress bar; None shows one on a terminal if the work
                takes a while.
            callback: called with every `Step` of the sampler, which it cannot change; if it
                returns False, `ddfm.Cancelled` is raised.
            trajectory: whether the result keeps a snapshot of every step.
            samples: number of alternative results, equally likely given the noise of the sources,
                from which the `uncertainty` of the result is computed; 16 are enough, 0 is none.
            attribution: whether to compute which source the levels and gradients come from.
        """
        check_samples(samples)
        if attribution:
            check_attribution(self.config)
        if first_guess is not None and not self.has_warm_start:
            raise InputError(
                "first_guess (--warm) needs a loop with a warm start: the default likelihood, or a "
                "start (--start)"
            )
        group = self.registered(sources)
        watch = Watch(progress, callback, trajectory)
        for warning in group.warnings:
            warn(warning)
        task = task_of(group.pictures, self.config)
        (fusion,) = self._fuse([group], task, watch, first_guess, samples, attribution)
        for warning in fusion.warnings[len(group.warnings) :]:
            warn(warning)
        for note in fusion.picture.metadata.notes:
            warn(note, KeptWarning)
        return fusion

    @undisturbed()
    def registered(self, sources: Sequence[Any]) -> Registered:
        """The sources as they are fused: read, of one size, and aligned if that is set."""
        return made_ready(sources, self.config, self.resolved, self._model)

    def batch(self, groups: Iterable[Sequence[Any]], **how: Any) -> list[Fusion]:
        """The results of `stream` as a list; takes the keywords of `stream`."""
        return list(self.stream(groups, **how))

    @by_annotation
    def stream(
        self,
        groups: Iterable[Sequence[Any]],
        *,
        together: int = 1,
        progress: bool | None = None,
        callback: Callback | None = None,
        trajectory: bool = False,
        samples: int = 0,
        attribution: bool = False,
    ) -> Iterator[Fusion]:
        """Fuses pairs, or larger groups, one after the other, each as it would be fused alone.

        Args:
            groups: the sources of each result. They are read when it is their turn, so that at most
                `together` of them, and of the results, are in memory at a time.
            together: how many consecutive groups of one size go through the network at once. More
                than 1 is faster on a GPU, but its results may differ in the last digits of a float.
            progress, callback, trajectory: as in a call of the fuser.
            samples, attribution: as in a call, too; with either, `together` is 1.
        """
        check_samples(samples)
        if attribution:
            check_attribution(self.config)
        if samples or attribution:
            together = 1
        at_once = min(max(1, together), sys.maxsize)  # the most that islice takes
        for (task, *_), alike in groupby(map(self.registered, groups), self._kind):
            while some := list(islice(alike, at_once)):
                watch = Watch(progress, callback, trajectory)
                yield from self._fuse(some, task, watch, None, samples, attribution)

    def save_transform(self, path: str | os.PathLike[str]) -> None:
        """Writes the common transform by which every pair is aligned."""
        transform = self.config.found_transform()
        if transform is None:
            raise InputError("this fuser has no common transform to save")
        save_transforms(transform, path)

    def _kind(self, group: Registered) -> tuple[str, int, tuple[int, int]]:
        """What groups must share to go through the network together."""
        return task_of(group.pictures, self.config), len(group.pictures), group.pictures[0].size

    def check_number(self, number: int) -> None:
        """Raises InputError if the method or likelihood does not take this number of sources."""
        check_number(number, self.config)

    @property
    def has_warm_start(self) -> bool:
        """Whether the loop starts from a first guess, which the caller may then provide."""
        return self.resolved(self.config.usual_task).start is not None

    @by_annotation
    def with_shared_estimates(self, groups: Iterable[Sequence[Any]]) -> Fuser:
        """A fuser for a series of images, slices or frames that must all be fused in the same way.

        The curve of the tone, which is otherwise estimated for each image, is fixed at the median
        of its values for these sources. Settings of the caller take precedence.
        """
        chosen = [self._chosen(self.registered(sources)) for sources in groups]
        names = chosen[0] if chosen else ()
        medians = {k: np.median([one[k] for one in chosen], axis=0) for k in names}
        return self.with_config(options=medians | dict(self.config.options))

    def resolved(self, task: str) -> ResolvedConfig:
        """The configuration for a task, with all settings filled in and checked for this prior."""
        if task not in self._resolved:
            self._resolved[task] = resolved_for(self.config, task, len(self.prior.alphas_bar))
        return self._resolved[task]

    @by_annotation
    def settings(self, task: str) -> dict[str, Any]:
        """Everything that a result depends on except its sources, ready for JSON."""
        dtype = str(self.dtype).removeprefix("torch.")
        noted = self.resolved(task).noted(self.prior.name, self.weights, dtype, self.device.type)
        if self.dmfuse is not None:
            noted = {k: v for k, v in noted.items() if k not in _OF_THE_LOOP}
            noted["head"] = self.dmfuse.fingerprint
        return noted

    @undisturbed()
    def _fuse(
        self,
        groups: Sequence[Registered],
        task: str,
        watch: Watch,
        guess: np.ndarray | None = None,
        samples: int = 0,
        attribution: bool = False,
    ) -> list[Fusion]:
        """Fuses groups of one size, number and task together; with maps, a single group."""
        self.check_number(len(groups[0].pictures))
        done = run(groups, self.resolved(task), self._model, watch, guess)
        fusions = results(done, watch, self.settings(task))
        if samples:
            fusions = [replace(fusions[0], uncertainty=done.uncertainty(samples))]
        if attribution:
            fusions = [replace(fusions[0], attribution=done.attribution())]
        return fusions

    @property
    def _model(self) -> Model:
        return Model(self.prior, self.device, self.dmfuse)

    def _chosen(self, group: Registered) -> Chosen:
        """The options that would be estimated for these sources alone."""
        task = task_of(group.pictures, self.config)
        if self.dmfuse is None and not Tone.among(self.resolved(task).options).spread:
            return {}
        return self._fuse([group], task, Watch(False))[0].chosen


def _loaded(prior: Any, device: torch.device, dtype: torch.dtype) -> Prior:
    """The prior on the device; an object of the caller is copied if need be, and never changed."""
    stage("loading the prior")
    if isinstance(prior, str | Path):
        return load_prior(prior).to(device, dtype)
    return load_prior(prior).at(device, dtype)
