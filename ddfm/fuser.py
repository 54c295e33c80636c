"""Fuse registered images of one scene: the algorithm's story.

    sources -> luminance -> a first guess, noised -> the prior's sampling loop, its every estimate
    rectified by the likelihood -> tone -> luminance of the result -> colour, depth and size of the
    sources

`Fuser` holds a prior and its settings, and fuses any number of pairs; `fuse` is one call. Method
"dmfuse" has one pass of a trained head in place of first guess and loop; all else is the same.
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddfm.arguments import by_annotation
from ddfm.config import MIXED, FusionConfig, ResolvedConfig, name_of
from ddfm.diffusion.guided import GuidedDenoiser
from ddfm.diffusion.observed import Observed, observe, with_independent_noise
from ddfm.diffusion.samplers import Noise, find_sampler, noised
from ddfm.diffusion.watch import Callback, Watch
from ddfm.dmfuse.fuse import OVERLAP, DMFuse, check_options
from ddfm.errors import DdfmWarning, InputError
from ddfm.imaging.color import luminance
from ddfm.imaging.metadata import kept_word
from ddfm.imaging.picture import Picture, grey_step
from ddfm.imaging.sources import (
    common_size,
    equally_bright,
    grey,
    in_color,
    read_sources,
    with_metadata,
)
from ddfm.likelihood import check_source_count, find_likelihood, make_likelihood
from ddfm.likelihood.base import Likelihood
from ddfm.numerics.device import fast_dtype, find_device, find_dtype
from ddfm.numerics.noise_level import noise_level
from ddfm.numerics.tone import Tone
from ddfm.priors import load_prior
from ddfm.priors.denoise import denoise, padded
from ddfm.priors.prior import Prior
from ddfm.priors.respacing import timesteps
from ddfm.priors.tile_sizes import check_tile
from ddfm.priors.tiled import Tiled
from ddfm.progress import stage
from ddfm.registration.pictures import Registered, lay, reference_of
from ddfm.restoration.restore import restored, with_luminance
from ddfm.result import Chosen, Fusion
from ddfm.trust.attribution import Attribution, attributed
from ddfm.trust.samples import check_samples, posterior_samples
from ddfm.trust.uncertainty import Uncertainty
from ddfm.version import __version__

__all__ = ["Fuser", "Fusion", "check_attribution", "check_number", "fuse"]

Pictures = tuple[Picture, ...]  # of one scene, two or more
Part = str | Callable[..., Any]
_PLAIN = FusionConfig().plain()
SLOW = "float16 is much slower than float32 on a CPU; dtype auto (--dtype auto) takes the fastest"

_OF_THE_LOOP = ("likelihood", "sampler", "steps", "start", "clip")


def fuse(*sources: Any, prior: Any = "default", **kwargs: Any) -> Fusion:
    """Fuses registered images, two or more. Keywords are those of `Fuser` and of its call."""
    of_call = {name: kwargs.pop(name) for name in OF_CALL if name in kwargs}
    return Fuser(prior, **kwargs)(*sources, **of_call)


@dataclass(frozen=True)
class _Run:
    """What is known when groups are fused, and before they are pictures again."""

    groups: Sequence[Registered]
    observed: list[list[Observed]]
    config: ResolvedConfig
    prior: Prior
    likelihood: Likelihood | None  # of DDFM
    f: Tensor | None  # as the loop left it, (B, 1, H, W) about [-1, 1], with its padding
    fused: Tensor  # luminance, (B, 1, H, W) in [0, 1]
    chosen: list[Chosen]

    @property
    def size(self) -> tuple[int, int]:
        return self.groups[0].pictures[0].size

    @torch.no_grad()
    def attribution(self) -> Attribution | None:
        """Of the one result of this run."""
        shares = None if self.likelihood is None else self.likelihood.attribution()
        if shares is None or self.f is None:
            return None
        names = [picture.name for picture in self.groups[0].pictures]
        luminance = self.fused[0, 0].float().cpu().numpy()
        return attributed(shares, self.observed[0], self.f, luminance, names)


class Fuser:
    """Loads a prior once, and fuses any number of pairs with it.

    Args:
        prior: whatever `ddfm.load_prior` takes: a name, a path, a model, or a prior. One that is
            shared stays as it is: where device or dtype are to change, a copy is used.
        method, task, likelihood, sampler, steps, start, clean, clip: as in `ddfm.FusionConfig`.
            Likelihood and sampler may be the caller's own.
        balance, seed, tone, color, resize, observations: likewise.
        align, align_to, transform, crop, look: likewise.
        metadata_from, strip, tile, options: likewise.
        device: "auto", "cpu", "cuda", "mps", ...
        dtype: of the network: "float32", "bfloat16", "float16", or "auto": the fastest that makes
            no difference to be seen, which is bfloat16 on processors with instructions for it, and
            float32 elsewhere, for dmfuse, and for loops that begin with pure noise.
        head: weights of dmfuse, trained by `ddfm train-dmfuse`; None takes those of ddfm.

    Attributes:
        config: what was said, a `FusionConfig`; `with_config` makes a fuser with another one.
    """

    def __init__(
        self,
        prior: Any = "default",
        *,
        method: str = "ddfm",
        task: str = "auto",
        likelihood: Part = "default",
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
        metadata_from: str = "auto",
        strip: bool = False,
        tile: int | None = None,
        options: dict[str, Any] | None = None,
        head: str | os.PathLike[str] | None = None,
    ) -> None:
        config = FusionConfig(
            method=method,
            task=task,
            likelihood=likelihood,
            sampler=sampler,
            steps=steps,
            start=start,
            clean=clean,
            clip=clip,
            balance=balance,
            seed=seed,
            tone=tone,
            color=color,
            resize=resize,
            observations=observations,
            align=align,
            align_to=align_to,
            transform=transform,
            crop=crop,
            look=look,
            metadata_from=metadata_from,
            strip=strip,
            tile=tile,
            options={} if options is None else options,
        )
        _check(config, head)  # before there is work
        self.device = find_device(device)
        self.dtype = find_dtype(dtype, usual=_usual_dtype(config, self.device))
        if self.dtype == torch.float16 and self.device.type == "cpu":
            warnings.warn(SLOW, DdfmWarning, stacklevel=2)
        self.prior = _loaded(prior, self.device, self.dtype)
        self.weights = self.prior.fingerprint
        self.dmfuse = DMFuse(self.prior, head).to(self.device) if method == "dmfuse" else None
        self._set(config)

    def __repr__(self) -> str:
        said = {k: v for k, v in self.config.plain().items() if v != _PLAIN[k]}
        others = "".join(f", {name}={value!r}" for name, value in said.items())
        return f"Fuser({self.prior.name!r}{others}, device={str(self.device)!r})"

    def with_config(self, **changes: Any) -> Fuser:
        """A fuser with the same prior, where some of the configuration is different."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._set(replace(self.config, **changes))
        return other

    def _set(self, config: FusionConfig) -> None:
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
            first_guess: luminance (H, W) in [0, 1] that a loop with a warm start begins with,
                such as the result of the frame before; None takes the likelihood's own.
                Refused where the loop starts from pure noise, or where there is none.
            progress: a bar; None shows one on a terminal if the work takes a while.
            callback: sees every `Step` of the sampler; if it returns False, `ddfm.Cancelled` is
                raised.
            trajectory: whether the result keeps a snapshot of every step.
            samples: how many other results, as possible by the noise of the sources, the
                `uncertainty` of the result is taken from; 16 will do, 0 is for none.
            attribution: whether the result knows which source its levels and gradients are from.
        """
        check_samples(samples)
        if attribution:
            check_attribution(self.config)
        if first_guess is not None and not self.has_warm_start:
            raise InputError(
                "first_guess (--warm) is for a loop with a warm start: for likelihood default, or "
                "any with a start"
            )
        laid = self.registered(sources)
        watch = Watch(progress, callback, trajectory)
        for word in laid.words:
            warnings.warn(word, DdfmWarning, stacklevel=2)
        run = self._run([laid], self._task_of(laid.pictures), watch, first_guess)
        fusion = self._results(run, watch)[0]
        if samples:
            fusion = replace(fusion, uncertainty=self._uncertainty(run, samples))
        if attribution:
            fusion = replace(fusion, attribution=run.attribution())
        words = fusion.words[len(laid.words) :]
        for word in (*words, kept_word(fusion.kept)) if fusion.kept else words:
            warnings.warn(word, DdfmWarning, stacklevel=2)
        return fusion

    def registered(self, sources: Sequence[Any]) -> Registered:
        """The sources as they are fused: read, of one size, and aligned where that is asked for."""
        config = self.config
        stage("reading the sources")
        if config.align == "once":
            raise InputError("align=once (--align once) is for folders and films, not for one pair")
        moves = config.moves
        came = read_sources(sources, config.resize, alike=False)
        reference = reference_of(config.align_to, config.resize, len(came))
        if moves:
            sizes = [_as_fine(p.size, came[reference].size) for p in came]
        else:
            sizes = [common_size(came, config.resize)] * len(came)
        pictures, observed = self._restored(came, sizes, guided=not moves)
        if moves or config.look:
            stage("aligning" if moves else "looking whether the sources lie on each other")
        laid = lay(
            pictures,
            config.align,
            transform=config.found_transform(),
            reference=reference,
            crop=config.crop == "common",
            look=config.look,
        )
        return replace(laid, observed=observed)

    @torch.no_grad()
    def _restored(
        self, came: Pictures, sizes: Sequence[tuple[int, int]], *, guided: bool
    ) -> tuple[Pictures, list[dict[str, Any]]]:
        """Sources without what happened to them on their way."""
        config = self.resolved(self._task_of(came))

        def denoised(x: Tensor, level: float) -> Tensor:
            prior = Tiled.if_needed(self.prior, config.tile, (x.shape[-2], x.shape[-1]))
            x = x.to(self.device)
            return luminance(denoise(prior, _channels(x, prior), level)).cpu()

        said = config.observations
        return restored(came, said, sizes, denoised, clean=config.clean, guided=guided)

    def batch(self, groups: Iterable[Sequence[Any]], **how: Any) -> list[Fusion]:
        """All results of `stream`, whose keywords it takes."""
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
    ) -> Iterator[Fusion]:
        """Fuses pairs, or larger groups, as they are asked for; each comes out as it would alone.

        Args:
            groups: the sources of each result. They are read when their turn comes, so that no
                more than `together` of them, and of the results, need memory at a time.
            together: how many neighbours of one size go through the network at once. More than 1
                is faster on a GPU, whose kernels then differ in the last digits of a float.
        """
        for (task, *_), alike in groupby(map(self.registered, groups), self._kind):
            for some in _chunks(alike, together):
                yield from self._fuse(some, task, Watch(progress, callback, trajectory))

    def save_transform(self, path: str | os.PathLike[str]) -> None:
        """Writes the transform that every pair is laid by."""
        transform = self.config.found_transform()
        if transform is None:
            raise InputError("this fuser has no transform of its own to be saved")
        transform.save(path)

    def _kind(self, laid: Registered) -> tuple[str, int, tuple[int, int]]:
        """What groups must share to go through the network together."""
        return self._task_of(laid.pictures), len(laid.pictures), laid.pictures[0].size

    def check_number(self, number: int) -> None:
        """Refuses more sources than are fused at a time."""
        check_number(number, self.config)

    @property
    def has_warm_start(self) -> bool:
        """Whether the loop starts from a first guess, which can then be given."""
        return self.resolved(self.config.usual_task).start is not None

    @by_annotation
    def with_shared_estimates(self, groups: Iterable[Sequence[Any]]) -> Fuser:
        """A fuser for a series of images, slices or frames, that are all fused alike.

        What would be set image by image, the curve of the tone, is set to the median of what it
        is for these sources. What the caller has set remains.
        """
        chosen = [self._chosen(self.registered(sources)) for sources in groups]
        names = chosen[0] if chosen else ()
        medians = {k: np.median([one[k] for one in chosen], axis=0) for k in names}
        return self.with_config(options=medians | dict(self.config.options))

    def resolved(self, task: str) -> ResolvedConfig:
        """The configuration for a task, nothing left open, and possible with this prior."""
        if task not in self._resolved:
            self._resolved[task] = _possible(self.config, task, len(self.prior.alphas_bar))
        return self._resolved[task]

    @by_annotation
    def settings(self, task: str) -> dict[str, Any]:
        """All that a result depends on beside its sources, ready for JSON."""
        config = self.resolved(task).plain()
        if self.dmfuse is not None:
            config = {k: v for k, v in config.items() if k not in _OF_THE_LOOP}
            config["head"] = self.dmfuse.fingerprint
        return {
            "ddfm": __version__,
            "prior": self.prior.name,
            "weights": self.weights,
            **config,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.device.type,
        }

    def _fuse(
        self, groups: Sequence[Registered], task: str, watch: Watch, guess: np.ndarray | None = None
    ) -> list[Fusion]:
        """Groups of one size, one number and one task, together."""
        return self._results(self._run(groups, task, watch, guess), watch)

    @torch.no_grad()
    def _run(
        self, groups: Sequence[Registered], task: str, watch: Watch, guess: np.ndarray | None
    ) -> _Run:
        self.check_number(len(groups[0].pictures))
        if self.dmfuse is not None and watch.trajectory:
            raise InputError("dmfuse is one pass: no steps to keep (trajectory, --save-steps)")
        config = self.resolved(task)
        size = groups[0].pictures[0].size
        prior = Tiled.if_needed(self.prior, config.tile, size)
        seeds = [config.seed] * len(groups)
        f: Tensor | None = None
        likelihood: Likelihood | None = None
        with watch:
            observed = [self._observed(laid.pictures, config, prior) for laid in groups]
            by_source = zip(*([x.likely for x in sources] for sources in observed), strict=True)
            s = [torch.cat(of_all) if len(of_all) > 1 else of_all[0] for of_all in by_source]
            stage(f"fusing {size[1]} x {size[0]} pixels")
            if self.dmfuse is None:
                first = None if guess is None else self._guess(guess, size, prior)
                noise = [_noise_left(sources, size) for sources in observed]
                f, likelihood = self._in_a_loop(s, noise, config, prior, watch, first, seeds)
                fused = likelihood.finish(_within(f, size))
                fused, chosen = Tone.among(config.options)(fused)
            else:
                fused, chosen = self._in_one_pass(s, config, size)
        return _Run(groups, observed, config, prior, likelihood, f, fused, chosen)

    def _results(self, run: _Run, watch: Watch) -> list[Fusion]:
        config, size = run.config, run.size
        shares = run.likelihood.shares() if run.likelihood and config.task in MIXED else None
        if shares is not None:
            shares = _within(shares, size).float().cpu()
        planes = run.fused[:, 0].float().cpu().numpy()
        results = []
        for k, laid in enumerate(run.groups):
            own = None if shares is None else shares[k]
            picture, words = with_metadata(
                in_color(planes[k], laid.pictures, config.color, own),
                laid.pictures,
                config.color,
                config.metadata_from,
                config.strip,
            )
            settings = self.settings(config.task) | _about(laid, run.observed[k])
            snapshots = watch.snapshots(k, size)
            words = laid.words + words
            latents = _latents(laid.pictures, run.observed[k])
            results.append(Fusion(picture, settings, snapshots, run.chosen[k], words, latents))
        return results

    def _in_a_loop(
        self,
        s: list[Tensor],
        noise: list[float],
        config: ResolvedConfig,
        prior: Prior,
        watch: Watch,
        guess: Tensor | None,
        seeds: list[int],
    ) -> tuple[Tensor, Likelihood]:
        """Fused luminance about [-1, 1], by DDFM, and the likelihood as it is at the end."""
        options = _given(Tone.others(config.options))
        options |= {"balance": config.balance} if config.balance else {}
        likelihood = make_likelihood(config.likelihood, s, **options)
        likelihood.noise = torch.tensor(noise)
        draw = Noise(seeds)
        x = draw(_channels(s[0], prior))
        start = len(prior.alphas_bar) - 1 if config.start is None else config.start
        if config.start is not None:
            first = likelihood.first_guess() if guess is None else guess
            x = noised(_channels(first, prior), start, prior.alphas_bar, x)
        steps = timesteps(start + 1, config.steps)
        watch.expect(len(steps))
        x = find_sampler(config.sampler)(
            GuidedDenoiser(prior, likelihood, clip=config.clip),
            x,
            steps,
            prior.alphas_bar,
            noise=draw,
            callback=watch,
        )
        return luminance(x), likelihood

    def _in_one_pass(
        self, s: list[Tensor], config: ResolvedConfig, size: tuple[int, int], **options: Any
    ) -> tuple[Tensor, list[Chosen]]:
        """Fused luminance in [0, 1], by DMFuse, and the curve of each image."""
        assert self.dmfuse is not None
        options = _given(config.options) | options
        f, chosen = self.dmfuse(*s, seed=config.seed, tile=config.tile, **options)
        return ((_within(f, size) + 1) / 2).clamp(0, 1), chosen

    @torch.no_grad()
    def _uncertainty(self, run: _Run, count: int) -> Uncertainty:
        """Of the one result of a run: as many others, of what its sources may have been."""
        config, size = run.config, run.size
        steps = [2 * grey_step(picture.dtype) for picture in run.groups[0].pictures]
        sources = with_independent_noise(run.observed[0], size, steps)
        tone = Tone.among(config.options).with_curve_of(run.chosen[0])

        def fuse(s: list[Tensor], seeds: list[int]) -> Tensor:
            if run.likelihood is None:
                return self._in_one_pass(s, config, size, curve=tone.curve)[0]
            f = run.likelihood.again(*s)
            if f is None:
                noise, quiet = [0.0] * len(seeds), Watch(False)
                with quiet:
                    f, _ = self._in_a_loop(s, noise, config, run.prior, quiet, None, seeds)
            return tone(run.likelihood.finish(_within(f, size)))[0]

        samples = posterior_samples(sources, run.prior, fuse, count, config.seed)
        removed = any(source.mean is not None for source in sources)
        return Uncertainty.of(run.fused[0, 0].float().cpu().numpy(), samples, removed=removed)

    @torch.no_grad()
    def _chosen(self, laid: Registered) -> Chosen:
        """The options that would be set for these sources alone."""
        task = self._task_of(laid.pictures)
        if self.dmfuse is None and not Tone.among(self.resolved(task).options).spread:
            return {}
        return self._fuse([laid], task, Watch(False))[0].chosen

    def _guess(self, guess: np.ndarray, size: tuple[int, int], prior: Prior) -> Tensor:
        guess = np.asarray(guess)
        if guess.shape != size:
            raise InputError(f"the first guess has the shape {guess.shape}, the sources {size}")
        return padded(_plane(guess), prior.multiple).to(self.device)

    def _observed(self, pictures: Pictures, config: ResolvedConfig, prior: Prior) -> list[Observed]:
        """The sources as the likelihood is to see them."""
        prepared = getattr(find_likelihood(config.likelihood), "prepared", Likelihood.prepared)
        stage("estimating noise")
        observed = []
        for picture in pictures:
            x = padded(_plane(prepared(grey(picture))), prior.multiple).to(self.device)
            observed.append(observe(x, prior, picture.size, config.clean, picture.clipped_noise))
        return observed

    def _task_of(self, pictures: Pictures) -> str:
        if self.config.task != "auto":
            return self.config.task
        if not all(p.is_color for p in pictures):
            return "ir-visible"
        return "multi-focus" if equally_bright(pictures) else "multi-exposure"


def _signature() -> inspect.Signature:
    """All that `fuse` takes, by name: of `Fuser`, and of its call."""
    of_fuser = inspect.signature(Fuser).parameters
    of_call = inspect.signature(Fuser.__call__).parameters
    own = inspect.signature(fuse)
    named = [p for p in of_fuser.values() if p.kind is p.KEYWORD_ONLY]
    named += [of_call[name] for name in OF_CALL]
    sources, prior, _ = own.parameters.values()
    return own.replace(parameters=[sources, prior, *named])


OF_CALL = ("progress", "callback", "trajectory", "first_guess", "samples", "attribution")
fuse.__signature__ = _signature()  # type: ignore[attr-defined]


def check_number(number: int, config: FusionConfig) -> None:
    """Refuses more sources than the method and the likelihood take."""
    if config.method == "dmfuse" and number != 2:
        raise InputError(f"dmfuse fuses two images, infrared and visible, not {number}")
    check_source_count(number, config.likelihood)
    if config.balance and number != 2:
        raise InputError(f"balance (--balance) is between two sources, not {number}")


def check_attribution(config: FusionConfig) -> None:
    """Refuses a method, or a likelihood, that does not know what comes from where."""
    knows = getattr(find_likelihood(config.likelihood), "attribution", Likelihood.attribution)
    if config.method == "dmfuse" or knows is Likelihood.attribution:
        name = config.method if config.method == "dmfuse" else name_of(config.likelihood)
        raise InputError(f"attribution: {name} does not know which source its result is from")


def _check(config: FusionConfig, head: Any) -> None:
    """Refuses what can be known to be wrong before a prior is loaded."""
    if config.method == "dmfuse":
        check_tile(config.tile, OVERLAP)
        check_options(config.options)
        return
    find_sampler(config.resolved(config.usual_task).sampler)
    if head is not None:
        raise InputError("a head is for method dmfuse; give --method dmfuse with it")


def _possible(config: FusionConfig, task: str, length: int) -> ResolvedConfig:
    """The configuration for a task, with a prior of so many timesteps."""
    full = config.resolved(task)
    if config.method == "dmfuse":
        return full
    if full.start is not None and not 0 <= full.start < length:
        raise InputError(f"start must be a timestep from 0 to {length - 1}, not {full.start}")
    available = length if full.start is None else full.start + 1
    if config.steps is None and isinstance(full.steps, int):
        full = replace(full, steps=min(full.steps, available))
    timesteps(available, full.steps)
    return full


def _usual_dtype(config: FusionConfig, device: torch.device) -> torch.dtype:
    """For few steps from a first guess; long loops, and trained heads, make rounding visible."""
    late = config.resolved(config.usual_task).start is not None
    return fast_dtype(device) if late and config.method == "ddfm" else torch.float32


def _loaded(prior: Any, device: torch.device, dtype: torch.dtype) -> Prior:
    """A file is read to where it is used; what the caller holds is left as it is."""
    stage("loading the prior")
    if isinstance(prior, str | Path):
        return load_prior(prior).to(device, dtype)
    return load_prior(prior).at(device, dtype)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """None leaves an option to whoever has it."""
    return {name: value for name, value in options.items() if value is not None}


def _chunks(groups: Iterable[Registered], size: int) -> Iterator[list[Registered]]:
    some: list[Registered] = []
    for laid in groups:
        some.append(laid)
        if len(some) >= size:
            yield some
            some = []
    if some:
        yield some


def _latents(pictures: Pictures, sources: Sequence[Observed]) -> Pictures:
    """The sources as they were fused: where there was noise, without it."""
    done = []
    for picture, source in zip(pictures, sources, strict=True):
        if source.mean is not None:
            plane = ((_within(source.likely, picture.size)[0, 0] + 1) / 2).clamp(0, 1)
            picture = with_luminance(picture, plane.float().cpu().numpy())
        done.append(picture)
    return tuple(done)


def _as_fine(size: tuple[int, int], reference: tuple[int, int]) -> tuple[int, int]:
    """The size of a picture that is to be laid on a finer one; a coarser one takes it as it is."""
    scale = max(1.0, max(reference) / max(size))
    return round(scale * size[0]), round(scale * size[1])


def _plane(levels: np.ndarray) -> Tensor:
    """(H, W) in [0, 1] as (1, 1, H, W) in [-1, 1]."""
    return torch.from_numpy(2 * levels.astype(np.float32) - 1)[None, None]


def _channels(x: Tensor, prior: Prior) -> Tensor:
    """A grey image with as many channels as the prior has."""
    return x.expand(-1, prior.channels, -1, -1)


def _within(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Without what was padded."""
    height, width = size
    return x[..., :height, :width]


def _noise_left(sources: Sequence[Observed], size: tuple[int, int]) -> float:
    """The most that is left in a source whose noise was removed."""
    means = [source.mean for source in sources if source.mean is not None]
    return max((noise_level(_within(mean, size)) for mean in means), default=0.0)


def _about(laid: Registered, sources: Sequence[Observed]) -> dict[str, Any]:
    names = [picture.name for picture in laid.pictures]
    noise = [round(source.level, 5) for source in sources]
    digests = [picture.sha256 for picture in laid.pictures]
    about = {"sources": names, "sha256": digests, "source_noise": noise, "alignment": laid.about}
    about |= {"observed": list(laid.observed)} if any(laid.observed) else {}
    levels = [list(p.range) if p.range and p.dtype.kind == "u" else None for p in laid.pictures]
    return about | ({"levels": levels} if any(levels) else {})
