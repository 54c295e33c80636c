r"""The default likelihood: evidence in levels and in gradients, and latent choices between sources.

Of the fused image f, of labels z that tell from pixel to pixel which of the K sources has its
gradients, and of the prior's estimate x0, the log-posterior is

    log p(f, z) = - sum a |f - u|^2 + rho |f - x0|^2 + W sum_k (S z)_k |grad f - g_k|^2
                        + t sum_k z_k log(z_k / pi_k) + STIFF (|f| - 1)_+^2                   (1)

The labels are probabilities, sum_k z_k = 1, S smooths over a pixel, and the last term keeps f
within black and white. Each pass of EM climbs it, first to its maximum in z, then up in f:

    E:  z_k  proportional to  pi_k exp(-S (W |grad f - g_k|^2) / t)                           (2)
    M:  (a + rho + grad' W grad) f = a u + rho x0 + grad' W sum_k (S z)_k g_k                 (3)

and (3) has STIFF on both sides where f is beyond black or white: a few conjugate gradients from the
last f on, less far where all the way would not climb. All else the sources s_k give once:

    u = sum_k r_k s_k,   r = softmax_k(kappa (R(saliency_k) + b_k)) levels, region by region  (4)
    d_k = q (grad s_k + mean of m_j grad s_j over the others),     m_j = faint / (faint + sqrt e_j)
    g_k = d_k + sum_j T_j B (d_j - d_k)                                                       (5)
    pi_k = (1 - c) softmax_k(p log e_k - phi (u - s_k)_+^2 + full [s_k is white] + ODDS b_k)
                + c_k,   c_k = T_k (1 - W_k),   c = sum_k c_k                                 (6)
    W_k = (1 + e_k / edge^2)^(-1/2),     W = min_k W_k,     t = W max_k e_k / learn           (7)

e_k = S |grad s_k|^2. A label brings the faint texture of the other sources along, q being at most 1
and such that no d_k is stronger than the strongest source. T_k is the probability that a pixel
belongs to a target of source k (`ddfm.likelihood.targets`). Over more than the pixels of B, which
blurs, a target has the contrast of its source, whichever source its detail is of; and its outline
is its source's (c_k). In d_k, s_k is on its targets max(s_k, min(median s_k, max_j s_j)): where
another source is brighter, contrast is counted from the middle of its own source on, or a cold sky
would cast black shadows on a bright one. On targets of the first source W is 1 and a is 0: there
only contrast counts, and what is around gives way. Elsewhere strong edges give way, which shows
least, where gradients of several sources make no image. What a source leaves unexplained is judged
by the contrast that is there (t), and texture of what is darker than the level chosen is foreign
(phi), or, where pictures of one thing may differ in brightness, only where a source is white to the
full: there it shows more than can be shown (full).

R smooths widely, within contours of the sources, so that a region has the level of one of them; or,
for pictures of one thing in two ways, narrowly. b is what the caller prefers, REACH balance
|balance| of the second of two sources and as much against the first: a prior of its own on whose
the level is, and on whose the gradients are. It is finest around 0, and targets are kept whatever
is preferred.

rho = lam noise^2 / sigma^2, noise being what the sources were found to have. Where they are clean
it is 0, and the prior need not be asked.

Of a large picture only what the M-step needs of all of it is kept, a plane each (u, W, a, and what
grad f is expected to be). What is one for each source, g_k, pi_k and z_k, is made anew in every
pass, some rows at a time.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor

from ddfm.errors import InputError, unknown
from ddfm.likelihood.base import Likelihood, Shares
from ddfm.likelihood.targets import find_targets
from ddfm.numerics.bands import WHOLE, Band, band_of, bands, in_bands, sum_in_bands
from ddfm.numerics.exporting import median
from ddfm.numerics.filters import reach_of, shares_of, smooth
from ddfm.numerics.poisson import PoissonSolver, adjoint, grad
from ddfm.numerics.regions import GRID, from_grid, on_grid, smoothed_on_grid

__all__ = ["SALIENCIES", "EvidenceLikelihood"]

SALIENCIES = ("stands out", "exposed", "sharp")
TINY = 4e-7  # gradients of a third of a grey level: keeps quotients finite where all is flat
GRAIN = 0.86  # of S, pixels
CONTRAST = 2.0  # of B, pixels
STIFF = 0.3
WHITE = 0.9  # from where on up to 1 a level is taken for white to the full
REACH = 0.4  # of a preference, as saliency, of levels from -1 to 1
ODDS = 6.0  # the same, as the logarithm of odds
PASSES = 3  # of the conjugate gradients, which go on from the last f
# Pixels that the gradients expected at one depend on.
AROUND = 1 + 4 * reach_of(GRAIN) + reach_of(CONTRAST)


class EvidenceLikelihood(Likelihood):
    """Evidence in levels and gradients of any number of sources, a target's source first.

    Args:
        sources: luminance (B, 1, H, W) in [-1, 1] each, two or more.
        saliency: what gives a source the level: that it stands out from its median, with `beta` of
            preference for brightness; that it is well exposed; or that it is sharp.
        alpha: a, the weight of levels beside gradients.
        width: reach of R, as a fraction of the shorter side.
        kappa: how sharply regions choose their level.
        beta: preference for brightness.
        p: how sharply gradients belong to the source with more of them.
        phi: how foreign texture is that is darker than the level chosen.
        full: how foreign texture of the others is where a source is white to the full.
        learn: how much the labels follow what f leaves unexplained.
        faint: size of gradients that are kept from all sources.
        edge: size of gradients that bound regions, and that rather give way than others.
        theta: how many deviations a target stands out; 0 is for sources without targets.
        lam: weight of the prior; with 0 it is never asked.
        balance: of two sources, which is preferred: from -1, the first, to 1, the second.
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
        theta: float = 1.4,
        lam: float = 1.0,
        balance: float = 0.0,
    ) -> None:
        super().__init__(*sources)
        if saliency not in SALIENCIES:
            raise unknown("saliency", saliency, SALIENCIES)
        if min(alpha, width, learn, edge) <= 0:
            raise InputError("alpha, width, learn and edge of the likelihood are positive")
        if min(kappa, phi, full, faint, theta, lam) < 0:
            raise InputError(
                "kappa, phi, full, faint, theta and lam of the likelihood are not negative"
            )
        if balance and len(sources) != 2:
            raise InputError(f"a balance is between two sources, not {len(sources)}")
        self.balance = balance
        self.saliency, self.alpha, self.width = saliency, alpha, width
        self.kappa, self.beta, self.p, self.phi = kappa, beta, p, phi
        self.learn, self.faint, self.edge, self.full = learn, faint, edge, full
        self.theta, self.lam = theta, lam
        self.f: Tensor | None = None
        self._before: Tensor | None = None  # the f that labels were expected at
        self._last: tuple[Tensor, Tensor] | None = None  # of an M-step by the prior: x0, rho
        self._found: tuple[Tensor, Tensor | None] | None = None
        self._read_as: tuple[torch.device, torch.dtype] | None = None
        self._solve = PoissonSolver()

    def first_guess(self) -> Tensor:
        """What the sources say without any prior, labels being as they are expected to be."""
        self._read_sources()
        towards = self._gradients_at(None)
        f = self._where_all_is_even(towards)
        f = self._m_step(towards, f, f, torch.zeros_like(self.u[..., :1, :1]))
        if self.f is None:
            self.f = f  # which the first step goes on from
        return f

    @property
    def needs_prior(self) -> bool:
        return self.lam > 0 and bool((self.noise > 0).any())

    def step(self, x0: Tensor, sigma: Tensor | None) -> Tensor:
        self._read_sources()
        f = self.first_guess() if self.f is None else self.f.to(x0)
        rho = torch.zeros_like(self.u[..., :1, :1])
        if sigma is not None:
            noise = self.noise.to(x0)
            rho = (self.lam * (noise / sigma.clamp(min=1e-3)) ** 2).to(x0).view_as(rho)
        # The E-step is taken at the last f, not at x0: at high noise levels x0 is blurred, and
        # would give all gradients to the flatter source.
        self._before = f
        self._last = (x0, rho) if self.needs_prior else None
        self.f = self._m_step(self._gradients_at(f), f, x0, rho)
        return self.f

    @property
    def z(self) -> Tensor | None:
        """The labels (B, K, H, W) that the last step expected."""
        return None if self._before is None else self._in(WHOLE)._e_step(self._before)

    def objective(self, f: Tensor, z: Tensor, x0: Tensor, rho: Tensor) -> Tensor:
        """The log-posterior (1) per image, rho being (B, 1, 1, 1)."""
        all_of_it = self._in(WHOLE)
        misfit = (smooth(z, GRAIN) * all_of_it._misfits(f)).sum(dim=1, keepdim=True)
        unlike = (z * (z.clamp(min=1e-30) / all_of_it.pi).log()).sum(1, keepdim=True)
        surprise = all_of_it.t * unlike
        return -(self._of_levels(f, x0, rho, WHOLE) + misfit + surprise).sum(dim=(1, 2, 3))

    def shares(self, rows: slice = slice(None)) -> Tensor:
        self._read_sources()
        band = band_of(rows, self.shape[-2], self._reach_of_levels)
        return band.within(self._responsibilities(band))

    def attribution(self) -> Shares | None:
        """Levels by r, but on targets of the first source; gradients by the labels and their size.

        What the prior did is the change that the last M-step makes by it.
        """
        if self.f is None or (z := self.z) is None:
            return None
        levels, targets = self._choices()
        if targets is not None:
            first = targets[:, :1]
            levels = levels * (1 - first)
            levels = torch.cat([levels[:, :1] + first, levels[:, 1:]], dim=1)
        size = _energy(torch.cat(self.sources, dim=1))[-1].sqrt()
        labels = smooth(z, GRAIN)
        of_others = _with_others(labels, torch.ones_like(labels)) - labels
        gradients = (labels + self._faintness(size) * of_others) * size
        sources = Shares.of_sources(levels, gradients / gradients.sum(dim=1, keepdim=True))
        if self._last is None or self._before is None:
            return sources
        x0, rho = self._last
        without = self._m_step(self._gradients(z), self._before, x0, 0 * rho)
        return sources.with_change(self.f, self.f - without)

    def again(self, *sources: Tensor) -> Tensor | None:
        """One pass, with the same regions and targets.

        It begins with the last f and the difference that the sources make where all is even.
        """
        if self.f is None:
            return None
        other = copy.copy(self)
        other.sources, other.shape = list(sources), sources[0].shape
        other._found = self._choices()
        other._weigh_evidence()
        now, before = (one._where_all_is_even(one._gradients_at(None)) for one in (other, self))
        other.f = self.f + now - before
        return other.step(other.f, None)

    def _choices(self) -> tuple[Tensor, Tensor | None]:
        """Regions and targets, r and T."""
        return self._responsibilities(WHOLE), self.T

    def _read_sources(self) -> None:
        """All that the sources give once, (4) to (7).

        Anew only where they have been moved to another device or dtype.
        """
        like = self.sources[0]
        if self._read_as != (like.device, like.dtype):
            self._found = None
            self._weigh_evidence()
            self._read_as = like.device, like.dtype

    def _weigh_evidence(self) -> None:
        """What the sources give of the whole picture."""
        r, T = self._found or (None, None)
        if r is None:
            self._find_saliency()
            T = find_targets(self.sources, self.theta, self._solve) if self.theta else None
        self.T = T
        count = len(self.sources)
        self.u = in_bands(self._level, self.sources[0], self._reach_of_levels, count)
        self._bands = bands(self.u, AROUND, count)
        if self._bands == [WHOLE]:
            self._weigh_gradients()
            return
        self.W, self.a = torch.empty_like(self.u), torch.empty_like(self.u)
        for band in self._bands:
            W, a = self._part(band)._weights()
            self.W[..., band.rows, :], self.a[..., band.rows, :] = band.within(W), band.within(a)

    def _in(self, band: Band) -> EvidenceLikelihood:
        """The same in a band of the picture, the gradients of its sources weighed."""
        if self._bands == [WHOLE]:
            return self
        part = self._part(band)
        part._weigh_gradients()
        return part

    def _part(self, band: Band) -> EvidenceLikelihood:
        part = copy.copy(self)
        part.sources = [band.around(s) for s in self.sources]
        part.u = band.around(self.u)
        part.T = None if self.T is None else band.around(self.T)
        return part

    def _level(self, band: Band) -> Tensor:
        """u of (4)."""
        s = torch.cat([band.around(s) for s in self.sources], dim=1)
        return (self._responsibilities(band) * s).sum(dim=1, keepdim=True)

    def _weigh_gradients(self) -> None:
        """What is one for each source, (4) to (7)."""
        s = torch.cat(self.sources, dim=1)
        right, below, energy = _energy(s)
        strongest = energy.amax(dim=1, keepdim=True)
        if self.T is not None:
            self._lift(s, right, below)
        self._read_gradients(right, below, energy, strongest)
        del right, below  # a large image has room for what is needed, and no more
        W = self._mildness(strongest)
        self.W, self.a = self._weights(W)
        outlines = None if self.T is None else self.T * (1 - self._mildness(energy))
        log_pi = self.p * energy.log() - self.phi * (self.u - s).clamp(min=0) ** 2
        del energy
        if self.full:
            log_pi += self.full * ((s - WHITE) / (1 - WHITE)).clamp(min=0, max=1)
        self.pi = shares_of(self._preferring(log_pi, ODDS))
        if outlines is not None:
            self.pi = (1 - outlines.sum(dim=1, keepdim=True)).clamp(min=0) * self.pi + outlines
        self.pi = self.pi.clamp(min=1e-6)
        self.pi = self.pi / self.pi.sum(dim=1, keepdim=True)
        self.t = self.W * strongest / self.learn

    def _weights(self, W: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """W and a, of targets as elsewhere."""
        if W is None:
            energies = [_energy(s)[-1] for s in self.sources]
            W = self._mildness(torch.cat(energies, dim=1).amax(dim=1, keepdim=True))
        a = torch.full_like(self.u, self.alpha)
        if self.T is None:
            return W, a
        first = self.T[:, :1]
        return W * (1 - first) + first, a * (1 - first)

    def _mildness(self, energy: Tensor) -> Tensor:
        """W_k of (7)."""
        return (1 + energy / self.edge**2).rsqrt()

    def _lift(self, s: Tensor, right: Tensor, below: Tensor) -> None:
        """Gradients of s_k become those that count on its targets, see (5)."""
        assert self.T is not None
        brightest = s.amax(dim=1, keepdim=True)
        most = torch.minimum(torch.cat(self._middles, dim=1), brightest)
        lifted = grad(torch.maximum(s, most))
        right.lerp_(lifted[0], self.T)
        below.lerp_(lifted[1], self.T)

    def _read_gradients(
        self, right: Tensor, below: Tensor, energy: Tensor, strongest: Tensor
    ) -> None:
        """g_k of (5)."""
        m = self._faintness(energy.sqrt())
        right, below = _with_others(right, m), _with_others(below, m)
        q = (strongest / smooth(right**2 + below**2, GRAIN).add_(TINY)).clamp(max=1).sqrt_()
        self.right, self.below = right.mul_(q), below.mul_(q)
        if self.T is not None:
            _share_contrast(self.right, self.T)
            _share_contrast(self.below, self.T)
            self.right[..., -1] = 0  # no step leads out of the picture
            self.below[..., -1, :] = 0

    def _faintness(self, size: Tensor) -> Tensor:
        """m of (5)."""
        return self.faint / (self.faint + size)

    def _responsibilities(self, band: Band) -> Tensor:
        """r of (4)."""
        if self._found is not None:
            return band.around(self._found[0])
        R = self._on_regions(band)
        if self.saliency == "sharp":
            R = R.clamp(min=TINY).log()
        return shares_of(self._preferring(self.kappa * R, self.kappa))

    def _on_regions(self, band: Band) -> Tensor:
        """R(saliency_k), where what the saliency is of is found."""
        if self._regions is not None:
            return from_grid(self._regions, self.shape, band)
        salient = [
            self._salient(band.around(s), m)
            for s, m in zip(self.sources, self._middles, strict=True)
        ]
        return torch.cat([smooth(x, self._narrow) for x in salient], dim=1)

    @property
    def _narrow(self) -> float:
        """The width of R where it is below that of the grid which regions are found on."""
        return max(self.width * min(self.shape[-2:]), 0.3)

    @property
    def _reach_of_levels(self) -> int:
        return 0 if self._regions is not None else reach_of(self._narrow) + AROUND

    def _find_saliency(self) -> None:
        """What of R the whole picture decides."""
        asked = self.theta > 0 or self.saliency == "stands out"
        self._middles = [
            median(s.flatten(2))[..., None] if asked else torch.zeros_like(s[..., :1, :1])
            for s in self.sources
        ]
        self._regions = None
        if self.width * GRID >= 1:
            x = [
                on_grid(self._salient(s, m))
                for s, m in zip(self.sources, self._middles, strict=True)
            ]
            s = [on_grid(s) for s in self.sources]
            self._regions = smoothed_on_grid(
                torch.cat(x, dim=1), torch.cat(s, dim=1), self.width, self.edge
            )

    def _salient(self, s: Tensor, middle: Tensor) -> Tensor:
        """What R smooths, of one source."""
        if self.saliency == "exposed":
            return -(s**2) / 2
        if self.saliency == "sharp":
            return _energy(s)[-1]
        return (s - middle).abs() + self.beta * s

    def _preferring(self, logs: Tensor, weight: float) -> Tensor:
        """Logarithms of probabilities (B, 2, H, W), with weight b_k."""
        if not self.balance:
            return logs
        b = weight * REACH * self.balance * abs(self.balance)
        return logs + logs.new_tensor([-b, b]).view(1, 2, 1, 1)

    def _where_all_is_even(self, towards: tuple[Tensor, Tensor]) -> Tensor:
        """f of expected gradients, as if W were 1 and no level beyond black and white."""
        return self._solve(self.alpha, adjoint(*towards).add_(self.alpha * self.u))

    def _gradients_at(self, f: Tensor | None) -> tuple[Tensor, Tensor]:
        """What grad f is expected to be: after an E-step, or by what labels are before any."""
        if self._bands == [WHOLE]:
            return self._gradients(self.pi if f is None else self._e_step(f))
        right, below = torch.empty_like(self.u), torch.empty_like(self.u)
        for band in self._bands:
            part = self._in(band)
            z = part.pi if f is None else part._e_step(band.around(f))
            right[..., band.rows, :], below[..., band.rows, :] = map(
                band.within, part._gradients(z)
            )
        return right, below

    def _gradients(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """What grad f is expected to be, sum_k (S z)_k g_k."""
        z = smooth(z, GRAIN)
        right = (z * self.right).sum(dim=1, keepdim=True)
        return right, (z * self.below).sum(dim=1, keepdim=True)

    def _misfits(self, f: Tensor) -> Tensor:
        """W |grad f - g_k|^2 of each source."""
        right, below = grad(f)
        return self.W * ((right - self.right) ** 2 + (below - self.below) ** 2)

    def _e_step(self, f: Tensor) -> Tensor:
        """(2)."""
        return shares_of(self.pi.log() - smooth(self._misfits(f), GRAIN) / self.t)

    def _m_step(self, towards: tuple[Tensor, Tensor], f: Tensor, x0: Tensor, rho: Tensor) -> Tensor:
        """(3), from f on, towards these gradients."""
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
            """What of (1) depends on f, its sign reversed, so far on the way."""

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
        # What was within black and white may be beyond now, which (3) did not know.
        before = lost(0.0)
        best = torch.zeros_like(before)
        for length in (0.25, 0.5, 1.0):
            best = torch.where(lost(length) <= before, torch.full_like(best, length), best)
        return way.mul_(best).add_(f)

    def _of_levels(self, f: Tensor, x0: Tensor, rho: Tensor, band: Band) -> Tensor:
        """Of (1), f being the wide rows of a band."""
        beyond = (f.abs() - 1).clamp(min=0)
        a, u = band.around(self.a), band.around(self.u)
        return a * (f - u) ** 2 + rho * (f - band.around(x0)) ** 2 + STIFF * beyond**2


def _energy(s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of sources (B, K, H, W), and their energy e_k."""
    right, below = grad(s)
    return right, below, smooth(right**2 + below**2, GRAIN).add_(TINY)


def _with_others(part: Tensor, m: Tensor) -> Tensor:
    """A gradient of each source, with the faint ones of the others laid over."""
    faint = m * part
    return part + (faint.sum(dim=1, keepdim=True) - faint) / (part.shape[1] - 1)


def _share_contrast(part: Tensor, T: Tensor) -> None:
    """d_k becomes g_k of (5), along one axis."""
    wide = F.pad(smooth(part[:, 1:] - part[:, :1], CONTRAST), (0, 0, 0, 0, 1, 0))  # less B d_1
    part += (T * wide).sum(dim=1, keepdim=True) - T.sum(dim=1, keepdim=True) * wide
