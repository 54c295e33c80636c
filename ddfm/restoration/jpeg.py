"""Detects JPEG compression, and undoes it as far as its quantisation allows.

Each coefficient of each block was within half a quantisation step of the value in the file, and any
estimate of the original can be constrained to that interval. The estimate used here is the mean of
two that err in different ways: the mean over the file compressed again with its blocks shifted, in
each of the 64 ways (Nosratinia 2001), and the result of a denoiser that is applied twice.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from scipy.fft import dct, dctn
from torch import Tensor

from ddfm.progress import part_done
from ddfm.restoration.noise_laws import Denoise

__all__ = ["find_quality", "held_to_file", "quantisation", "without_blocks"]

BLOCK = 8  # pixels along a side of a block
SIDE = 32  # most blocks along each side that are examined
LOOKED_AT = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0))  # the coefficients that are examined
COARSEST, FINEST = 5, 60  # qualities that are looked for; better ones leave no visible artefacts
FEWEST = 100  # least number of coefficients that are not zero
SURE = 0.6  # least mean of cos(2 pi c / step) for a quality to be accepted
# A picture is no JPEG if more than a share FEW of its finest coefficients is in the range BETWEEN:
# neither rounding errors nor whole quantisation steps.
BETWEEN, FEW = (1.5, 10.0), 0.1
STRENGTHS = 0.17, 0.1  # noise given to the denoiser each time, in steps of the coarse coefficients
NARROW = 0.6  # share of the interval that is used: originals are seldom near its ends
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


def find_quality(plane: np.ndarray) -> int | None:
    """The JPEG quality that a plane (H, W) of levels in [0, 1] was compressed with, if detectable.

    The coefficients c of its blocks are then multiples of the quantisation steps, apart from
    rounding to whole levels: the mean of cos(2 pi c / step) is near 1 for the right table, and near
    0 for any other. This no longer holds if the picture was cropped, rotated or resized afterwards.
    """
    h, w = (min(n // BLOCK, SIDE) * BLOCK for n in plane.shape)
    if not h * w:
        return None
    blocks = plane[:h, :w].reshape(h // BLOCK, BLOCK, w // BLOCK, BLOCK).swapaxes(1, 2)
    waves = 255 * dctn(blocks, axes=(2, 3), norm="ortho")
    fine = np.abs(waves[..., BLOCK // 2 :, BLOCK // 2 :])  # their steps are 40 or more
    if ((fine > BETWEEN[0]) & (fine < BETWEEN[1])).mean() > FEW:
        return None  # most pictures are ruled out here
    best, quality = SURE, None
    for q in range(COARSEST, FINEST + 1):
        steps = quantisation(q)
        score, count = 0.0, 0
        for i, j in LOOKED_AT:
            turns = waves[..., i, j].ravel() / steps[i, j]
            turns = turns[np.abs(turns) > 0.5]
            score, count = score + float(np.cos(2 * np.pi * turns).sum()), count + turns.size
        if count >= FEWEST and score / count > best:
            best, quality = score / count, q
    return quality


def quantisation(quality: int) -> np.ndarray:
    """The (8, 8) quantisation steps of the usual encoder, in levels of 255; quality is 1 to 100."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((np.array(LUMINANCE) * scale + 50) // 100, 1, 255)


def without_blocks(y: Tensor, quality: int, denoise: Denoise) -> Tensor:
    """An estimate of y (1, 1, H, W), in [-1, 1], before it was compressed."""
    smooth = 2 / 255 * float(quantisation(quality)[:3, :3].mean())
    first, second = (share * smooth for share in STRENGTHS)
    x = denoise(held_to_file(denoise(y, first), y, quality), second)
    return held_to_file((x + _compressed_elsewhere(y, quality)) / 2, y, quality, NARROW)


def _compressed_elsewhere(y: Tensor, quality: int) -> Tensor:
    """The mean of y compressed again with its blocks at each of the 64 positions."""
    h, w = y.shape[-2:]
    places = [np.pad(np.arange(n), BLOCK, mode="symmetric") for n in (h, w)]
    rows, columns = (torch.from_numpy(each).to(y.device) for each in places)
    wide = y.index_select(-2, rows).index_select(-1, columns)
    steps = torch.from_numpy(quantisation(quality)).to(y) * (2 / 255)
    total = torch.zeros_like(y)
    for number, (i, j) in enumerate(product(range(BLOCK), repeat=2), 1):
        waves = _coefficients(wide[..., i : i + h + BLOCK, j : j + w + BLOCK])
        again = _from_coefficients((waves / steps).round() * steps, h + BLOCK, w + BLOCK)
        total += again[..., BLOCK - i :, BLOCK - j :][..., :h, :w]
        part_done(number, BLOCK**2)
    return total / BLOCK**2


def held_to_file(x: Tensor, y: Tensor, quality: int, share: float = 1.0) -> Tensor:
    """x (1, 1, H, W) in [-1, 1], with coefficients within `share` of half a step of those of y."""
    h, w = y.shape[-2:]
    half = share * torch.from_numpy(quantisation(quality)).to(y) / 255
    there, own = _coefficients(y), _coefficients(x)
    clipped = torch.maximum(torch.minimum(own, there + half), there - half)
    return _from_coefficients(clipped, h, w)


def _coefficients(x: Tensor) -> Tensor:
    """The orthonormal DCT coefficients of all blocks, (rows, columns, 8, 8)."""
    h, w = x.shape[-2:]
    wide = F.pad(x, (0, -w % BLOCK, 0, -h % BLOCK), mode="replicate")[0, 0]
    cosines = _cosines(x)
    rows = cosines @ wide.reshape(-1, BLOCK, wide.shape[1])  # one entry per row of blocks
    waves = rows.reshape(rows.shape[0], BLOCK, -1, BLOCK) @ cosines.T
    return waves.transpose(1, 2)


def _from_coefficients(waves: Tensor, h: int, w: int) -> Tensor:
    cosines = _cosines(waves)
    rows = waves.transpose(1, 2) @ cosines
    wide = cosines.T @ rows.reshape(rows.shape[0], BLOCK, -1)
    return wide.reshape(1, 1, -1, wide.shape[-1])[..., :h, :w]


def _cosines(like: Tensor) -> Tensor:
    """The orthonormal DCT-II along one side of a block, as a matrix."""
    return torch.from_numpy(dct(np.eye(BLOCK), axis=0, norm="ortho")).to(like)
