"""Whether a prior trained on crops works on a megapixel: one picture, whole and in pieces.

    python benchmarks/prior_size.py [--prior default] [--picture FILE] [--side 1024]

Noise is added and removed again: 25 and 100 grey levels, and the noise of a late timestep, at which
almost nothing of the picture remains. The prior gets the same picture with the same noise whole, in
blended tiles as in `ddfm fuse`, and cut into crops of 256, the size of its training.

Shift is the mean of the result minus that of the picture; it shows a change of brightness. Slow
error is the root mean square error of the means of blocks of 32 x 32 pixels: errors over long
distances. Fast error is the rest. All are in grey levels of 255.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

import ddfm
from ddfm.priors.prior import Prior
from ddfm.priors.schedule import t_of_sigma
from ddfm.priors.tiled import Tiled
from mirrored import mirrored_pair

CROP, TILE, BLOCK = 256, 512, 32
SIGMAS = (25, 100)
LATE = 0.7  # share of all timesteps: t = 700 of 1000


def crops(x: Tensor) -> Tensor:
    """(1, C, H, W) cut into pieces (N, C, 256, 256)."""
    pieces = x.unfold(2, CROP, CROP).unfold(3, CROP, CROP)
    return pieces.permute(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1], CROP, CROP)


def errors(result: Tensor, clean: Tensor) -> tuple[float, float, float]:
    """Shift, slow and fast error in grey levels."""
    error = (result - clean) * 127.5
    slow = F.avg_pool2d(error, BLOCK)
    fast = error - F.interpolate(slow, scale_factor=BLOCK)
    return float(error.mean()), *(float(x.square().mean().sqrt()) for x in (slow, fast))


@torch.no_grad()
def table(prior: Prior, clean: Tensor) -> list[str]:
    """A line for each noise level and each way to denoise."""
    T = len(prior.alphas_bar)
    levels = {f"{s} levels": t_of_sigma(prior.alphas_bar, 2 * s / 255) for s in SIGMAS}
    levels[f"t = {round(LATE * T)}"] = round(LATE * T)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    ways = {
        "whole": (prior, lambda x: x),
        f"tiles of {TILE}": (Tiled(prior, TILE), lambda x: x),
        f"crops of {CROP}": (prior, crops),
    }
    lines = ["| noise | prior sees | shift | slow error | fast error |", "| --- " * 5 + "|"]
    for name, t in levels.items():
        abar = float(prior.alphas_bar[t])
        x_t = abar**0.5 * clean + (1 - abar) ** 0.5 * noise
        for way, (denoiser, cut) in ways.items():
            pieces, truth = cut(x_t), cut(clean)
            results = [denoiser(piece[None], torch.tensor([t])) for piece in pieces]
            shift, slow, fast = errors(torch.cat(results), truth)
            lines.append(f"| {name} | {way} | {shift:+.2f} | {slow:.2f} | {fast:.2f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prior", default="default")
    parser.add_argument("--picture", help="a photograph; by default the visible example, mirrored")
    parser.add_argument("--side", type=int, default=1024, help=f"a multiple of {CROP}")
    options = parser.parse_args()
    size = (options.side, options.side)
    picture = Image.open(options.picture) if options.picture else mirrored_pair(size)[1]
    prior = ddfm.load_prior(options.prior)
    mode = "L" if prior.channels == 1 else "RGB"
    array = np.asarray(ImageOps.fit(picture.convert("RGB"), size).convert(mode), np.float32)
    clean = torch.from_numpy(array / 127.5 - 1).reshape(*size, -1).permute(2, 0, 1)[None]
    print("\n".join(table(prior, clean)))


if __name__ == "__main__":
    main()
