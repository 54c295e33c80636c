r"""The losses that the head is trained with. Images are (B, 1, H, W) in [0, 1].

"distilled": the result f should equal the target u, the result of the default likelihood,

    L = a (1 - SSIM(f, u)) + b |S f - S u|_1 + c |f - u|_1

with the Sobel kernels S, horizontal and vertical, and means |.|_1. It has no rule of its own about
what to keep of which source.

"published": the target is the brighter source, u = max(i, v), which erases a warm person in front
of bright smoke or sky; structure and gradients are those of the sources,

    L = a (1 - w_i SSIM(f, i) - w_v SSIM(f, v))
      + b |g(f) - max(g(i), g(v))|_1
      + c |f - u|_1,      w_x = mean g(x) / (mean g(i) + mean g(v))

with g(x) = |S_x x| + |S_y x|, the strength of a gradient in any direction.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ddfm.arguments import one_of
from ddfm.fuser import Fuser

__all__ = ["LOSSES", "loss", "sobel", "ssim", "target"]

LOSSES = {"distilled": (5.0, 8.0, 60.0), "published": (10.0, 16.0, 14.0)}  # a, b, c
Target = Callable[[Tensor, Tensor], Tensor]


def target(kind: str) -> Target:
    """The function that computes u from i and v, (B, 1, H, W) in [0, 1]."""
    if kind == "published":
        return torch.maximum
    one_of("loss", kind, LOSSES)
    # Sources are fused with their noise: in use, noise is removed before the head sees them. So the
    # prior is never called, and any prior will do.
    fuser = Fuser("gaussian", task="ir-visible", tone="none", clean=float("inf"), look=False)

    def fused(i: Tensor, v: Tensor) -> Tensor:
        pairs = [(a.numpy(), b.numpy()) for a, b in zip(i[:, 0], v[:, 0], strict=True)]
        made = [fuser(*pair, progress=False).image for pair in pairs]
        return torch.stack([torch.from_numpy(u) for u in made])[:, None]

    return fused


def loss(f: Tensor, i: Tensor, v: Tensor, u: Tensor, kind: str = "distilled") -> Tensor:
    """The mean loss L of a batch."""
    one_of("loss", kind, LOSSES)
    if kind == "published":
        structure, gradient = _like_the_sources(f, i, v)
    else:
        structure = (1 - ssim(f, u)).mean()
        gradient = (sobel(f) - sobel(u)).abs().sum(1).mean()
    level = (f - u).abs().mean()
    a, b, c = LOSSES[kind]
    return a * structure + b * gradient + c * level


def _like_the_sources(f: Tensor, i: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The published terms for structure and for gradients, against the sources."""
    of_f, of_i, of_v = (sobel(x).abs().sum(1, keepdim=True) for x in (f, i, v))
    gradient = (of_f - torch.maximum(of_i, of_v)).abs().mean()
    mean_i, mean_v = (g.mean(dim=(1, 2, 3)) for g in (of_i, of_v))
    share = (mean_i + 1e-6) / (mean_i + mean_v + 2e-6)
    likeness = share * ssim(f, i) + (1 - share) * ssim(f, v)
    return (1 - likeness).mean(), gradient


def sobel(x: Tensor) -> Tensor:
    """S_x x and S_y x, (B, 2, H, W), with replicated borders."""
    across = x.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    return F.conv2d(
        F.pad(x, (1, 1, 1, 1), mode="replicate"), torch.stack([across, across.T])[:, None]
    )


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of each image (B,), for a data range of 1.

    With a Gaussian window of 11 x 11 pixels and deviation 1.5, where it fits (Wang et al. 2004).
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
