"""One run: fuses groups of sources together, by the loop or by the trained head.

    luminance of the sources -> first guess, noised -> the prior's sampling loop, in which the
    likelihood rectifies every estimate -> tone -> luminance of the result

All groups of a run have sources of one size and number, and one task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddfm.config import ResolvedConfig, name_of
from ddfm.diffusion.guided import GuidedDenoiser
from ddfm.diffusion.observed import Observed, denoised, observe, with_independent_noise
from ddfm.diffusion.samplers import Noise, find_sampler, noised
from ddfm.diffusion.watch import Watch
from ddfm.dmfuse.fuse import DMFuse
from ddfm.errors import InputError
from ddfm.imaging.color import luminance
from ddfm.imaging.picture import Picture, grey_step
from ddfm.imaging.sources import grey
from ddfm.likelihood import find_likelihood, make_likelihood
from ddfm.likelihood.base import Likelihood
from ddfm.numerics.noise_level import noise_level
from ddfm.numerics.planes import finite, levels_of, of_shape, plane, within
from ddfm.numerics.tone import Tone
from ddfm.priors.denoise import padded
from ddfm.priors.prior import Prior
from ddfm.priors.respacing import timesteps
from ddfm.priors.tiled import Tiled
from ddfm.progress import stage
from ddfm.registration.register import Registered
from ddfm.restoration.noise_laws import deviation_of
from ddfm.restoration.observation import observation_of_each
from ddfm.result import Chosen
from ddfm.trust.attribution import Attribution, attributed, check_shares
from ddfm.trust.samples import posterior_samples
from ddfm.trust.uncertainty import Uncertainty

__all__ = ["Model", "Run", "run"]


@dataclass(frozen=True)
class Model:
    """What a fusion computes with: a prior, its device, and DMFuse if that is the method."""

    prior: Prior
    device: torch.device
    dmfuse: DMFuse | None

    def tiled(self, tile: int | None, size: tuple[int, int]) -> Model:
        """The same model, with a prior that works in tiles if pictures of this size need it."""
        return replace(self, prior=Tiled.if_needed(self.prior, tile, size))

    def without_noise(self, x: Tensor, level: float) -> Tensor:
        """Luminance without noise of this level, by the prior; on the CPU."""
        return denoised(self.prior, x.to(self.device), level).cpu()


@dataclass(frozen=True)
class Run:
    """Groups after their fusion, before the results become pictures."""

    groups: Sequence[Registered]
    observed: list[list[Observed]]
    config: ResolvedConfig
    model: Model
    likelihood: Likelihood | None  # None for dmfuse
    f: Tensor | None  # result of the loop, (B, 1, H, W) in about [-1, 1], with its padding
    fused: Tensor  # luminance, (B, 1, H, W) in [0, 1]
    chosen: list[Chosen]

    @property
    def size(self) -> tuple[int, int]:
        return self.groups[0].pictures[0].size

    @torch.no_grad()
    def attribution(self) -> Attribution | None:
        """The attribution of the result, for a run of one group."""
        if self.likelihood is None or self.f is None:
            return None
        shares = self.likelihood.attribution()
        if shares is None:
            return None
        pictures = self.groups[0].pictures
        shape = (1, len(pictures) + 1, *self.f.shape[-2:])
        check_shares(shares, shape, _hook("attribution", self.likelihood))
        names = [picture.name for picture in pictures]
        luminance = self.fused[0, 0].float().cpu().numpy()
        found = attributed(shares, self.observed[0], self.f, luminance, names)
        return found.among([picture.mask for picture in pictures])

    @torch.no_grad()
    def uncertainty(self, count: int) -> Uncertainty:
        """The uncertainty of the result, for a run of one group, from `count` samples."""
        config, size, model = self.config, self.size, self.model
        steps = [2 * grey_step(picture.dtype) for picture in self.groups[0].pictures]
        found = self.groups[0].observed or [{}] * len(steps)
        scales = [float(about.get("scale", 1.0)) for about in found]
        removed = [
            2 / 255 * deviation_of(about.get("noise", 0.0), 255 * float(grey(picture).mean()))
            for about, picture in zip(found, self.groups[0].pictures, strict=True)
        ]
        sources = with_independent_noise(
            self.observed[0], size, steps, scales, removed, config.task
        )
        tone = Tone.among(config.options).with_curve_of(self.chosen[0])

        def fuse(s: list[Tensor], seeds: list[int]) -> Tensor:
            if self.likelihood is None:
                return tone.again(_in_one_pass(s, config, model, size))
            f = self.likelihood.again(*s)
            if f is None:
                noise, quiet = [0.0] * len(seeds), Watch(False)
                with quiet:
                    f, _ = _in_a_loop(s, noise, config, model.prior, quiet, None, seeds)
            else:
                f = _returned(f, s[0].shape, "again", self.likelihood)
            return tone.again(_finished(f, size, self.likelihood))

        samples = posterior_samples(sources, model.prior, fuse, count, config.seed, size)
        return Uncertainty(self.fused[0, 0].float().cpu().numpy(), samples)


@torch.no_grad()
def run(
    groups: Sequence[Registered],
    config: ResolvedConfig,
    model: Model,
    watch: Watch,
    guess: np.ndarray | None = None,
) -> Run:
    """Fuses groups together; `guess` is a first guess of the luminance, (H, W) in [0, 1]."""
    if model.dmfuse is not None and watch.trajectory:
        raise InputError("dmfuse has one pass, and no steps to keep (trajectory, --save-steps)")
    size = groups[0].pictures[0].size
    model = model.tiled(config.tile, size)
    f: Tensor | None = None
    likelihood: Likelihood | None = None
    with watch:
        observed = [_observed(group.pictures, config, model) for group in groups]
        by_source = zip(*([x.likely for x in sources] for sources in observed), strict=True)
        s = [torch.cat(of_all) if len(of_all) > 1 else of_all[0] for of_all in by_source]
        stage(f"fusing {size[1]} x {size[0]} pixels")
        if model.dmfuse is None:
            first = None if guess is None else _guess(guess, size, model)
            noise = [_noise_left(sources, size) for sources in observed]
            seeds = [config.seed] * len(groups)
            f, likelihood = _in_a_loop(s, noise, config, model.prior, watch, first, seeds)
            fused = _finished(f, size, likelihood)
        else:
            fused = _in_one_pass(s, config, model, size)
        fused, chosen = Tone.among(config.options)(fused)
    return Run(groups, observed, config, model, likelihood, f, fused, chosen)


def _in_a_loop(
    s: list[Tensor],
    noise: list[float],
    config: ResolvedConfig,
    prior: Prior,
    watch: Watch,
    guess: Tensor | None,
    seeds: list[int],
) -> tuple[Tensor, Likelihood]:
    """Fused luminance in about [-1, 1] by DDFM, and the likelihood in its final state."""
    likelihood = _likelihood(s, noise, config)
    draw = Noise(seeds)
    start = len(prior.alphas_bar) - 1 if config.start is None else config.start
    steps = timesteps(start + 1, config.steps)
    watch.expect(len(steps), likelihood)
    noisy = _noisy(s[0], likelihood, config, prior, guess, draw)
    shape = noisy.shape
    x = find_sampler(config.sampler)(
        GuidedDenoiser(prior, likelihood, clip=config.clip),
        noisy,
        steps,
        prior.alphas_bar,
        noise=draw,
        callback=watch,
    )
    sampler = f"the sampler {name_of(config.sampler)}"
    return luminance(finite(of_shape(x, shape, sampler), sampler)), likelihood


def _likelihood(s: list[Tensor], noise: list[float], config: ResolvedConfig) -> Likelihood:
    """The likelihood of these sources, in which this noise is left."""
    # An option that is None keeps its default.
    options = {k: v for k, v in Tone.others(config.options).items() if v is not None}
    options |= {"balance": config.balance} if config.balance else {}
    likelihood = make_likelihood(config.likelihood, s, **options)
    likelihood.noise = torch.tensor(noise, dtype=torch.float32)
    return likelihood


def _noisy(
    like: Tensor,
    likelihood: Likelihood,
    config: ResolvedConfig,
    prior: Prior,
    guess: Tensor | None,
    draw: Noise,
) -> Tensor:
    """What the loop begins with: pure noise, or a first guess with the noise of its timestep."""
    channels = (-1, prior.channels, -1, -1)
    noise = draw(like.expand(channels))
    if config.start is None:
        return noise
    if guess is None:
        guess = _returned(likelihood.first_guess(), like.shape, "first_guess", likelihood)
    return noised(guess.expand(channels), config.start, prior.alphas_bar, noise)


def _finished(f: Tensor, size: tuple[int, int], likelihood: Likelihood) -> Tensor:
    """Fused luminance in [0, 1] from the result of the loop, without its padding."""
    f = within(f, size)
    return _returned(likelihood.finish(f), f.shape, "finish", likelihood)


def _returned(x: Any, shape: Sequence[int], name: str, likelihood: Likelihood) -> Tensor:
    """What a method of a likelihood returned; it may be the user's own, and is checked."""
    what = _hook(name, likelihood)
    return finite(of_shape(x, shape, what), what)


def _hook(name: str, likelihood: Likelihood) -> str:
    return f"{name} of the likelihood {type(likelihood).__name__}"


def _in_one_pass(
    s: list[Tensor], config: ResolvedConfig, model: Model, size: tuple[int, int]
) -> Tensor:
    """Fused luminance in [0, 1], by DMFuse."""
    assert model.dmfuse is not None
    return levels_of(within(model.dmfuse(*s, seed=config.seed, tile=config.tile), size))


def _observed(pictures: Sequence[Picture], config: ResolvedConfig, model: Model) -> list[Observed]:
    """The sources as the likelihood takes them, with their noise removed if there is any."""
    stage("estimating noise")
    observed = []
    known = observation_of_each(config.observations, len(pictures))
    for picture, observation in zip(pictures, known, strict=True):
        x = _padded(_prepared(grey(picture), config), model)
        specified = observation.noise is not None
        one = observe(x, model.prior, picture.size, config.clean, picture.clipped_noise, specified)
        observed.append(one)
    return observed


def _prepared(levels: np.ndarray, config: ResolvedConfig) -> np.ndarray:
    """The luminance of a source in the form that the likelihood needs."""
    prepare = getattr(find_likelihood(config.likelihood), "prepared", Likelihood.prepared)
    found = prepare(levels)
    alike = isinstance(found, np.ndarray) and found.shape == levels.shape
    if alike and np.isfinite(found).all():
        return found
    raise InputError(
        f"prepared of the likelihood {name_of(config.likelihood)} must return an array of shape "
        f"{levels.shape}, of finite numbers"
    )


def _guess(guess: np.ndarray, size: tuple[int, int], model: Model) -> Tensor:
    guess = np.asarray(guess)
    if guess.shape != size:
        raise InputError(f"the first guess has the shape {guess.shape}, the sources {size}")
    if not np.isfinite(guess).all():
        raise InputError(
            "the first guess has values that are NaN or infinite; those of Fusion.picture have none"
        )
    return _padded(guess, model)


def _padded(levels: np.ndarray, model: Model) -> Tensor:
    """Levels (H, W) in [0, 1] as a padded plane on the device, as the prior takes them."""
    return padded(plane(levels), model.prior.multiple).to(model.device)


def _noise_left(sources: Sequence[Observed], size: tuple[int, int]) -> float:
    """The strongest noise that is left in any source that was denoised; 0 if none was."""
    means = [source.mean for source in sources if source.mean is not None]
    return max((noise_level(within(mean, size)) for mean in means), default=0.0)
