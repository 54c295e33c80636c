"""Images to watch a training run: its learning curve, and samples from the prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from ddfm.diffusion.samplers import ddim
from ddfm.imaging.writing import write_drawing
from ddfm.priors.prior import Prior
from ddfm.priors.respacing import timesteps
from ddfm.progress import progress_bar

__all__ = ["draw_curve", "sample_sheet"]

COLUMNS, SIDE, STEPS = 4, 128, 50  # samples per row, side in pixels, sampling steps


def draw_curve(history: Sequence[dict[str, float]], path: Path, colors: Mapping[str, str]) -> None:
    """Draws measured values over steps, each line scaled to the height of the image."""
    width, height, margin = 800, 400, 50
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)
    last = max(entry["step"] for entry in history)
    pen.rectangle((margin, margin, width - margin, height - margin), outline="#cccccc")
    pen.text((width - margin - 80, height - margin + 8), f"step {last:.0f}", fill="black")
    for row, (name, color) in enumerate(colors.items()):
        points = [(entry["step"], entry[name]) for entry in history if name in entry]
        if not points:
            continue
        low, high = min(v for _, v in points), max(v for _, v in points)
        span = high - low or 1.0
        line = [
            (
                margin + step / last * (width - 2 * margin),
                height - margin - (value - low) / span * (height - 2 * margin),
            )
            for step, value in points
        ]
        if len(line) > 1:
            pen.line(line, fill=color, width=2)
        now = points[-1][1]
        text = f"{name}: {now:.3f}  (from {low:.3f} to {high:.3f})"
        pen.text((margin + (row % 2) * 320, 8 + row // 2 * 16), text, fill=color)
    write_drawing(path, picture)


@torch.no_grad()
def sample_sheet(prior: Prior, path: Path, device: torch.device, progress: bool | None) -> None:
    """Draws unconditional samples in a grid, with a progress bar, as this takes minutes."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((COLUMNS**2, prior.channels, SIDE, SIDE), generator=generator).to(device)
    times = timesteps(len(prior.alphas_bar), STEPS)
    with progress_bar(progress, desc="drawing samples", total=len(times)) as bar:
        x = ddim(prior, x, times, prior.alphas_bar, callback=lambda step: bar.update())
    pixels = ((x.clamp(-1, 1) + 1) * 127.5).round().byte().cpu().permute(0, 2, 3, 1).numpy()
    sheet = Image.new("L" if prior.channels == 1 else "RGB", (COLUMNS * SIDE, COLUMNS * SIDE))
    for index, sample in enumerate(pixels):
        tile = Image.fromarray(sample[..., 0] if prior.channels == 1 else sample)
        sheet.paste(tile, (index % COLUMNS * SIDE, index // COLUMNS * SIDE))
    write_drawing(path, sheet)
