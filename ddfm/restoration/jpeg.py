"""JPEG's quantisation: each coefficient of each block of a source is known to lie in an interval.

What was compressed lies within half a step of what is in the file, coefficient by coefficient. Any
estimate of it can be held to that.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ddfm.numerics.poisson import dct, idct

__all__ = ["held_to_file", "quantisation", "strength"]

BLOCK = 8
STRENGTH = 0.1  # of the steps for what is smooth in a block
# Steps for luminance at quality 50, ITU-T T.81, table K.1.
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


def quantisation(quality: int) -> np.ndarray:
    """(8, 8) steps of levels of 255, as the usual encoder has them for a quality of 1 to 100."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((np.array(LUMINANCE) * scale + 50) // 100, 1, 255)


def strength(quality: int) -> float:
    """The noise, of levels from -1 to 1, that quantisation is most like to a denoiser."""
    return STRENGTH * 2 / 255 * float(quantisation(quality)[:3, :3].mean())


def held_to_file(x: Tensor, y: Tensor, quality: int) -> Tensor:
    """x (1, 1, H, W) in [-1, 1] with its coefficients within half a step of those of y."""
    h, w = y.shape[-2:]
    half = torch.from_numpy(quantisation(quality)).to(y) / 255
    there, own = _coefficients(y), _coefficients(x)
    clipped = torch.maximum(torch.minimum(own, there + half), there - half)
    return _from_coefficients(clipped, h, w)


def _coefficients(x: Tensor) -> Tensor:
    """(rows, columns, 8, 8), orthonormal."""
    h, w = x.shape[-2:]
    wide = F.pad(x, (0, -w % BLOCK, 0, -h % BLOCK), mode="replicate")[0, 0]
    blocks = wide.unfold(0, BLOCK, BLOCK).unfold(1, BLOCK, BLOCK)
    norm = _norm(x)
    return (dct((dct(blocks) * norm).transpose(-1, -2)) * norm).transpose(-1, -2)


def _from_coefficients(waves: Tensor, h: int, w: int) -> Tensor:
    norm = _norm(waves)
    blocks = idct(idct(waves.transpose(-1, -2) / norm).transpose(-1, -2) / norm)
    rows, columns = blocks.shape[:2]
    wide = blocks.permute(0, 2, 1, 3).reshape(rows * BLOCK, columns * BLOCK)
    return wide[None, None, :h, :w]


def _norm(like: Tensor) -> Tensor:
    """What makes the cosines of `dct` orthonormal."""
    norm = torch.full((BLOCK,), (2 / BLOCK) ** 0.5, dtype=like.dtype, device=like.device)
    norm[0] = BLOCK**-0.5
    return norm
