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
With d the deviation that samples have about a pixel, by the above, they have

    LOST sqrt(sigma d) z

more: most where the noise is strong and the prior unsure, but something wherever there was noise.
Of medical pictures it is more, of whose texture the prior has seen less.
This z is smooth over a pixel, for what is lost is structure and no grain: by it means over an area
are off, too, and white noise has none.

And it is told a little less noise than there is (TOLD). Sources come out as near to what they were,
and fusions nearer: a gradient that is gone leaves its place to the other source.

Where a source's noise is too weak to be told from texture it is not removed; then nothing but the
noise itself is known, and x = y + sigma z. What is found there is noise and texture; of white noise
half is left at half the size, while texture is rougher there, which tells how much of it is noise.

A source that was rid of noise before the fusion is its own mean E[x | y], and samples are drawn
about it likewise; of one that was enlarged afterwards, and that the prior saw in its own size, as
white noise of LEFT of what was there.

A source that was enlarged k times has lost detail: log2 k octaves of it. Made smaller it loses one
octave after the other, each one less than the one before by a factor f, which is near 1 where
edges are sharp or there is grain, and small where a picture is smoother than its pixels; so it is
found for each place. The octaves that are gone are taken to fall by f^p, f^(p^2), ... with a power
p of FADES: f itself falls. What is lost at one edge is lost together, so octaves add up. A sample
has DETAIL times as much z, and of what is lost in a neighbourhood the more where it is steep, by
the root of how steep.
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

SHARE = 0.5  # of the noise, that one step leads to
WIDER = 2.1
TOLD = 0.95  # of the noise that there is: it takes the less detail for noise
# By benchmarks/calibration.py, on the pairs that settings are chosen on.
LOST, DETAIL = 0.5, 1.35
LOST_OF = {"medical": 0.7}
AROUND = 2.0  # pixels, over which the prior is as sure
STRUCTURE = 1.0  # pixels, over which what is lost is smooth
LEFT = 0.35  # of noise that was removed before an enlargement
FADES = 1.4  # power of the factor that detail falls by, from octave to octave
FADES_OF = {"medical": 2.0}  # which are smoother than their pixels
PASSES = 4  # of back-projection
ROUGHER = 4.0  # energy of texture at half the size, times that at the full one
LEAST = 0.5 / 255  # of detail that tells of finer detail
NEAR = 3.0  # pixels of what was enlarged, over which detail falls alike


@dataclass(frozen=True, eq=False)
class Observed:
    """One source, luminance (1, 1, H, W) in [-1, 1].

    Attributes:
        seen: with its noise.
        mean: without, as the prior sees it; None where the noise was left.
        level: standard deviation of the noise, as it was found in the source.
        clipped: of the noise that was clipped at black and white, 0 where there is none to mend.
        noise: of the noise that it shares with no other source, from which samples are drawn.
        lacks: deviation of the detail that it lacks since it was enlarged, pixel by pixel.
        lost: how much detail may have gone with its noise.
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
        """What it is likely to have been."""
        return _unclipped(self.seen if self.mean is None else self.mean, self.clipped)

    def drawn(self, prior: Prior, noise: Noise) -> Tensor:
        """What else it may have been, (N, 1, H, W), a sample for each stream of noise."""
        count = len(noise.generators)
        seen = self.seen.expand(count, -1, -1, -1)
        x = _unclipped(self._drawn(seen, prior, noise), self.clipped)
        return x if self.lacks is None else x + self.lacks * noise(seen)

    def _drawn(self, seen: Tensor, prior: Prior, noise: Noise) -> Tensor:
        """By its noise alone."""
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
    if is_noise(inside, level, clean):
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
    """The sources with what they have of noise that is their own, ready to be drawn from.

    Noise of one source alone is in its difference to every other one, too. So what is less there is
    no noise, but something that both show; and no source is more exact than its steps of grey.

    Args:
        steps: between two levels of each source.
        scales: how many times each was enlarged; None is not at all.
        removed: deviation of noise that each was rid of before, by which some detail is gone.
        task: how much detail may be gone is another matter in medical pictures.
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
    """Luminance without its noise, as the prior sees it."""
    return luminance(denoise(prior, x.expand(-1, prior.channels, -1, -1), sigma))


def _beside_texture(x: Tensor, level: float) -> float:
    """What of a level of noise is white, and so half as much at half the size; texture is not."""
    half = noise_level(F.avg_pool2d(x, 2))
    white = (ROUGHER * level**2 - half**2) / (ROUGHER - 1 / 4)
    return min(level, math.sqrt(max(white, 0.0)))


def _lacks(x: Tensor, scale: float, fades: float) -> Tensor:
    """Deviation of the detail that an enlarged picture lacks, pixel by pixel."""
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
    """What a picture has more than the smaller one, enlarged so that made smaller it is that."""
    enlarged = torch.zeros_like(large)
    for _ in range(PASSES):
        rest = small - F.interpolate(enlarged, small.shape[-2:], mode="area")
        enlarged += F.interpolate(rest, large.shape[-2:], mode="bicubic", antialias=True)
    return large - enlarged


def _unclipped(x: Tensor, sigma: float) -> Tensor:
    """`unclipped`, where noise was clipped."""
    return unclipped(x, sigma) if sigma > 0 else x
