"""Draws the pictures of docs/metrics.md: bad fusions, and the metrics that rate them highly.

python examples/metrics_fooled.py [folder, by default docs/images]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from ddfm.metrics import as_grey, evaluate

HERE = Path(__file__).parent
SIDE = 210  # pixels of a panel, cut from the middle of the image
LINE = 17


def eight_bit(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255)


def fooled_by_roughness(a: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
    mean = eight_bit((a + b) / 2)
    noise = np.random.default_rng(0).normal(0, 20, mean.shape)
    return {
        "mean of both": mean,
        "with noise": eight_bit(mean + noise),
        "oversharpened": eight_bit(mean + 2 * (mean - gaussian_filter(mean, 2))),
        "contrast doubled": eight_bit(128 + 2 * (mean - 128)),
    }


def fooled_by_copying(a: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
    odd_row = np.arange(a.shape[0])[:, None] % 2
    return {
        "mean of both": eight_bit((a + b) / 2),
        "maximum of both": np.maximum(a, b),
        "copy of the first": a,
        "rows in turn": np.where(odd_row, a, b),
    }


def fooled_by_burning_out(a: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
    mean = eight_bit((a + b) / 2)
    return {"mean of both": mean, "sum of both": eight_bit(a + b), "negative": 255 - mean}


PICTURES = {
    "fooled_by_roughness": (
        ("olinda_visible", "olinda_infrared"),
        fooled_by_roughness,
        ("EN", "SD", "SF", "AG", "VIF", "Qabf", "Nabf", "SSIM"),
    ),
    "fooled_by_copying": (
        ("olinda_visible", "olinda_infrared"),
        fooled_by_copying,
        ("MI", "NMI", "VIF", "Qabf", "FMI_pixel", "SCD", "CC", "MSE"),
    ),
    "fooled_by_burning_out": (
        ("brain_t1", "brain_pd"),
        fooled_by_burning_out,
        ("SD", "SCD", "EN", "MI", "Qabf", "Nabf", "CC", "SSIM"),
    ),
}


def in_short(value: float) -> str:
    """With two decimals at most, and fewer for large numbers."""
    return f"{value:.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"


def panel(image: np.ndarray, title: str, lines: list[str]) -> Image.Image:
    """The middle of the image with its title above and its numbers below."""
    top, left = ((n - SIDE) // 2 if n > SIDE else 0 for n in image.shape)
    cut = Image.fromarray(image[top : top + SIDE, left : left + SIDE].astype(np.uint8))
    out = Image.new("L", (SIDE + 10, SIDE + LINE * (len(lines) + 1) + 16), 255)
    out.paste(cut, (5, LINE + 6))
    draw, font = ImageDraw.Draw(out), ImageFont.load_default(14)
    draw.text((5, 2), title, 0, font)
    for k, line in enumerate(lines):
        name, _, number = line.partition(" ")
        y = SIDE + LINE * (k + 1) + 8
        draw.text((5, y), name, 0, font)
        draw.text((SIDE, y), number, 0, font, anchor="ra")
    return out


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (pair, make, shown) in PICTURES.items():
        a, b = (as_grey(HERE / "data" / f"{source}.png").pixels for source in pair)
        panels = [panel(a, "first source", []), panel(b, "second source", [])]
        for title, image in make(a, b).items():
            values = evaluate(image, a, b, metrics=shown)
            lines = [f"{metric} {in_short(value)}" for metric, value in values.items()]
            panels.append(panel(image, title, lines))
        strip = Image.new("L", (sum(p.width for p in panels), max(p.height for p in panels)), 255)
        x = 0
        for p in panels:
            strip.paste(p, (x, 0))
            x += p.width
        strip.save(folder / f"{name}.png", optimize=True)
        print(folder / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "docs" / "images")
