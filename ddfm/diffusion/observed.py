"""A source with its noise, its likely clean image, and samples of what the clean image may be.

Noise of a known level is a timestep of the diffusion. So the prior gives, for a noisy source y, the
mean E[x | y] of the clean image x, and, by the sampling loop from that timestep down, samples of
p(x | y). Here this loop has a single step, to half of the noise:

    x_1 = m + r (y - m) + sigma_1 sqrt(1 - r) z,    sigma_1 = sigma / 2,    r = (sigma_1 / sigma)^2
    x   = m + WIDER (E[x | x_1] - m),               m = E[x | y],    z ~ N(0, 1)

For a Gaussian prior, the mean and covariance of x are known exactly. A step as long as this one
loses half of the deviation, by nearly the same factor in every direction, which WIDER restores:
where the prior leaves a tenth to all of the noise, samples have 0.9 to 1.05 of the right deviation.

A call of the prior serves two samples: the opposite deviation from m, which is as likely under a
Gaussian, gives the second. So the two take half the time, and before what is added below, their
mean is m.

The prior is overconfident: detail that it removes as noise may be real. With d the deviation of the
samples around a pixel, as above, the samples are therefore given an additional

    LOST sqrt(sigma d) z

This is strongest where there is much noise and the prior is uncertain, but not zero wherever there
was noise. It is stronger for medical images, whose texture the prior knows less well. This z is
smooth over a pixel, since structure is lost rather than grain. It changes the means over an area,
too, which white noise would not.

The prior is given slightly less noise than there is (TOLD). Cleaned sources are as close to the
truth as without this, and fusions are closer: where a gradient is lost, the other source takes its
place.

Noise that is too weak to be distinguished from texture is not removed. Then only the noise itself
is known, and x = y + sigma z. The estimated level is that of noise and texture together. At half
the size, white noise is halved and texture is not, which shows how much of the level is noise.

A source whose noise was removed before the fusion is its own mean E[x | y], and samples are drawn
around it in the same way. If it was enlarged afterwards, LEFT of that noise counts as white noise.

A source that was enlarged k times lacks log2 k octaves of detail. When it is reduced, it loses one
octave after the other, each weaker than the one before by a factor f. This factor is near 1 where
edges are sharp or there is grain, and small where a picture is smoother than its pixels, so f is
estimated for each place. The missing octaves are assumed to fall by f^p, f^(p^2), ... with the
power p = FADES, since f itself falls. Octaves are lost together at an edge, so their deviations add
up. A sample gets noise with DETAIL times this deviation, distributed within a neighbourhood by the
square root of the gradient at each pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ddfm.diffusion.samplers import Noise
from ddfm.imaging.color import luminance
from ddfm.numerics.filters import smooth
from ddfm.numerics.noise_level import is_noise, noise_level
from ddfm.numerics.planes import within
from ddfm.numerics.poisson import steepness
from ddfm.priors.denoise import denoise, unclipped
from ddfm.priors.prior import Prior
from ddfm.progress import stage

__all__ = ["LOST", "TOLD", "Observed", "denoised", "observe", "with_independent_noise"]

SHARE = 0.5  # sigma_1 / sigma: share of the noise at the end of the single step
WIDER = 2.1  # factor that restores the deviation lost by the long step
TOLD = 0.95  # share of the noise level that the prior is given, so that less detail is removed
# From benchmarks/calibration.py, on the pairs that settings are chosen on.
LOST, DETAIL = 0.4, 1.35
LOST_OF = {"medical": 0.6}
AROUND = 2.0  # pixels over which d is averaged
STRUCTURE = 1.0  # pixels over which the lost structure is smooth
LEFT = 0.35  # share of the noise removed before an enlargement that counts as white afterwards
FADES = 1.4  # p, the power by which f changes from octave to octave
FADES_OF = {"medical": 2.2}  # medical images are smoother than their pixels
PASSES = 4  # of back-projection
ROUGHER = 4.0  # energy of texture at half the size, relative to that at the full size
LEAST = 0.5 / 255  # lower bound of detail in quotients
NEAR = 3.0  # pixels before the enlargement over which f is averaged


@dataclass(frozen=True, eq=False)
class Observed:
    """One source, luminance (1, 1, H, W) in [-1, 1].

    Attributes:
        seen: the source with its noise, y.
        mean: E[x | y], by the prior; None if the noise was not removed.
        level: standard deviation of the estimated noise.
        clipped: deviation of noise that was clipped at black and white and biased the mean; 0 if
            there is nothing to correct.
        noise: deviation of the noise that belongs to this source alone, used for samples.
        lacks: deviation, pixel by pixel, of the detail missing after an enlargement.
        lost: LOST for the task.
    """

    seen: Tensor
    mean: Tensor | None
    level: float
    clipped: float
    noise: float
    lacks: Tensor | None = None
    lost: float = LOST

    @property
    def likely(self) -> Tensor:
        """The likely clean image."""
        return _unclipped(self.seen if self.mean is None else self.mean, self.clipped)

    def drawn(self, prior: Prior, noise: Noise) -> Tensor:
        """Samples of the clean image, (2 N, 1, H, W), two for each of the N streams of `noise`."""
        x = _unclipped(self._drawn(prior, noise), self.clipped)
        return x if self.lacks is None else x + self.lacks * _two_each(noise, self.seen)

    def _drawn(self, prior: Prior, noise: Noise) -> Tensor:
        """Samples, before clipping is corrected and missing detail is added."""
        if self.mean is None:
            return self.seen + self.noise * _two_each(noise, self.seen)
        sigma, r = SHARE * self.level, SHARE**2
        seen = self.seen.expand(len(noise.generators), -1, -1, -1)
        x = self.mean + r * (seen - self.mean) + sigma * math.sqrt(1 - r) * noise(seen)
        x = denoised(prior, x, sigma)
        kept = WIDER * self.noise / self.level * (x - self.mean)
        unsure = smooth(kept**2, AROUND).sqrt().repeat_interleave(2, 0)
        white = _two_each(noise, self.seen)
        structure = 2 * math.sqrt(math.pi) * STRUCTURE * smooth(white, STRUCTURE)
        lost = self.lost * (self.noise * unsure).sqrt() * structure
        return self.mean + torch.stack([kept, -kept], 1).flatten(0, 1) + lost


def observe(
    seen: Tensor,
    prior: Prior,
    size: tuple[int, int],
    clean: float,
    clipped: float | None,
    specified: bool = False,
) -> Observed:
    """Estimates the noise of a source; if it is `clean` or more, the prior removes it.

    Texture of the same strength is kept.

    Args:
        size: height and width without padding, within which noise is estimated.
        clipped: deviation of the noise that was clipped, if known to differ from that of `seen`.
        specified: whether the caller specified the noise (none, or what was removed before); then
            nothing else is removed, even if it looks like noise.
    """
    inside = within(seen, size)
    level = noise_level(inside)
    mean = None
    if not specified and is_noise(inside, level, clean):
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
    task: str = "",
) -> list[Observed]:
    """The sources, each with the deviation of its own noise, ready to draw samples from.

    A source's own noise is also in its difference from any other source. If the level there is
    lower, the rest is not noise, but something that both show. No source is more exact than the
    step between two of its grey levels.

    Args:
        steps: the step between two levels of each source.
        scales: factor by which each source was enlarged; None if none was.
        removed: deviation of the noise that was removed from each before, with some detail.
        task: medical images have other values of LOST and FADES.
    """
    inside = [within(source.seen, size) for source in sources]
    lost, fades = LOST_OF.get(task, LOST), FADES_OF.get(task, FADES)
    done = []
    for k, source in enumerate(sources):
        own = source.level if source.mean is not None else _beside_texture(inside[k], source.level)
        others = [other for j, other in enumerate(inside) if j != k]
        shared = min(noise_level(inside[k] - other) for other in others) if others else own
        scale = 1.0 if scales is None else scales[k]
        gone = 0.0 if removed is None else removed[k]
        least = steps[k] / math.sqrt(12)
        if scale > 1:
            source = replace(source, lacks=DETAIL * _lacks(source.likely, scale, fades))
            least = max(least, LEFT * gone)
        elif gone > own:
            source, own, shared = replace(source, mean=source.seen, level=gone), gone, gone
        done.append(replace(source, noise=max(min(own, shared), least), lost=lost))
    return done


def denoised(prior: Prior, x: Tensor, sigma: float) -> Tensor:
    """Luminance x without noise of deviation sigma, by the prior."""
    return luminance(denoise(prior, x.expand(-1, prior.channels, -1, -1), sigma))


def _two_each(noise: Noise, like: Tensor) -> Tensor:
    """Noise (2 N, 1, H, W), twice from each of the N streams."""
    many = like.expand(len(noise.generators), -1, -1, -1)
    return torch.stack([noise(many), noise(many)], 1).flatten(0, 1)


def _beside_texture(x: Tensor, level: float) -> float:
    """The part of a noise level that is due to white noise, which is halved at half the size."""
    if min(x.shape[-2:]) < 2:  # a single row or column has no half
        return level
    half = noise_level(F.avg_pool2d(x, 2))
    white = (ROUGHER * level**2 - half**2) / (ROUGHER - 1 / 4)
    return min(level, math.sqrt(max(white, 0.0)))


def _lacks(x: Tensor, scale: float, fades: float) -> Tensor:
    """Deviation of the detail that is missing in an enlarged picture, pixel by pixel."""
    coarse, half, quarter = (_smaller(x, scale * times) for times in (1, 2, 4))
    last, before = (
        smooth(_lost(*pair).square_(), near)
        for pair, near in (((half, coarse), NEAR), ((quarter, half), NEAR / 2))
    )
    fall = (last / _enlarged(before, coarse).clamp(min=LEAST**2)).sqrt().clamp(max=1)
    octave = last.sqrt()
    lacks, left = torch.zeros_like(coarse), math.log2(scale)
    while left > 0:
        fall = fall**fades
        octave = fall * octave
        lacks += min(left, 1.0) * octave
        left -= 1
    steep = steepness(x, scale / 2).sqrt()
    near = smooth(_smaller(steep.square(), scale), NEAR).sqrt().clamp(min=LEAST)
    return steep * _enlarged(lacks / near, x)


def _smaller(x: Tensor, times: float) -> Tensor:
    return F.interpolate(x, [max(1, round(n / times)) for n in x.shape[-2:]], mode="area")


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[-2:], mode="bilinear")


def _lost(small: Tensor, large: Tensor) -> Tensor:
    """The detail of `large` that is not in `small`, which is enlarged by back-projection."""
    enlarged = torch.zeros_like(large)
    for _ in range(PASSES):
        rest = small - F.interpolate(enlarged, small.shape[-2:], mode="area")
        enlarged += F.interpolate(rest, large.shape[-2:], mode="bicubic", antialias=True)
    return large - enlarged


def _unclipped(x: Tensor, sigma: float) -> Tensor:
    """`unclipped`, if any noise was clipped."""
    return unclipped(x, sigma) if sigma > 0 else x
