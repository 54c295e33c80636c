r"""The default likelihood: evidence in levels and in gradients, and latent choices between sources.

The fused image is f, the prior's estimate of it x0, and the labels z_k say, at each pixel, which of
the K sources its gradients are from. The log-posterior is

    log p(f, z) = - sum a |f - u|^2 + rho |f - x0|^2 + W sum_k (S z)_k |grad f - g_k|^2
                        + t sum_k z_k log(z_k / pi_k) + STIFF (|f| - 1)_+^2                   (1)

The labels are probabilities, sum_k z_k = 1; S smooths over a pixel; the last term keeps f between
black and white. Each pass of EM climbs (1), first to its maximum in z, then upwards in f:

    E:  z_k  proportional to  pi_k exp(-S (W |grad f - g_k|^2) / t)                           (2)
    M:  (a + rho + grad' W grad) f = a u + rho x0 + grad' W sum_k (S z)_k g_k                 (3)

Where f is beyond black or white, (3) has STIFF on both sides. It is solved by a few conjugate
gradients from the last f, with a shorter step where the full one would not climb.

Everything else is computed once, from the sources s_k:

    u = sum_k r_k s_k,   r = softmax_k(kappa (R(saliency_k) + b_k))                           (4)
    d_k = q (grad s_k + mean of m_j grad s_j over the others),     m_j = faint / (faint + sqrt e_j)
    g_k = d_k + sum_j T_j B (d_j - d_k)                                                       (5)
    pi_k = (1 - c) softmax_k(p log e_k - phi (u - s_k)_+^2 + full [s_k is white] + ODDS b_k)
                + c_k,   c_k = T_k (1 - V((sqrt e_k - sqrt b_k)_+^2)),   c = sum_k c_k         (6)
    V(e) = (1 + e / edge^2)^(-1/2),      W = min_k V(e_k),     t = W max_k e_k / learn        (7)

with the energies e_k = S |grad s_k|^2 and b_k = S |B grad s_k|^2, B being a blur of two pixels.

Levels (4). R smooths widely, but within contours of the sources, so that a region takes its level
from one of them; where the sources show one thing in two ways, R is narrow.

Gradients (5). A label brings the faint texture of the other sources along (m); q <= 1 keeps d_k no
stronger than the strongest source.

Labels (6). Gradients are expected to be from the source that has more of them (p), and not from one
that is darker than the level chosen (phi). Medical images show one thing in different brightness:
their phi is 0, and only where a source is white to the full, and may be brighter than it can show,
are gradients of the others not expected (full).

Weights (7). Strong edges, where gradients of several sources make no image, give way, which shows
least there. Misfits are judged by the contrast that is there (t).

Targets. T_k is the probability that a pixel belongs to a target of source k
(`ddfm.likelihood.targets`). Blurred by B, the gradients of a target are its source's, whichever
source has the finer detail; an outline that is itself finer than B is its source's, too (c_k). On
its targets, s_k in d_k is replaced by max(s_k, min(median s_k, max_j s_j)): where another source is
brighter, contrast counts from the middle of its own source, or else a cold sky would cast black
shadows on a bright one. On targets of the first source a is 0 and W is 1: only contrast counts, and
what surrounds the target gives way.

The prior. rho = lam noise^2 / sigma^2, for the noise that was found in the sources. It is 0 for
clean sources, whose prior need not be asked, and is taken as 0 below LEAST, at the first steps of
the loop: the prior's estimate is blurred there, and fusions of sources with noise of 15 and 25
levels come as near to those of the clean ones without it.

The caller's preference. b is REACH balance |balance| for the second of two sources, and as much
below 0 for the first: finest around 0. Targets are kept whatever is preferred.

(4) is computed in `levels`, (5) to (7) and the labels in `gradients`, beside this file. Of a large
picture, only what the M-step needs everywhere is kept, a plane each: u, W, a, and the expected
gradient. g_k, pi_k and z_k, one for each source, are made anew in every pass, some rows at a time.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from ddfm.errors import InputError
from ddfm.likelihood.base import Likelihood, Shares
from ddfm.likelihood.gradients import AROUND, GRAIN, Gradients, Weighing
from ddfm.likelihood.levels import Choosing, Levels, middles_of
from ddfm.likelihood.targets import find_targets
from ddfm.numerics.bands import WHOLE, Band, band_of, bands, in_bands, sum_in_bands
from ddfm.numerics.filters import smooth
from ddfm.numerics.poisson import PoissonSolver, adjoint, grad

__all__ = ["EvidenceLikelihood"]

STIFF = 0.3
REACH = 0.4  # of a preference, as saliency, of levels from -1 to 1
LEAST = 0.1  # of rho
PASSES = 3  # of the conjugate gradients, which go on from the last f


class EvidenceLikelihood(Likelihood):
    """Evidence in levels and gradients of any number of sources, a target's source first.

    Args:
        sources: luminance (B, 1, H, W) in [-1, 1] each, two or more.
        saliency: what makes a source give a region its level: "stands out" from its median (and is
            bright, see `beta`), is well "exposed", or is "sharp".
        alpha: a, the weight of levels against gradients.
        width: reach of R, as a fraction of the shorter side.
        kappa: how sharply regions choose their level.
        beta: preference for brightness.
        p: how strongly gradients are taken from the source that has more of them.
        phi: how strongly the texture of a source is rejected where it is darker than u.
        full: how strongly the texture of the others is rejected where a source is white.
        learn: how far the labels follow the misfit of f.
        faint: size of gradients that are kept from all sources.
        edge: size of gradients that bound regions, and that give way to others.
        theta: how many deviations a target stands out by; 0 for sources without targets.
        lam: weight of the prior; at 0 it is never asked.
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
            raise InputError("alpha, width, learn and edge of the likelihood are positive")
        if min(kappa, phi, full, faint, theta, lam) < 0:
            raise InputError(
                "kappa, phi, full, faint, theta and lam of the likelihood are not negative"
            )
        if balance and len(sources) != 2:
            raise InputError(f"a balance is between two sources, not {len(sources)}")
        preference = REACH * balance * abs(balance)
        self.alpha, self.theta, self.lam = alpha, theta, lam
        self._choosing = Choosing(saliency, width, kappa, beta, edge, preference)
        self._weighing = Weighing(alpha, p, phi, full, learn, faint, edge, preference)
        self.f: Tensor | None = None
        self._before: Tensor | None = None  # the f of the last E-step
        self._last: tuple[Tensor, Tensor] | None = None  # x0 and rho of the last M-step
        self._read_as: tuple[torch.device, torch.dtype] | None = None
        self._solve = PoissonSolver()

    def first_guess(self) -> Tensor:
        """What the sources say without any prior, the labels being pi."""
        self._read_sources()
        towards = self._gradients_at(None)
        f = self._solved_evenly(towards)
        f = self._m_step(towards, f, f, torch.zeros_like(self.u[..., :1, :1]))
        if self.f is None:
            self.f = f  # which the first step goes on from
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
        # The E-step is at the last f, not at x0, which is blurred at high noise levels and would
        # give all gradients to the flatter source.
        self._before = f
        self.f = self._m_step(self._gradients_at(f), f, x0, rho)
        return self.f

    @property
    def z(self) -> Tensor | None:
        """The labels (B, K, H, W) that the last step expected."""
        return None if self._before is None else self.evidence().labels(self._before)

    def objective(self, f: Tensor, z: Tensor, x0: Tensor, rho: Tensor) -> Tensor:
        """The log-posterior (1) per image, rho being (B, 1, 1, 1)."""
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
        """Levels by r, except on targets, which are of the first source; gradients by the labels.

        The share of the prior is what the last M-step changes because of it.
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
        """One pass with other sources, but with the same regions and targets.

        It starts from the last f, plus what the sources change in a solution with even weights.
        """
        if self.f is None:
            return None
        other = copy.copy(self)
        other.sources, other.shape = list(sources), sources[0].shape
        other._weigh()
        now, before = (one._solved_evenly(one._gradients_at(None)) for one in (other, self))
        other.f = self.f + now - before
        return other.step(other.f, None)

    def evidence(self, band: Band = WHOLE) -> Gradients:
        """(5) to (7), in the wide rows of a band."""
        self._read_sources()
        if self._all_of_it is not None:
            return self._all_of_it
        sources, u, T = self._rows(band)
        return self._weighing.of(sources, u, T, self._middles)

    def _rows(self, band: Band) -> tuple[list[Tensor], Tensor, Tensor | None]:
        T = None if self.T is None else band.around(self.T)
        return [band.around(s) for s in self.sources], band.around(self.u), T

    def _read_sources(self) -> None:
        """Computes (4) to (7), once for each device and dtype of the sources."""
        like = self.sources[0]
        if self._read_as == (like.device, like.dtype):
            return
        asked = self.theta > 0 or self._choosing.saliency == "stands out"
        self._middles = middles_of(self.sources) if asked else []
        self.levels = Levels(self.sources, self._middles, self._choosing)
        self.T = find_targets(self.sources, self.theta, self._solve) if self.theta else None
        self._read_as = like.device, like.dtype
        self._weigh()

    def _weigh(self) -> None:
        """Computes u, W and a of the whole picture, once levels and targets are known."""
        count = len(self.sources)
        self.u = self.levels.of(self.sources)
        self._bands = bands(self.u, AROUND, count)
        self._all_of_it: Gradients | None = None
        if self._bands == [WHOLE]:
            self._all_of_it = self._weighing.of(self.sources, self.u, self.T, self._middles)
            self.W, self.a = self._all_of_it.W, self._all_of_it.a
            return
        self.W, self.a = torch.empty_like(self.u), torch.empty_like(self.u)
        for band in self._bands:
            sources, _, T = self._rows(band)
            W, a = self._weighing.weights(sources, T)
            self.W[..., band.rows, :], self.a[..., band.rows, :] = band.within(W), band.within(a)

    def _solved_evenly(self, towards: tuple[Tensor, Tensor]) -> Tensor:
        """Solves (3) as if W were 1, and black and white were no limits."""
        return self._solve(self.alpha, adjoint(*towards).add_(self.alpha * self.u))

    def _gradients_at(self, f: Tensor | None) -> tuple[Tensor, Tensor]:
        """The gradient expected of f: by the E-step at f, or by pi where there is no f yet."""

        def expected(band: Band) -> tuple[Tensor, Tensor]:
            evidence = self.evidence(band)
            z = evidence.pi if f is None else evidence.labels(band.around(f))
            return evidence.expected(z)

        if self._bands == [WHOLE]:
            return expected(WHOLE)
        right, below = torch.empty_like(self.u), torch.empty_like(self.u)
        for band in self._bands:
            one, other = expected(band)
            right[..., band.rows, :], below[..., band.rows, :] = (
                band.within(one),
                band.within(other),
            )
        return right, below

    def _m_step(self, towards: tuple[Tensor, Tensor], f: Tensor, x0: Tensor, rho: Tensor) -> Tensor:
        """Solves (3) from f on, towards these gradients."""
        right, below = towards

        def held(band: Band) -> Tensor:
            return band.around(self.a) + rho + STIFF * (band.around(f).abs() > 1)

        def right_side(band: Band) -> Tensor:
            W, level = band.around(self.W), band.around(f)
            side = adjoint(W * band.around(right), W * band.around(below))
            beyond = STIFF * (level.abs() > 1) * level.sign()
            side += band.around(self.a) * band.around(self.u) + rho * band.around(x0) + beyond
            return side

        def lost(length: float) -> Tensor:
            """The part of -(1) that depends on f, after this length of the way."""

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
        # Levels may have gone beyond black and white on the way, which (3) does not know.
        before = lost(0.0)
        best = torch.zeros_like(before)
        for length in (0.25, 0.5, 1.0):
            best = torch.where(lost(length) <= before, torch.full_like(best, length), best)
        return way.mul_(best).add_(f)

    def _of_levels(self, f: Tensor, x0: Tensor, rho: Tensor, band: Band) -> Tensor:
        """The terms of -(1) in levels, f being the wide rows of a band."""
        beyond = (f.abs() - 1).clamp(min=0)
        a, u = band.around(self.a), band.around(self.u)
        return a * (f - u) ** 2 + rho * (f - band.around(x0)) ** 2 + STIFF * beyond**2
