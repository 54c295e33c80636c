"""A source as it was observed: its noise, its likely clean image, and samples of what it may be.

Noise of a known level is a timestep of the diffusion, so the prior can tell what a noisy source y
was: its mean E[x | y], and, by the sampling loop from that timestep down, samples of p(x | y). Here
the loop has one step, to half of the noise:

    x_1 = m + r (y - m) + sigma_1 sqrt(1 - r) z,    sigma_1 = sigma / 2,    r = (sigma_1 / sigma)^2
    x   = m + WIDER (E[x | x_1] - m),               m = E[x | y],    z ~ N(0, 1)

For a Gaussian prior, mean and covariance of x are known. A step as long as this one loses half of
the deviation, by nearly the same factor in every direction: where the prior leaves a tenth to all
of the noise, samples have 0.9 to 1.05 of the right deviation.

The prior is surer than it should be: detail that it smooths away as noise may be real. With d the
deviation of samples around a pixel, found as above, they get

    LOST sqrt(sigma d) z

in addition: most where the noise is strong and the prior unsure, but some wherever there was noise,
and more in medical pictures, whose texture the prior knows less well. This z is smooth over a
pixel, since what is lost is structure rather than grain; means over an area are off because of it,
too, which white noise would not cause.

The prior is told a little less noise than there is (TOLD). Cleaned sources come out as near to the
truth, and fusions nearer: where a gradient is lost, the other source fills its place.

Noise that is too weak to be told from texture is not removed. Then only the noise itself is known,
and x = y + sigma z. The level found is of noise and texture together; at half the size, white noise
is halved and texture is not, which tells how much of it is noise.

A source whose noise was removed before the fusion is its own mean E[x | y], and samples are drawn
around it likewise. If it was enlarged afterwards, LEFT of that noise counts as white noise.

A source that was enlarged k times lacks log2 k octaves of detail. Made smaller, it loses one octave
after the other, each weaker than the last by a factor f: near 1 where edges are sharp or there is
grain, small where a picture is smoother than its pixels. So f is found for each place. The missing
octaves are taken to fall by f^p, f^(p^2), ... with a power p of FADES, since f itself falls.
Octaves are lost together at an edge, so their deviations add up. A sample gets DETAIL times as much
noise, distributed within a neighbourhood by the root of how steep each pixel is.
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
from ddfm.numerics.poisson import steepness
from ddfm.priors.denoise import denoise, unclipped
from ddfm.priors.prior import Prior
from ddfm.progress import stage

__all__ = ["LOST", "TOLD", "Observed", "denoised", "observe", "with_independent_noise"]

SHARE = 0.5  # of the noise, where the one step ends
WIDER = 2.1
TOLD = 0.95  # of the noise, so that less detail is taken for noise
# From benchmarks/calibration.py, on the pairs that settings are chosen on.
LOST, DETAIL = 0.5, 1.35
LOST_OF = {"medical": 0.7}
AROUND = 2.0  # pixels, over which the deviation of samples is averaged
STRUCTURE = 1.0  # pixels, over which what is lost is smooth
LEFT = 0.35  # of the noise that was removed before an enlargement
FADES = 1.4  # p, by which the factor between octaves changes
FADES_OF = {"medical": 2.0}  # which are smoother than their pixels
PASSES = 4  # of back-projection
ROUGHER = 4.0  # energy of texture at half the size, relative to the full one
LEAST = 0.5 / 255  # of detail, to tell how it falls
NEAR = 3.0  # pixels before the enlargement, over which f is found


@dataclass(frozen=True, eq=False)
class Observed:
    """One source, luminance (1, 1, H, W) in [-1, 1].

    Attributes:
        seen: the source with its noise.
        mean: without it, by the prior; None if the noise was left.
        level: standard deviation of the noise found.
        clipped: deviation of noise that was clipped at black and white; 0 if nothing is to mend.
        noise: deviation of the noise that is this source's alone, which samples are drawn with.
        lacks: deviation of the detail that is missing after an enlargement, pixel by pixel.
        lost: LOST, or that of the task.
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
        """Samples of the clean image, (N, 1, H, W), one for each stream of noise."""
        count = len(noise.generators)
        seen = self.seen.expand(count, -1, -1, -1)
        x = _unclipped(self._drawn(seen, prior, noise), self.clipped)
        return x if self.lacks is None else x + self.lacks * noise(seen)

    def _drawn(self, seen: Tensor, prior: Prior, noise: Noise) -> Tensor:
        """Samples, without clipping and missing detail."""
        if self.mean is None:
            return seen + self.noise * noise(seen)
        sigma, r = SHARE * self.level, SHARE**2
        x = self.mean + r * (seen - self.mean) + sigma * math.sqrt(1 - r) * noise(seen)
        x = denoised(prior, x, sigma)
        kept = WIDER * self.noise / self.level * (x - self.mean)
        unsure = smooth(kept**2, AROUND).sqrt()
        structure = 2 * math.sqrt(math.pi) * STRUCTURE * smooth(noise(seen), STRUCTURE)
        return self.mean + kept + self.lost * (self.noise * unsure).sqrt() * structure


def observe(
    seen: Tensor,
    prior: Prior,
    size: tuple[int, int],
    clean: float,
    clipped: float | None,
    said: bool = False,
) -> Observed:
    """Estimates the noise of a source, and has the prior remove it if it is `clean` or more.

    Texture of the same strength is left.

    Args:
        size: height and width without padding, within which noise is estimated.
        clipped: the noise that was clipped, if it is known to differ from what is left.
        said: whether the caller told how much noise there is, none or what was removed before; then
            whatever else looks like noise is left.
    """
    height, width = size
    inside = seen[..., :height, :width]
    level = noise_level(inside)
    mean = None
    if not said and is_noise(inside, level, clean):
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
    """The sources with the noise that is each one's own, ready to draw samples from.

    A source's own noise is also in its difference from every other one. Whatever is weaker there
    is no noise, but something that both show. No source is more exact than its steps of grey.

    Args:
        steps: between two levels of each source.
        scales: how many times each was enlarged; None for not at all.
        removed: deviation of the noise that was removed from each before, and some detail with it.
        task: medical pictures have other amounts of missing detail.
    """
    height, width = size
    inside = [source.seen[..., :height, :width] for source in sources]
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
    """Luminance without its noise, by the prior."""
    return luminance(denoise(prior, x.expand(-1, prior.channels, -1, -1), sigma))


def _beside_texture(x: Tensor, level: float) -> float:
    """The part of a noise level that is white, and therefore halved at half the size."""
    half = noise_level(F.avg_pool2d(x, 2))
    white = (ROUGHER * level**2 - half**2) / (ROUGHER - 1 / 4)
    return min(level, math.sqrt(max(white, 0.0)))


def _lacks(x: Tensor, scale: float, fades: float) -> Tensor:
    """The deviation of the detail that is missing in an enlarged picture, pixel by pixel."""
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
    """The detail of a picture that is not in the smaller one, enlarged by back-projection."""
    enlarged = torch.zeros_like(large)
    for _ in range(PASSES):
        rest = small - F.interpolate(enlarged, small.shape[-2:], mode="area")
        enlarged += F.interpolate(rest, large.shape[-2:], mode="bicubic", antialias=True)
    return large - enlarged


def _unclipped(x: Tensor, sigma: float) -> Tensor:
    """`unclipped`, where noise was clipped."""
    return unclipped(x, sigma) if sigma > 0 else x
