"""Luminance and chroma by ITU-R BT.601, and what fusion does with chroma.

All tensors are images (B, C, H, W) or single planes that broadcast with one another. R, G and B
are in [-1, 1], and with full range so are Y, Cb and Cr:

    Y = 0.299 R + 0.587 G + 0.114 B,    Cb = (B - Y) / 1.772,    Cr = (R - Y) / 1.402.

Y is -1 at black and 1 at white; Cb and Cr are 0 at every grey, whatever its brightness.
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

PALE = 0.003  # chroma of half a level of 255
MOST = 2.0  # times the chroma: more would show the noise of what was dark
_KR, _KG, _KB = LUMA
_CB_SPAN, _CR_SPAN = 2 * (1 - _KB), 2 * (1 - _KR)


def luminance(x: Tensor) -> Tensor:
    """(B, 1, H, W) of an RGB or grey image: Y of RGB, and grey as it is."""
    if x.shape[1] == 1:
        return x
    return torch.einsum("bchw,c->bhw", x, x.new_tensor(LUMA)).unsqueeze(1)


def rgb_to_ycbcr(rgb: Tensor) -> Tensor:
    """(B, 3, H, W) of R, G, B to Y, Cb, Cr at full range."""
    r, g, b = rgb.unbind(1)
    y = _KR * r + _KG * g + _KB * b
    return torch.stack([y, (b - y) / _CB_SPAN, (r - y) / _CR_SPAN], 1)


def ycbcr_to_rgb(ycbcr: Tensor) -> Tensor:
    """(B, 3, H, W) of Y, Cb, Cr at full range to R, G, B, which may leave [-1, 1]."""
    y, cb, cr = ycbcr.unbind(1)
    return torch.stack([y + offset for offset in _offsets_from_grey(cb, cr)], 1)


def fuse_chroma(chromas: Sequence[Tensor], shares: Tensor | None = None) -> Tensor:
    """One chroma for several colour sources: at each pixel their mean, weighted by saturation.

    Args:
        chromas: Cb and Cr of each source, (B, 2, H, W), zero at grey.
        shares: of the sources in the fused levels, (B, K, H, W); None is the same for all.

    Source k has weight sqrt(Cb_k^2 + Cr_k^2). So a grey source leaves the other's colour
    alone, equals are averaged, and where all are grey the result is grey. Both planes share the
    weight, which keeps the result between the colours that it is made of. Beside shares, a grey
    source counts `PALE`, so that it is not coloured by the noise of what was too dark to see.
    """
    stack = torch.stack(list(chromas))
    weight = stack.square().sum(dim=2, keepdim=True).sqrt()  # quicker than a norm
    if shares is None:
        # Far below a level of 16 bits; keeps the quotient finite where all is grey.
        weight = weight + 1e-6
    else:
        weight = shares.transpose(0, 1).unsqueeze(2) * (weight + PALE) + 1e-6
    return (weight * stack).sum(0) / weight.sum(0)


def as_vivid(chroma: Tensor, own: Tensor, y: Tensor) -> Tensor:
    """Chroma (B, 2, H, W) of a source of luminance `own`, for the luminance y.

    What is shown brighter than in its source needs more chroma to be as vivid, and what is darker
    less: the same share of the distance from black, up to `MOST` times of what it was.
    """
    return chroma * ((y + 1) / (own + 1).clamp(min=1e-3)).clamp(max=MOST)


def limit_chroma(y: Tensor, cb: Tensor, cr: Tensor) -> tuple[Tensor, Tensor]:
    """Cb and Cr, drawn towards grey where needed, so that with Y they give RGB within [-1, 1].

    Both are scaled by the largest s in [0, 1] for which Y + s (R - Y) and its like for G and B
    stay in range. Luminance and hue remain; only saturation gives way. Y itself is expected
    within [-1, 1], and is taken as clipped to it.
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
