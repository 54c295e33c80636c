r"""The default likelihood: evidence in levels and in gradients, and latent choices between sources.

Each pixel of the fused image f has a level and a gradient. Which of the K sources s_k explains them
is not known: two latent labels, one for the level and one for the gradient, with responsibilities
r_k and z_k that sum to 1 over k. Given them,

    f        ~ N(b, a^-1),        b = T(u),  u = (1 - light) sum_k r_k s_k + light max_k s_k (1)
                                  a = alpha c^rivalry,
                                  c = max(LEAST, K / (K - 1) (1 - max_k E_k / sum_k E_k))
    grad f   ~ N(g, W^-1),        g = q sum_k (z_k + m_k (1 - z_k) / (K - 1)) grad s_k       (2)
    f        ~ N(x0, rho^-1),     the prior's estimate x0, rho = lam noise^2 / sigma^2       (3)

What is bright in one source is never wholly dark. T is a curve of each image that evens out its
levels and spreads them, from the darkest upwards; gradients keep their strength: it is for contrast
of regions, not of edges. E_k is the energy of all gradients of s_k: c is 1 where all sources have
the same, and small where one has nearly all of it; the gradients chosen then are those of one
image, agree with each other, and need little to hold them together. m_k is the probability that a
detail of s_k is there whoever the gradient belongs to. Edges compete; faint texture does not, and
lies over what the other source has. W = (1 + ease^2 e)^(-1/2), with e the contrast as in (7):
gradients chosen from several sources belong to no image, and what has to give way does so at strong
edges, where it matters least.

The labels have priors that the sources give once, from what stands out in them:

    log r_k = kappa smooth_w(|s_k - a_k| + beta s_k)
              + hot smooth_2((s_k - mean s_k) / std s_k - 1.5)_+
              + sharp log smooth_4(|grad s_k|^2) + const                                     (4)
    log z_k = p log e_k - follow h_k edge / (edge + sqrt e) + const,                         (5)
              e_k = smooth_1(|grad s_k|^2),  h_k = (u - s_k)^2 / (u^2 + s_k^2) if s_k < u, else 0
    m_k = faint / (faint + sqrt e_k)                                                         (6)

(a_k is the median of s_k, or mid-grey for exposures, where kappa is negative: there the better
exposed source has the say. smooth_w is wide, and stops at the contours of the sources, so that a
region as a whole takes its level from one source; smooth_1 reaches about a pixel. The second term
of (4) is for what is far brighter than the rest of its source, a person in the cold: small, and not
to be outvoted by the region around it. The third is for pictures of differing focus, where detail
tells who is right. h_k, of levels from 0 to 1 plus DARK, is how far a source is darker than the
level chosen there, as a ratio: before something bright, texture of what is dark is foreign; edges
stand on their own, and so do lights before something dark.)

A step is one pass of EM:

    E:  z_k  proportional to  prior z_k  exp(-learn smooth_1(|grad f - grad s_k|^2) / e
                                             - room o |s_k - b|)                             (7)
        e = max_k e_k: what is not explained is judged by the contrast that is there
        o = (o + smooth_8(max(|f| - 1, -SLACK)))_+, from 0 on: where gradients lead beyond white
        or black, those of a source that is far from the level there lose; a multiplier of |f| <= 1
    M:  (a + rho + grad' W grad) f = a b + rho x0 + grad' W g                                (8)

(8) is a screened Poisson equation: a few conjugate gradients, from the last f on (the first from
the solution for W = 1), with the exact solution for an even W, in the cosine domain, as
preconditioner. The sum in (2) is weaker than either source where it mixes details that differ, and
stronger where all have the same; q restores part of the energy that the strongest has and lets
nothing go beyond it, smoothed over a pixel, and times `detail`. f may leave [-1, 1] inside the
loop; `finish` folds what lies beyond white back smoothly, by a curve that is the same for every
image.

docs/algorithm.md derives this, and tells which parts are the paper's and what each of ours brings.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ddfm.errors import DdfmError
from ddfm.likelihood.base import Chosen, Likelihood
from ddfm.numerics.filters import smooth
from ddfm.numerics.poisson import PoissonSolver, adjoint, grad
from ddfm.numerics.regions import smooth_regions
from ddfm.numerics.tone import along, fold, given_curve, good_curve

__all__ = ["EvidenceLikelihood"]

TINY = 4e-7  # keeps quotients of gradient energies finite where both sources are flat
MOST = 16.0  # times more energy than the mixture has: where sources cancel there is none to restore
DARK = 0.02  # what is added to levels from 0 to 1 before they are compared as ratios
LEAST = 0.15  # of c: where a small thing glows in one source, its level must not float either
PASSES = 3  # of the conjugate gradients, which go on from the last f
SLACK = 0.01  # the most that a pass takes back from o where f is within white and black


class EvidenceLikelihood(Likelihood):
    """Evidence in levels and gradients of any number of sources.

    Args:
        sources: luminance (B, 1, H, W) in [-1, 1] each, two or more.
        alpha: weight of the levels beside the gradients.
        rivalry: exponent of c: how much less levels weigh the less the sources compete for edges.
        competition: c, where images of one series are to have the same; None is the image's own.
        kappa: how sharply a region is given to the source that stands out in it.
        beta: how much brightness counts beside distance from a_k.
        anchor: a_k, one level for all sources; None is the median of each.
        hot: how sharply the pixels are given to a source that is far brighter there than elsewhere.
        sharp: how sharply the pixels are given to the source with more detail around them.
        width: of smooth_w, as a fraction of the shorter side.
        contour: size of an edge that half stops smooth_w; with 0 none does, and it is a Gaussian.
        light: how much of the brightest source there is in every level.
        even: how far T evens out levels, 0 to 1.
        spread: standard deviation that levels are to have; a gain in T gives it to them.
        gains: the least and the greatest gain.
        curve: T, as what levels evenly spaced from black to white become, where images of one
            series are to have the same; None is the image's own, see `chosen`.
        p: how sharply gradients are given to the source with more of them.
        follow: how strongly faint gradients lose where their source is darker than the level
            chosen; edge: size of a gradient from which on they rather do not.
        faint: size of a gradient that is as likely there as not where it was not chosen, in (6).
        restore: how much of the energy lost in mixing gradients is restored, 0 to 1.
        detail: a factor on all gradients.
        grain: standard deviation of smooth_1 in pixels.
        ease: how much sooner strong edges give way than faint texture; 0 is not at all.
        learn: weight of what f says in (7); with 0, and room 0, labels keep their priors.
        room: weight of what lies beyond white or black in (7).
        lam: weight of the prior; noise: standard deviation of what is not explained in the sources.
        knee: width of the curve that folds levels back below white.
    """

    def __init__(
        self,
        *sources: Tensor,
        alpha: float = 0.0012,
        rivalry: float = 0.0,
        competition: float | None = None,
        kappa: float = 46.0,
        beta: float = 0.7,
        anchor: float | None = None,
        hot: float = 18.0,
        sharp: float = 0.0,
        width: float = 1.25,
        contour: float = 0.03,
        light: float = 0.078,
        even: float = 0.2,
        spread: float = 0.479,
        gains: tuple[float, float] = (1.0, 1.324),
        curve: Sequence[float] | None = None,
        p: float = 0.06,
        follow: float = 18.5,
        edge: float = 0.0083,
        faint: float = 0.0036,
        restore: float = 0.095,
        detail: float = 1.055,
        grain: float = 0.86,
        ease: float = 35.0,
        learn: float = 4.4,
        room: float = 300.0,
        lam: float = 1.0,
        noise: float = 0.002,
        knee: float = 0.01,
    ) -> None:
        super().__init__(*sources)
        if min(alpha, width, spread, edge, grain, knee) <= 0:
            raise DdfmError(
                "alpha, width, spread, edge, grain and knee of the likelihood are positive"
            )
        if min(rivalry, contour, follow, faint, ease, learn, room, lam, noise) < 0:
            raise DdfmError(
                "rivalry, contour, follow, faint, ease, learn, room, lam and noise of the "
                "likelihood are not negative"
            )
        if not (0 <= light <= 1 and 0 <= even <= 1):
            raise DdfmError("light and even of the likelihood are shares, from 0 to 1")
        if rivalry > 10 or not (competition is None or 0.001 <= competition <= 1):
            raise DdfmError("rivalry of the likelihood is at most 10, competition from 0.001 to 1")
        self.alpha, self.rivalry, self.competition = alpha, rivalry, competition
        self.kappa, self.beta = kappa, beta
        self.width, self.contour = width, contour
        self.anchor, self.hot, self.sharp = anchor, hot, sharp
        self.light, self.even = light, even
        self.spread, self.gains, self.curve = spread, gains, curve
        self.p, self.follow, self.edge, self.faint = p, follow, edge, faint
        self.grain, self.restore, self.detail, self.ease = grain, restore, detail, ease
        self.learn, self.room = learn, room
        self.lam, self.noise, self.knee = lam, noise, knee
        self.b: Tensor | None = None
        self.f: Tensor | None = None
        self._first: Tensor | None = None
        self.beyond = torch.zeros(())  # o of (7)
        self._solve = PoissonSolver()

    def first_guess(self) -> Tensor:
        """What the sources say without any prior."""
        self._read_sources()
        if self._first is None:
            self._first = self._maximised(self.log_z.softmax(dim=1), None, None, 0.0)
        return self._first

    def step(self, x0: Tensor, sigma: Tensor | None) -> Tensor:
        rho = 0.0
        if sigma is not None:
            rho = (self.lam * self.noise**2 / sigma.clamp(min=1e-3) ** 2).to(x0).view(-1, 1, 1, 1)
        # The E-step is taken at the last f, not at x0: at high noise levels x0 is blurred, and
        # would give all gradients to the flatter source.
        self.f = self.first_guess() if self.f is None else self.f.to(x0)
        self._read_sources()
        self.f = self._maximised(self._responsibilities(self.f), self.f, x0, rho)
        return self.f

    def finish(self, f: Tensor) -> Tensor:
        return super().finish(fold(f, self.knee))

    def chosen(self) -> list[Chosen]:
        self._read_sources()
        chosen: list[Chosen] = [{"curve": tuple(curve)} for curve in self.own_curve.tolist()]
        if self.rivalry:
            for of_one, c in zip(chosen, self.own_competition.flatten().tolist(), strict=True):
                of_one["competition"] = c
        return chosen

    def _read_sources(self) -> None:
        """What the sources give once: levels (1), gradients, W of (2), priors of labels (4) to (6).

        Anew only where the sources have been moved to another device or dtype.
        """
        like = self.sources[0]
        if self.b is not None and self.b.device == like.device and self.b.dtype == like.dtype:
            return
        self._first = None
        s = torch.cat(self.sources, dim=1)  # (B, K, H, W)
        a = self.anchor
        if a is None:
            a = s.flatten(2).median(dim=-1).values[..., None, None]
        stands_out = (s - a).abs() + self.beta * s
        log_r = self.kappa * self._over_regions(stands_out, s)
        if self.hot:
            log_r = log_r + self.hot * smooth(_outlying(s), 2.0)
        self.right, self.below = grad(s)
        square = self.right**2 + self.below**2
        if self.sharp:
            log_r = log_r + self.sharp * (smooth(square, 4.0) + TINY).log()
        r = log_r.softmax(dim=1)
        u = (r * s).sum(1, keepdim=True)
        u = u + self.light * (s.amax(1, keepdim=True) - u)
        self.own_curve = good_curve(u, self.spread, self.gains, self.even)
        self.b = along(given_curve(self.curve, self.own_curve), u)
        self.own_competition = _competition(square)
        c = self.own_competition if self.competition is None else self.competition
        self.a = self.alpha * c**self.rivalry
        energy = smooth(square, self.grain) + TINY
        self.strongest = energy.amax(1, keepdim=True)
        texture = self.edge / (self.edge + self.strongest.sqrt())
        self.log_z = self.p * energy.log() - self.follow * texture * _darker(s, u)
        self.m = self.faint / (self.faint + energy.sqrt())
        self.weight = (1 + self.ease**2 * self.strongest).rsqrt()

    def _over_regions(self, x: Tensor, s: Tensor) -> Tensor:
        """smooth_w of (4)."""
        if self.contour:
            return smooth_regions(x, s, self.width, self.contour)
        return self._solve.blur(x, self.width * min(x.shape[-2:]))

    def _responsibilities(self, f: Tensor) -> Tensor:
        """The E-step (7): z from the gradients of f, and from what is beyond white or black."""
        if self.learn == self.room == 0:
            return self.log_z.softmax(dim=1)
        right, below = grad(f)
        misfit = smooth((right - self.right) ** 2 + (below - self.below) ** 2, self.grain)
        beyond = smooth((f.abs() - 1).clamp(min=-SLACK), 8.0)
        self.beyond = (self.beyond.to(beyond) + beyond).clamp(min=0)
        apart = (torch.cat(self.sources, dim=1) - self.b).abs()
        against = self.learn * misfit / self.strongest + self.room * self.beyond * apart
        return (self.log_z - against).softmax(dim=1)

    def _maximised(
        self, z: Tensor, f: Tensor | None, x0: Tensor | None, rho: Tensor | float
    ) -> Tensor:
        """The M-step, (2) and (8), from the last f on."""
        there = z + self.m * (1 - z) / (z.shape[1] - 1)
        right = (there * self.right).sum(1, keepdim=True)
        below = (there * self.below).sum(1, keepdim=True)
        ratio = self.strongest / (smooth(right**2 + below**2, self.grain) + TINY)
        q = self.detail * ratio.clamp(max=1).sqrt() * ratio.clamp(1, MOST) ** (self.restore / 2)
        right, below = q * right, q * below
        hold, W = self.a + rho, self.weight
        levels = self.a * self.b + (0.0 if x0 is None else rho * x0)
        if f is None or not self.ease:
            f = self._solve(hold, levels + adjoint(right, below))  # as if W were 1
        if self.ease:
            f = self._solve.weighted(hold, W, levels + adjoint(W * right, W * below), f, PASSES)
        return f


def _competition(square: Tensor) -> Tensor:
    """c of (1)."""
    energy = square.mean(dim=(2, 3), keepdim=True) + TINY
    most = energy.amax(1, keepdim=True) / energy.sum(1, keepdim=True)
    return ((1 - most) * square.shape[1] / (square.shape[1] - 1)).clamp(min=LEAST)


def _outlying(s: Tensor) -> Tensor:
    """How far a pixel exceeds mean + 1.5 deviations of its source, in deviations."""
    mean = s.mean(dim=(2, 3), keepdim=True)
    deviation = s.std(dim=(2, 3), keepdim=True, correction=0).clamp(min=1e-3)
    return ((s - mean) / deviation - 1.5).clamp(min=0)


def _darker(s: Tensor, u: Tensor) -> Tensor:
    """h_k of (5): towards 1 where the levels s are far darker than u, 0 where they are not."""
    s, u = (((x + 1) / 2).clamp(min=0) + DARK for x in (s, u))
    return (u - s).clamp(min=0) ** 2 / (u**2 + s**2)
