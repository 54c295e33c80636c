r"""What the head is trained for. Images are (B, 1, H, W) in [0, 1]; u is the level to aim at.

    L = a (1 - w_i SSIM(f, i) - w_v SSIM(f, v))
      + b |g(f) - max(g(i), g(v))|_1
      + c |f - u|_1,      w_x = mean g(x) / (mean g(i) + mean g(v))

g(x) = |S_x x| + |S_y x| is the strength of the gradient under Sobel's kernels, and |.|_1 a mean.

"published" has a, b, c = 10, 16, 14 and u = max(i, v), which erases a warm person before bright
smoke or sky. "salient" has for u the levels of the default likelihood (equation 4 of
ddfm/likelihood/evidence.py): a region has the level of the source in which it stands out. Its
gradients have a direction as well: each is to be that of the source where it is stronger, not only
as strong, so that what is darker than its surroundings remains so. Its weights, 5, 8, 60, let
levels count for more: at the published ones edges from both sources leave little of either's
contrast between regions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ddfm.errors import unknown
from ddfm.numerics.filters import smooth
from ddfm.numerics.poisson import PoissonSolver

__all__ = ["LOSSES", "levels", "loss", "sobel", "ssim"]

LOSSES = {"salient": (5.0, 8.0, 60.0), "published": (10.0, 16.0, 14.0)}  # a, b, c
# Which source has the level: what stands out over so much of the shorter side, and how sharply;
# what is far above the rest of its picture, and how sharply. As the shipped head was trained.
WIDE, STANDS_OUT, BRIGHTNESS, OUTLYING = 0.12, 14.0, 0.55, 4.0


def loss(f: Tensor, i: Tensor, v: Tensor, u: Tensor, kind: str = "salient") -> Tensor:
    """L of a batch, its mean."""
    if kind not in LOSSES:
        raise unknown("loss", kind, LOSSES)
    df, di, dv = sobel(f), sobel(i), sobel(v)
    gi, gv = _strength(di), _strength(dv)
    if kind == "published":
        gradient = (_strength(df) - torch.maximum(gi, gv)).abs().mean()
    else:
        gradient = (df - torch.where(gi >= gv, di, dv)).abs().sum(1).mean()
    mean_i, mean_v = (g.mean(dim=(1, 2, 3)) for g in (gi, gv))
    share = (mean_i + 1e-6) / (mean_i + mean_v + 2e-6)
    likeness = share * ssim(f, i) + (1 - share) * ssim(f, v)
    level = (f - u).abs().mean()
    structure = (1 - likeness).mean()
    a, b, c = LOSSES[kind]
    return a * structure + b * gradient + c * level


def levels(i: Tensor, v: Tensor, kind: str = "salient") -> Tensor:
    """u of whole images (what stands out depends on all of a source, so crops come later)."""
    if kind == "published":
        return torch.maximum(i, v)
    if kind not in LOSSES:
        raise unknown("loss", kind, LOSSES)
    s = torch.cat([2 * i - 1, 2 * v - 1], dim=1)
    median = s.flatten(2).median(dim=-1).values[..., None, None]
    stands_out = (s - median).abs() + BRIGHTNESS * s
    wide = PoissonSolver().blur(stands_out, WIDE * min(s.shape[-2:]))
    deviation = s.std(dim=(2, 3), keepdim=True, correction=0).clamp(min=1e-3)
    outlying = ((s - s.mean(dim=(2, 3), keepdim=True)) / deviation - 1.5).clamp(min=0)
    r = (STANDS_OUT * wide + OUTLYING * smooth(outlying, 2.0)).softmax(dim=1)
    return (((r * s).sum(dim=1, keepdim=True) + 1) / 2).clamp(0, 1)


def sobel(x: Tensor) -> Tensor:
    """S_x x and S_y x, (B, 2, H, W), with borders repeated."""
    across = x.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    return F.conv2d(
        F.pad(x, (1, 1, 1, 1), mode="replicate"), torch.stack([across, across.T])[:, None]
    )


def _strength(gradient: Tensor) -> Tensor:
    return gradient.abs().sum(1, keepdim=True)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of each image (B,), for a data range of 1.

    Under a Gaussian window of 11 x 11 with deviation 1.5, where it fits in (Wang et al. 2004).
    """
    offsets = torch.arange(-5, 6, dtype=x.dtype, device=x.device)
    taps = torch.exp(-(offsets**2) / (2 * 1.5**2))
    taps = taps / taps.sum()
    planes = torch.cat([x, y, x * x, y * y, x * y])
    planes = F.conv2d(F.conv2d(planes, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))
    mx, my, xx, yy, xy = planes.chunk(5)
    c1, c2 = 0.01**2, 0.03**2
    similar = (2 * mx * my + c1) * (2 * (xy - mx * my) + c2)
    similar = similar / ((mx**2 + my**2 + c1) * (xx - mx**2 + yy - my**2 + c2))
    return similar.mean(dim=(1, 2, 3))
