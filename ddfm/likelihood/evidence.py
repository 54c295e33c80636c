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
    g_k = q (grad s_k + mean of m_j grad s_j over the others),     m_j = faint / (faint + sqrt e_j)
    pi_k = (1 - T) softmax_k(p log e_k - phi (u - s_k)_+^2 + full [s_k is white] + ODDS b_k)
                + T_k,   T = sum_k T_k                                                        (5)
    W = (1 + max_k e_k / edge^2)^(-1/2),     t = W max_k e_k / learn                          (6)

e_k = S |grad s_k|^2. A label brings the faint texture of the other sources along, q being at most 1
and such that no g_k is stronger than the strongest source. T_k is the probability that a pixel
belongs to a target of source k (`ddfm.likelihood.targets`). On those of the first source W is 1 and
a is 0: there only its contrast counts, and what is around it gives way. Elsewhere strong edges give
way, which shows least, where gradients of several sources make no image. What a source leaves
unexplained is judged by the contrast that is there (t), and texture of what is darker than the
level chosen is foreign (phi), or, where pictures of one thing may differ in brightness, only where
a source is white to the full: there it shows more than can be shown (full). R smooths widely, within contours of the sources, so that a region
has the level of one of them; or, for pictures of one thing in two ways, narrowly. b is what the
caller prefers, REACH balance |balance| of the second of two sources and as much against the first:
a prior of its own on whose the level is, and on whose the gradients are. It is finest around 0, and
targets are kept whatever is preferred.

rho = lam noise^2 / sigma^2, noise being what the sources were found to have. Where they are clean
it is 0, and the prior need not be asked.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from ddfm.errors import InputError, unknown
from ddfm.likelihood.base import Likelihood, Shares
from ddfm.likelihood.targets import find_targets
from ddfm.numerics.exporting import median
from ddfm.numerics.filters import per_image_sum, shares_of, smooth
from ddfm.numerics.poisson import PoissonSolver, adjoint, grad
from ddfm.numerics.regions import GRID, smooth_regions

__all__ = ["SALIENCIES", "EvidenceLikelihood"]

SALIENCIES = ("stands out", "exposed", "sharp")
TINY = 4e-7  # gradients of a third of a grey level: keeps quotients finite where all is flat
GRAIN = 0.86  # of S, pixels
STIFF = 0.3
WHITE = 0.9  # from where on up to 1 a level is taken for white to the full
REACH = 0.4  # of a preference, as saliency, of levels from -1 to 1
ODDS = 6.0  # the same, as the logarithm of odds
PASSES = 3  # of the conjugate gradients, which go on from the last f


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
        alpha: float = 0.004,
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
            raise InputError("kappa, phi, full, faint, theta and lam of the likelihood are not negative")
        if balance and len(sources) != 2:
            raise InputError(f"a balance is between two sources, not {len(sources)}")
        self.balance = balance
        self.saliency, self.alpha, self.width = saliency, alpha, width
        self.kappa, self.beta, self.p, self.phi = kappa, beta, p, phi
        self.learn, self.faint, self.edge, self.full = learn, faint, edge, full
        self.theta, self.lam = theta, lam
        self.f: Tensor | None = None
        self.z: Tensor | None = None
        self._last: tuple[Tensor, Tensor, Tensor] | None = None  # of an M-step: f, x0, rho
        self._found: tuple[Tensor, Tensor | None] | None = None
        self._read_as: tuple[torch.device, torch.dtype] | None = None
        self._solve = PoissonSolver()

    def first_guess(self) -> Tensor:
        """What the sources say without any prior, labels being as they are expected to be."""
        self._read_sources()
        f = self._of_expected_labels()
        nothing = torch.zeros_like(self.u[..., :1, :1])
        return self._m_step(self.pi, f, f, nothing)

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
        self.z = self._e_step(f)
        self._last = (f, x0, rho) if self.needs_prior else None
        self.f = self._m_step(self.z, f, x0, rho)
        return self.f

    def objective(self, f: Tensor, z: Tensor, x0: Tensor, rho: Tensor) -> Tensor:
        """The log-posterior (1) per image, rho being (B, 1, 1, 1)."""
        misfit = (smooth(z, GRAIN) * self._misfits(f)).sum(dim=1, keepdim=True)
        surprise = self.t * (z * (z.clamp(min=1e-30) / self.pi).log()).sum(1, keepdim=True)
        return -(self._of_levels(f, x0, rho) + misfit + surprise).sum(dim=(1, 2, 3))

    def shares(self) -> Tensor:
        s, _, _, energy = self._energies()
        return self._responsibilities(s, energy)

    def attribution(self) -> Shares | None:
        """Levels by r, but on targets of the first source; gradients by the labels and their size.

        What the prior did is the change that the last M-step makes by it.
        """
        if self.f is None or self.z is None:
            return None
        levels, targets = self._choices()
        if targets is not None:
            first = targets[:, :1]
            levels = levels * (1 - first)
            levels = torch.cat([levels[:, :1] + first, levels[:, 1:]], dim=1)
        size = self._energies()[-1].sqrt()
        labels = smooth(self.z, GRAIN)
        of_others = _with_others(labels, torch.ones_like(labels)) - labels
        gradients = (labels + self._faintness(size) * of_others) * size
        sources = Shares.of_sources(levels, gradients / gradients.sum(dim=1, keepdim=True))
        if self._last is None:
            return sources
        f, x0, rho = self._last
        return sources.with_change(self.f, self.f - self._m_step(self.z, f, x0, 0 * rho))

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
        other.f = self.f + other._of_expected_labels() - self._of_expected_labels()
        return other.step(other.f, None)

    def _choices(self) -> tuple[Tensor, Tensor | None]:
        """Regions and targets, r and T; kept only where somebody asks for them."""
        if self._found is None:
            s, _, _, energy = self._energies()
            targets = find_targets(s, self.theta, self._solve) if self.theta else None
            self._found = self._responsibilities(s, energy), targets
        return self._found

    def _read_sources(self) -> None:
        """All that the sources give once, (4) to (6).

        Anew only where they have been moved to another device or dtype.
        """
        like = self.sources[0]
        if self._read_as != (like.device, like.dtype):
            self._found = None
            self._weigh_evidence()
            self._read_as = like.device, like.dtype

    def _energies(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The sources (B, K, H, W), their gradients, and the energy of these."""
        s = torch.cat(self.sources, dim=1)
        right, below = grad(s)
        return s, right, below, smooth(right**2 + below**2, GRAIN).add_(TINY)

    def _weigh_evidence(self) -> None:
        s, right, below, energy = self._energies()
        r, targets = self._found or (None, None)
        strongest = energy.amax(dim=1, keepdim=True)
        self._read_gradients(right, below, energy, strongest)
        del right, below  # a large image has room for what is needed, and no more
        r = self._responsibilities(s, energy) if r is None else r
        self.u = (r * s).sum(dim=1, keepdim=True)
        self.W = (1 + strongest / self.edge**2).rsqrt()
        log_pi = self.p * energy.log() - self.phi * (self.u - s).clamp(min=0) ** 2
        if self.full:
            log_pi += self.full * ((s - WHITE) / (1 - WHITE)).clamp(min=0, max=1)
        self.pi = shares_of(self._preferring(log_pi, ODDS))
        self.a = torch.full_like(self.u, self.alpha)
        del r, energy, log_pi
        if self.theta:
            found = find_targets(s, self.theta, self._solve) if targets is None else targets
            self._read_targets(found)
        self.pi = self.pi.clamp(min=1e-6)
        self.pi = self.pi / self.pi.sum(dim=1, keepdim=True)
        self.t = self.W * strongest / self.learn

    def _read_gradients(
        self, right: Tensor, below: Tensor, energy: Tensor, strongest: Tensor
    ) -> None:
        """g_k of (4)."""
        m = self._faintness(energy.sqrt())
        right, below = _with_others(right, m), _with_others(below, m)
        q = (strongest / smooth(right**2 + below**2, GRAIN).add_(TINY)).clamp(max=1).sqrt_()
        self.right, self.below = right.mul_(q), below.mul_(q)

    def _faintness(self, size: Tensor) -> Tensor:
        """m of (4)."""
        return self.faint / (self.faint + size)

    def _read_targets(self, targets: Tensor) -> None:
        """What targets change in (5) and (6)."""
        first = targets[:, :1]
        none = (1 - targets.sum(dim=1, keepdim=True)).clamp(min=0)
        self.pi = none * self.pi + targets
        self.a = self.a * (1 - first)
        self.W = self.W * (1 - first) + first

    def _responsibilities(self, s: Tensor, energy: Tensor) -> Tensor:
        """r of (4)."""
        return shares_of(self._preferring(self.kappa * self._saliency(s, energy), self.kappa))

    def _saliency(self, s: Tensor, energy: Tensor) -> Tensor:
        if self.saliency == "exposed":
            return self._over_regions(-(s**2) / 2, s)
        if self.saliency == "sharp":
            return self._over_regions(energy, s).clamp(min=TINY).log()
        middle = median(s.flatten(2))[..., None]
        return self._over_regions((s - middle).abs() + self.beta * s, s)

    def _preferring(self, logs: Tensor, weight: float) -> Tensor:
        """Logarithms of probabilities (B, 2, H, W), with weight b_k."""
        if not self.balance:
            return logs
        b = weight * REACH * self.balance * abs(self.balance)
        return logs + logs.new_tensor([-b, b]).view(1, 2, 1, 1)

    def _over_regions(self, x: Tensor, s: Tensor) -> Tensor:
        """R: below the grid that regions are found on it is a Gaussian."""
        if self.width * GRID < 1:
            return smooth(x, max(self.width * min(x.shape[-2:]), 0.3))
        return smooth_regions(x, s, self.width, self.edge)

    def _of_expected_labels(self) -> Tensor:
        """f of the labels that are expected, as if W were 1 and no level beyond black and white."""
        right, below = self._gradients(self.pi)
        return self._solve(self.alpha, self.alpha * self.u + adjoint(right, below))

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

    def _m_step(self, z: Tensor, f: Tensor, x0: Tensor, rho: Tensor) -> Tensor:
        """(3), from f on."""
        right, below = self._gradients(z)
        beyond = STIFF * (f.abs() > 1)
        right_side = adjoint(self.W * right, self.W * below)
        right_side += self.a * self.u + rho * x0 + beyond * f.sign()
        way = self._solve.weighted(self.a + rho + beyond, self.W, right_side, f, PASSES).sub_(f)
        del beyond, right_side

        def lost(f: Tensor) -> Tensor:
            """What of (1) depends on f, its sign reversed."""
            across, down = grad(f)
            gradients = across.sub_(right).square_().add_(down.sub_(below).square_())
            return per_image_sum(self._of_levels(f, x0, rho).add_(gradients.mul_(self.W)))

        # What was within black and white may be beyond now, which (3) did not know.
        before, best = lost(f), f
        for length in (0.25, 0.5, 1.0):
            there = f + length * way
            best = torch.where(lost(there) <= before, there, best)
        return best

    def _of_levels(self, f: Tensor, x0: Tensor, rho: Tensor) -> Tensor:
        beyond = (f.abs() - 1).clamp(min=0)
        return self.a * (f - self.u) ** 2 + rho * (f - x0) ** 2 + STIFF * beyond**2


def _with_others(part: Tensor, m: Tensor) -> Tensor:
    """A gradient of each source, with the faint ones of the others laid over."""
    faint = m * part
    return part + (faint.sum(dim=1, keepdim=True) - faint) / (part.shape[1] - 1)
