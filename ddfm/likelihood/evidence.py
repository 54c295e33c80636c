r"""The default likelihood: levels and gradients of the sources, weighed as evidence, fused by EM.

Two things are unknown: the fused image f, and the labels z, where z_k is the probability, at each
pixel, that the gradients of f are those of source s_k, one of K. EM raises the log-posterior

    log p(f, z) = - sum [ a |f - u|^2 + rho |f - x0|^2 + W sum_k (S z)_k |grad f - g_k|^2
                          + t sum_k z_k log(z_k / pi_k) + STIFF (|f| - 1)_+^2 ]               (1)

where sum_k z_k = 1 at each pixel, the outer sum is over pixels, and (x)_+ = max(x, 0). The terms
favour, in this order,

- levels of f near u, which is chosen from the sources (weight a);
- levels near x0, the prior's estimate of f (weight rho);
- gradients near g_k, where source k is the one that the labels select (weight W); S smooths the
  labels over a pixel;
- labels near pi_k, their probabilities before f is known (temperature t);
- levels between black (-1) and white (1).

One pass of EM maximises (1) over z, and then raises it by a new f:

    E:  z_k  proportional to  pi_k exp(-S (W |grad f - g_k|^2) / t)                           (2)
    M:  (a + rho + grad' W grad) f = a u + rho x0 + grad' W sum_k (S z)_k g_k                 (3)

Where f is beyond black or white, the last term of (1) adds STIFF to the factor of f in (3), and
STIFF times the limit (1 or -1) to the right side. A few conjugate gradients solve (3), starting
from the last f; if the full step would lower (1), a shorter one is made.

The rest depends on the sources alone and is computed once:

    u = sum_k r_k s_k,   r = softmax_k(kappa (R(saliency_k) + b_k))                           (4)
    d_k = q (grad s_k + mean of m_j grad s_j over the others),     m_j = faint / (faint + sqrt e_j)
    g_k = d_k + sum_j T_j B (d_j - d_k)                                                       (5)
    pi_k = (1 - c) softmax_k(p log max(e_k - n_k, LEFT e_k) - phi M (u - s_k)_+^2
                + full [s_k is white] + ODDS b_k)
                + c_k,   c_k = T_k (1 - V((sqrt e_k - sqrt h_k)_+^2)),   c = sum_k c_k         (6)
    V(e) = (1 + e / edge^2)^(-1/2),      W = min_k V(e_k),     t = W max_k e_k / learn        (7)

B is a blur by two pixels. e_k = S |grad s_k|^2 and h_k = S |B grad s_k|^2 are the energies of the
gradients of source k, in full and without what is finer than B. b_k is the caller's preference, see
below. a = alpha, kappa, faint, p, phi, full, edge and learn are parameters of `EvidenceLikelihood`.

Levels (4). r_k is the share of source k in the level of a pixel. R smooths the saliency widely but
stops at edges of the sources, so that a whole region takes its level from one source. Where the
sources show the same thing in different ways (medical images, focus stacks), R is a narrow Gaussian
instead. For the saliency "sharp", R is replaced by its logarithm.

Gradients (5). m_j is near 1 where the gradients of s_j are faint: d_k includes the faint texture of
the other sources. q <= 1 limits it to the strength of the strongest source.

Labels (6). A gradient is expected from the source with the most of it (p), and less from a source
that is darker than the chosen level u (phi). M is the mean over a pixel and its neighbours to the
right and below, so that both ends of a gradient count. With the upper left end alone, a warm pole
in front of a cold sky would cast a shadow to the right on a sky that is bright in the other source.
Medical images may show the same thing in opposite brightness, so phi is 0 for them. There, a source
that is saturated at white may be brighter than it can show, and the gradients of the others are not
expected at that place (full).

Grain (6). n_k is the energy of the noise of source k, so that the grain of a thermal image does not
displace the fainter texture of a cleaner photograph. It is twice the most energy that the quietest
tenth of the pixels have, which is the mean in white noise. What has no more energy than that may
still be texture, as of grass everywhere, so a tenth of it counts (LEFT).

Weights (7). At strong edges, W is small: the gradients of several sources do not fit together in
one image, and the error shows least at an edge. The temperature t measures misfits against the
contrast at that place.

Targets. T_k is the probability that a pixel belongs to a target of source k
(`ddfm.likelihood.targets`). The coarse gradients of a target, blurred by B, are always those of its
source in (5), whichever source has the finer detail. So is an outline that is finer than B: c_k in
(6) is the probability of one. On the targets of source k, s_k in d_k is replaced by
max(s_k, min(median s_k, max_j s_j)): where another source is brighter, contrast is measured from
the median of s_k, since a cold sky would otherwise cast black shadows on a bright one. On targets
of the first source, a is 0 and W is 1: only contrast counts, and the surroundings adapt to it.

The prior. rho = lam noise^2 / sigma^2, where noise is the standard deviation of the noise left in
the sources, and sigma that of the noise which the prior removed from f. If the sources are clean,
rho is 0 and the prior need not be evaluated. Below LEAST, rho is set to 0: so it is in the first
steps of the loop, where x0 is blurred, and in all of them if little noise is left in the sources.
With it, fusions of sources with noise of 15 and 25 grey levels would come no closer to those of
the clean sources.

The caller's preference. b_k is REACH balance |balance| for the second of two sources, and minus
that for the first; the square allows fine changes around 0. Targets are kept at any balance.

`ddfm.likelihood.levels` computes (4); `gradients` computes (2) and (5) to (7). A large picture is
processed a band of rows at a time. (5) to (7) are kept, or, if the sources are too many or too
large (`KEPT`), computed again in every pass.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from ddfm.arguments import number
from ddfm.errors import InputError
from ddfm.likelihood.base import NO_STEP, Likelihood, Shares
from ddfm.likelihood.gradients import AROUND, GRAIN, NEAR, Gradients, Weighing, noise_energy_of
from ddfm.likelihood.levels import Choosing, Levels, medians
from ddfm.likelihood.targets import find_targets
from ddfm.numerics.bands import WHOLE, Band, band_of, bands, in_bands, sum_in_bands
from ddfm.numerics.filters import smooth
from ddfm.numerics.poisson import PoissonSolver, adjoint, grad
from ddfm.progress import stage

__all__ = ["EvidenceLikelihood"]

STIFF = 0.3  # weight of the penalty on levels beyond black and white
REACH = 0.4  # saliency that a full preference adds, in levels from -1 to 1
LEAST = 0.3  # a smaller rho is set to 0
KEPT = 60_000_000  # most values of all sources for which the evidence is kept; 0.9 GB at most
PASSES = 3  # conjugate gradient steps in each M-step


class EvidenceLikelihood(Likelihood):
    """Fuses two or more sources by the evidence of their levels and gradients.

    Args:
        sources: luminance, (B, 1, H, W) in [-1, 1] each, the one whose targets matter most first.
        saliency: which source gives a region its level: the one that "stands out" most from its own
            median (and is bright, see `beta`), that is best "exposed", or most "sharp".
        alpha: a, the weight of levels relative to gradients.
        width: range of R, as a fraction of the shorter side.
        kappa: how sharply a region chooses one source for its level.
        beta: preference for brightness in the saliency "stands out".
        p: how strongly gradients are taken from the source that has the most of them.
        phi: how strongly the texture of a source is rejected where it is darker than u.
        full: how strongly the texture of the others is rejected where a source is white.
        learn: how closely the labels follow the misfit of f.
        faint: size of gradients that are kept from all sources.
        edge: size of gradients that bound regions, and from which W falls.
        theta: how many standard deviations a target stands out by; 0 looks for no targets.
        lam: weight of the prior; at 0 it is never evaluated.
        balance: which of two sources is preferred, from -1 (the first) to 1 (the second).
    """

    def __init__(
        self,
        *sources: Tensor,
        saliency: str = "stands out",
        alpha: float = 0.002,
        width: float = 2.0,
        kappa: float = 46.0,
        beta: float = 1.0,
        p: float = 0.6,
        phi: float = 4.0,
        full: float = 0.0,
        learn: float = 2.5,
        faint: float = 0.004,
        edge: float = 0.01,
        theta: float = 1.5,
        lam: float = 1.0,
        balance: float = 0.0,
    ) -> None:
        super().__init__(*sources)
        if min(alpha, width, learn, edge) <= 0:
            raise InputError("alpha, width, learn and edge of the likelihood must be positive")
        if min(kappa, p, phi, full, faint, theta, lam) < 0:
            raise InputError(
                "kappa, p, phi, full, faint, theta and lam of the likelihood must not be negative"
            )
        balance = number("the option balance", balance, -1, 1)
        if balance and len(sources) != 2:
            raise InputError(f"a balance is between two sources, not {len(sources)}")
        preference = REACH * balance * abs(balance)
        self.alpha, self.theta, self.lam = alpha, theta, lam
        self._choosing = Choosing(saliency, width, kappa, beta, edge, preference)
        self._weighing = Weighing(alpha, p, phi, full, learn, faint, edge, preference)
        self.f: Tensor | None = None
        self._before: Tensor | None = None  # the f that the last E-step started from
        self._last: tuple[Tensor, Tensor] | None = None  # x0 and rho of the last M-step
        self._read_as: tuple[torch.device, torch.dtype] | None = None
        self._solve = PoissonSolver()

    def first_guess(self) -> Tensor:
        """The fused image without the prior, with pi as the labels."""
        self._read_sources()
        stage("making a first guess", detail=True)
        towards = self._gradients_at(None)
        f = self._solved_evenly(towards, self.u)
        f = self._m_step(towards, f, f, torch.zeros_like(self.u[..., :1, :1]))
        if self.f is None:
            self.f = f  # the first step starts from it
        return f

    def needs_prior(self, sigma: Tensor) -> bool:
        return bool((self.noise > 0).any()) and bool((self._rho(sigma) > 0).any())

    def _rho(self, sigma: Tensor) -> Tensor:
        rho = self.lam * (self.noise.to(sigma) / sigma.clamp(min=1e-3)) ** 2
        return torch.where(rho < LEAST, 0, rho)

    def step(self, x0: Tensor, sigma: Tensor | None) -> Tensor:
        self._read_sources()
        f = self.first_guess() if self.f is None else self.f.to(x0)
        rho = torch.zeros_like(self.u[..., :1, :1])
        self._last = None
        if sigma is not None and self.needs_prior(sigma):
            rho = self._rho(sigma).to(x0).view_as(rho)
            self._last = x0, rho
        # The E-step uses the last f, not x0: at high noise levels x0 is blurred, and all gradients
        # would be assigned to the flatter source.
        self._before = f
        self.f = self._m_step(self._gradients_at(f), f, x0, rho)
        return self.f

    @property
    def z(self) -> Tensor | None:
        """The labels (B, K, H, W) of the last E-step."""
        return None if self._before is None else self.evidence().labels(self._before)

    def objective(self, f: Tensor) -> Tensor:
        """The log-posterior (1) of each image, with the labels, x0 and rho of the last step.

        For clean sources, rho is 0, and it rises from step to step.
        """
        if self._before is None or (z := self.z) is None:
            raise InputError(NO_STEP)
        f = f.to(self._before)
        x0, rho = self._last or (f, torch.zeros_like(f[..., :1, :1]))
        return self.log_posterior(f, z, x0, rho)

    def log_posterior(self, f: Tensor, z: Tensor, x0: Tensor, rho: Tensor) -> Tensor:
        """The log-posterior (1) of each image; rho is (B, 1, 1, 1)."""
        evidence = self.evidence()
        misfit = (smooth(z, GRAIN) * evidence.misfits(f)).sum(dim=1, keepdim=True)
        unlike = (z * (z.clamp(min=1e-30) / evidence.pi).log()).sum(1, keepdim=True)
        surprise = evidence.t * unlike
        return -(self._of_levels(f, x0, rho, WHOLE) + misfit + surprise).sum(dim=(1, 2, 3))

    def shares(self, rows: slice = slice(None)) -> Tensor:
        self._read_sources()
        band = band_of(rows, self.shape[-2], self.levels.reach)
        return band.within(self.levels.responsibilities(band))

    def attribution(self) -> Shares | None:
        """The shares of levels are r, and those of gradients follow from the labels.

        On targets of the first source, all of the level is ascribed to it. The share of the prior
        is measured by what it changes in the last M-step.
        """
        if self.f is None or (z := self.z) is None:
            return None
        levels = self.levels.responsibilities()
        if self.T is not None:
            first = self.T[:, :1]
            levels = levels * (1 - first)
            levels = torch.cat([levels[:, :1] + first, levels[:, 1:]], dim=1)
        sources = Shares.of_sources(levels, self._weighing.whose(z, self.sources))
        if self._last is None or self._before is None:
            return sources
        x0, rho = self._last
        without = self._m_step(self.evidence().expected(z), self._before, x0, 0 * rho)
        return sources.with_change(self.f, self.f - without)

    def again(self, *sources: Tensor) -> Tensor | None:
        """One pass with other sources, but the same regions and targets.

        It starts from the last f, plus the difference that the sources make to the solution of (3)
        with W = 1.
        """
        if self.f is None:
            return None
        other = copy.copy(self)
        other.sources, other.shape = list(sources), sources[0].shape
        other._weigh()
        now, before = (one._gradients_at(None) for one in (other, self))
        changes = now[0] - before[0], now[1] - before[1]
        other.f = self.f + self._solved_evenly(changes, other.u - self.u)
        return other.step(other.f, None)

    def evidence(self, band: Band = WHOLE) -> Gradients:
        """The terms (5) to (7), for the wide rows of a band."""
        self._read_sources()
        return self._weighed(band) if self._kept is None else self._kept.around(band)

    def _weighed(self, band: Band) -> Gradients:
        """The terms (5) to (7), computed anew."""
        sources = [band.around(s) for s in self.sources]
        T = None if self.T is None else band.around(self.T)
        return self._weighing.of(sources, band.around(self.u), self._noise_energy, T, self._medians)

    def _read_sources(self) -> None:
        """Computes (4) to (7); again only if the device or dtype of the sources has changed."""
        like = self.sources[0]
        if self._read_as == (like.device, like.dtype):
            return
        stage("comparing levels", detail=True)
        asked = self.theta > 0 or self._choosing.saliency == "stands out"
        self._medians = medians(self.sources) if asked else []
        self.levels = Levels(self.sources, self._medians, self._choosing)
        self.T = find_targets(self.sources, self.theta, self._solve) if self.theta else None
        self._noise_energy = torch.cat([noise_energy_of(s) for s in self.sources], dim=1)
        self._read_as = like.device, like.dtype
        stage("comparing gradients", detail=True)
        self._weigh()

    def _weigh(self) -> None:
        """Computes u, W and a from the known regions and targets; keeps the evidence if it fits."""
        self.u, count = self.levels.of(self.sources), len(self.sources)
        self._kept: Gradients | None = None
        if count * self.u.numel() <= KEPT:
            self._kept = Gradients.in_bands(self._weighed, self.u, count)
            self.W, self.a = self._kept.W, self._kept.a
        else:
            self.W, self.a = torch.empty_like(self.u), torch.empty_like(self.u)
            for band in bands(self.u, AROUND, count):
                evidence = self._weighed(band)
                self.W[..., band.rows, :] = band.within(evidence.W)
                self.a[..., band.rows, :] = band.within(evidence.a)

    def _solved_evenly(self, towards: tuple[Tensor, Tensor], u: Tensor) -> Tensor:
        """Solves (3) with W = 1, without the prior, and without limits at black and white.

        The solution is linear in `towards` and u, so it gives that of their differences, too.
        """
        return self._solve(self.alpha, adjoint(*towards).add_(self.alpha * u))

    def _gradients_at(self, f: Tensor | None) -> tuple[Tensor, Tensor]:
        """The expected gradient of f: with the labels of the E-step at f, or with pi without f."""
        right, below = torch.empty_like(self.u), torch.empty_like(self.u)
        reach = NEAR if self._kept is not None else NEAR + AROUND
        for band in bands(self.u, reach, len(self.sources)):
            evidence = self.evidence(band)
            z = evidence.pi if f is None else evidence.labels(band.around(f))
            across, down = evidence.expected(z)
            right[..., band.rows, :], below[..., band.rows, :] = map(band.within, (across, down))
        return right, below

    def _m_step(self, towards: tuple[Tensor, Tensor], f: Tensor, x0: Tensor, rho: Tensor) -> Tensor:
        """Solves (3) for the expected gradient `towards`, starting from f."""
        right, below = towards

        def held(band: Band) -> Tensor:
            beyond = (band.around(f).abs() > 1).to(f.dtype)
            return band.around(self.a) + rho + STIFF * beyond

        def right_side(band: Band) -> Tensor:
            W, level = band.around(self.W), band.around(f)
            side = adjoint(W * band.around(right), W * band.around(below))
            beyond = STIFF * (level.abs() > 1).to(f.dtype) * level.sign()
            side += band.around(self.a) * band.around(self.u) + rho * band.around(x0) + beyond
            return side

        def lost(length: float) -> Tensor:
            """The part of -(1) that depends on f, at f + length * way."""

            def of(band: Band) -> Tensor:
                there = band.around(f) + length * band.around(way)
                across, down = grad(there)
                across.sub_(band.around(right)).square_()
                gradients = across.add_(down.sub_(band.around(below)).square_())
                gradients.mul_(band.around(self.W))
                return self._of_levels(there, x0, rho, band).add_(gradients)

            return sum_in_bands(of, f, 1)

        way = self._solve.weighted(
            in_bands(held, f, 0), self.W, in_bands(right_side, f, 1), f, PASSES
        ).sub_(f)
        # (3) uses the range of the f it started from. If levels left that range on the way, the
        # full step may lower (1).
        before = lost(0.0)
        best = torch.zeros_like(before)
        for length in (0.25, 0.5, 1.0):
            best = torch.where(lost(length) <= before, torch.full_like(best, length), best)
        return way.mul_(best).add_(f)

    def _of_levels(self, f: Tensor, x0: Tensor, rho: Tensor, band: Band) -> Tensor:
        """The terms of -(1) in the levels; f holds the wide rows of a band."""
        beyond = (f.abs() - 1).clamp(min=0)
        a, u = band.around(self.a), band.around(self.u)
        return a * (f - u) ** 2 + rho * (f - band.around(x0)) ** 2 + STIFF * beyond**2
