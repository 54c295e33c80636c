"""A source as it was observed: its noise, what it is likely to have been, and what else.

Noise of a known level is a timestep of the diffusion, so the prior says of a noisy source what it
has been: its mean E[x | y], and, by the sampling loop from that timestep down, samples of p(x | y).
The loop has one step here, to half of the noise:

    x_1 = m + r (y - m) + sigma_1 sqrt(1 - r) z,    sigma_1 = sigma / 2,    r = (sigma_1 / sigma)^2
    x   = m + WIDER (E[x | x_1] - m),               m = E[x | y],    z ~ N(0, 1)

Of a Gaussian prior, mean and covariance of x are known. Steps as long as this one lose half of the
deviation, by nearly the same factor for whatever the prior leaves open: of directions to which it
leaves from a tenth to all of the noise, samples have 0.9 to 1.05 of the right deviation.

The prior is surer than it should be: what it takes for noise, and smooths away, may be there.
So a sample has LOST sigma z more, by which it is as far from the truth as it says; of medical
pictures more, of whose texture the prior has seen less. This z is smooth over a pixel, for what is
lost is structure and no grain: by it means over an area are off, too, and white noise has none.

And it is told a little less noise than there is (TOLD). Sources come out as near to what they were,
and fusions nearer: a gradient that is gone leaves its place to the other source.

Where a source's noise is too weak to be told from texture it is not removed; then nothing but the
noise itself is known, and x = y + sigma z.

A source that was enlarged k times has lost detail. How much depends on what is there: an edge may
lie DETAIL (k - 1) pixels off, so a sample has as much z times the steepness of what is about it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from ddfm.diffusion.samplers import Noise
from ddfm.imaging.color import luminance
from ddfm.numerics.filters import smooth
from ddfm.numerics.noise_level import is_noise, noise_level
from ddfm.numerics.poisson import grad
from ddfm.priors.denoise import denoise, unclipped
from ddfm.priors.prior import Prior
from ddfm.progress import stage

__all__ = ["LOST", "LOST_OF", "TOLD", "Observed", "denoised", "observe", "with_independent_noise"]

SHARE = 0.5  # of the noise, that one step leads to
WIDER = 2.1
# By benchmarks/calibration.py, on the pairs that settings are chosen on.
LOST = 0.28
LOST_OF = {"medical": 0.43}
TOLD = 0.95  # of the noise that there is: it takes the less detail for noise
STRUCTURE = 1.0  # pixels, over which what is lost is smooth
DETAIL = 0.6


@dataclass(frozen=True, eq=False)
class Observed:
    """One source, luminance (1, 1, H, W) in [-1, 1].

    Attributes:
        seen: with its noise.
        mean: without, as the prior sees it; None where the noise was left.
        level: standard deviation of the noise, as it was found in the source.
        clipped: of the noise that was clipped at black and white, 0 where there is none to mend.
        noise: of the noise that it shares with no other source, from which samples are drawn.
        scale: how many times it was enlarged.
        lost: share of the noise that detail may have which is gone with it.
    """

    seen: Tensor
    mean: Tensor | None
    level: float
    clipped: float
    noise: float
    scale: float = 1.0
    lost: float = LOST

    @property
    def likely(self) -> Tensor:
        """What it is likely to have been."""
        return _unclipped(self.seen if self.mean is None else self.mean, self.clipped)

    def drawn(self, prior: Prior, noise: Noise) -> Tensor:
        """What else it may have been, (N, 1, H, W), a sample for each stream of noise."""
        count = len(noise.generators)
        seen = self.seen.expand(count, -1, -1, -1)
        x = _unclipped(self._drawn(seen, prior, noise), self.clipped)
        if self.scale <= 1:
            return x
        right, below = grad(self.likely)
        steepness = smooth(right**2 + below**2, self.scale).sqrt()
        return x + DETAIL * (self.scale - 1) * steepness * noise(seen)

    def _drawn(self, seen: Tensor, prior: Prior, noise: Noise) -> Tensor:
        """By its noise alone."""
        if self.mean is None:
            return seen + self.noise * noise(seen)
        sigma, r = SHARE * self.level, SHARE**2
        x = self.mean + r * (seen - self.mean) + sigma * math.sqrt(1 - r) * noise(seen)
        x = denoised(prior, x, sigma)
        wider = WIDER * self.noise / self.level
        structure = 2 * math.sqrt(math.pi) * STRUCTURE * smooth(noise(seen), STRUCTURE)
        return self.mean + wider * (x - self.mean) + self.lost * self.noise * structure


def observe(
    seen: Tensor, prior: Prior, size: tuple[int, int], clean: float, clipped: float | None
) -> Observed:
    """A source with its noise found, and removed by the prior where it is `clean` or more.

    What is as strong, but is texture, is left.

    Args:
        size: height and width without padding, where noise is looked for.
        clipped: the noise that was clipped, where it is known to be other than what is there.
    """
    height, width = size
    inside = seen[..., :height, :width]
    level = noise_level(inside)
    mean = None
    if level >= clean and is_noise(inside, level):
        stage("removing noise")
        mean = denoised(prior, seen, TOLD * level)
    if clipped is None:
        clipped = 0.0 if mean is None else level
    return Observed(seen, mean, level, clipped if clipped >= clean else 0.0, level)


def with_independent_noise(
    sources: Sequence[Observed],
    size: tuple[int, int],
    steps: Sequence[float],
    scales: Sequence[float] | None = None,
    removed: Sequence[float] | None = None,
    lost: float = LOST,
) -> list[Observed]:
    """The sources with what they have of noise that is their own, ready to be drawn from.

    Noise of one source alone is in its difference to every other one, too. So what is less there is
    no noise, but something that both show; and no source is more exact than its steps of grey.

    Args:
        steps: between two levels of each source.
        scales: how many times each was enlarged; None is not at all.
        removed: deviation of noise that each was rid of before, by which some detail is gone.
        lost: as of `Observed`.
    """
    height, width = size
    done = []
    for k, source in enumerate(sources):
        others = [other for j, other in enumerate(sources) if j != k]
        gaps = [(source.seen - other.seen)[..., :height, :width] for other in others]
        own = min([source.level, *map(noise_level, gaps)])
        gone = 0.0 if removed is None else lost * removed[k]
        own = max(own, steps[k] / math.sqrt(12), gone)
        scale = 1.0 if scales is None else scales[k]
        done.append(replace(source, noise=own, scale=scale, lost=lost))
    return done


def denoised(prior: Prior, x: Tensor, sigma: float) -> Tensor:
    """Luminance without its noise, as the prior sees it."""
    return luminance(denoise(prior, x.expand(-1, prior.channels, -1, -1), sigma))


def _unclipped(x: Tensor, sigma: float) -> Tensor:
    """`unclipped`, where noise was clipped."""
    return unclipped(x, sigma) if sigma > 0 else x
