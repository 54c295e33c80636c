"""Luminance and chroma by ITU-R BT.601, and how the chroma of several sources is fused.

All tensors are images (B, C, H, W) or single planes that broadcast with one another. R, G and B
are in [-1, 1], and so are Y, Cb and Cr, at full range:

    Y = 0.299 R + 0.587 G + 0.114 B,    Cb = (B - Y) / 1.772,    Cr = (R - Y) / 1.402.

Y is -1 at black and 1 at white; Cb and Cr are 0 at every grey.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ddfm.imaging.picture import LUMA

__all__ = [
    "as_vivid",
    "fuse_chroma",
    "limit_chroma",
    "luminance",
    "rgb_to_ycbcr",
    "ycbcr_to_rgb",
]

PALE = 0.003  # saturation added to every source's where shares count: about half an 8-bit level
MOST = 2.0  # largest factor on chroma: a larger one would show the noise of dark areas
_KR, _KG, _KB = LUMA
_CB_SPAN, _CR_SPAN = 2 * (1 - _KB), 2 * (1 - _KR)


def luminance(x: Tensor) -> Tensor:
    """Luminance (B, 1, H, W) of an image: Y of RGB; a grey image is returned unchanged."""
    if x.shape[1] == 1:
        return x
    return torch.einsum("bchw,c->bhw", x, x.new_tensor(LUMA)).unsqueeze(1)


def rgb_to_ycbcr(rgb: Tensor) -> Tensor:
    """Convert R, G, B (B, 3, H, W) to Y, Cb, Cr at full range."""
    r, g, b = rgb.unbind(1)
    y = _KR * r + _KG * g + _KB * b
    return torch.stack([y, (b - y) / _CB_SPAN, (r - y) / _CR_SPAN], 1)


def ycbcr_to_rgb(ycbcr: Tensor) -> Tensor:
    """Convert Y, Cb, Cr (B, 3, H, W) at full range to R, G, B, which may leave [-1, 1]."""
    y, cb, cr = ycbcr.unbind(1)
    return torch.stack([y + offset for offset in _offsets_from_grey(cb, cr)], 1)


def fuse_chroma(chromas: Sequence[Tensor], shares: Tensor | None = None) -> Tensor:
    """Fuse the chroma of several colour sources: their mean at each pixel, weighted by saturation.

    Args:
        chromas: Cb and Cr of each source, (B, 2, H, W), zero at grey.
        shares: share of each source in the fused levels, (B, K, H, W); None if all count alike.

    Source k has weight sqrt(Cb_k^2 + Cr_k^2). So a grey source leaves the other's colour
    unchanged, equally saturated sources are averaged, and where all are grey the result is grey.
    Cb and Cr have the same weight, which keeps the result between the colours it is mixed from.
    With shares, the weight is the share times (saturation + `PALE`), so that a grey source does
    not take on the colour noise of a source that is too dark to show anything.
    """
    stack = torch.stack(list(chromas))
    weight = stack.square().sum(dim=2, keepdim=True).sqrt()  # faster than torch.linalg.norm
    if shares is None:
        # Far below a 16-bit level; keeps the quotient finite where all sources are grey.
        weight = weight + 1e-6
    else:
        weight = shares.transpose(0, 1).unsqueeze(2) * (weight + PALE) + 1e-6
    return (weight * stack).sum(0) / weight.sum(0)


def as_vivid(chroma: Tensor, own: Tensor, y: Tensor) -> Tensor:
    """Scale the chroma (B, 2, H, W) of a source from its own luminance to the luminance y.

    A pixel that becomes brighter needs more chroma to look as vivid as in its source, a darker one
    less: chroma stays in proportion to the distance from black. The factor is at most `MOST`.
    """
    return chroma * ((y + 1) / (own + 1).clamp(min=1e-3)).clamp(max=MOST)


def limit_chroma(y: Tensor, cb: Tensor, cr: Tensor) -> tuple[Tensor, Tensor]:
    """Reduce Cb and Cr where needed, so that together with Y they give RGB within [-1, 1].

    Both are scaled by the largest s in [0, 1] for which Y + s (R - Y), and the same for G and B,
    stays in range. Luminance and hue are unchanged; only saturation is reduced. Y is clipped to
    [-1, 1] first.
    """
    y = y.clamp(-1, 1)
    scale = torch.ones_like(y + cb + cr)
    tiny = torch.finfo(scale.dtype).tiny
    for offset in _offsets_from_grey(cb, cr):
        room = torch.where(offset > 0, 1 - y, 1 + y)
        scale = torch.minimum(scale, room / offset.abs().clamp_min(tiny))
    return cb * scale, cr * scale


def _offsets_from_grey(cb: Tensor, cr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """R - Y, G - Y and B - Y."""
    r, b = _CR_SPAN * cr, _CB_SPAN * cb
    return r, -(_KR * r + _KB * b) / _KG, b
