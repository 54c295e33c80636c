"""Whether intervals contain the truth as often as they should.

    python benchmarks/calibration.py FOLDER... [--split report] [--noise 15] [--scale 2]

Folders are sets as for `ddfm bench`, split as in benchmarks/splits.toml. Gaussian noise is added to
both sources of a pair, which are then rounded and clipped to 8 bits as in a camera. With --scale,
the first source is instead reduced by this factor, by averaging pixels. The truth is the fusion of
the original pair, with its tone.

The table shows, for each set and degradation:

- the share of pixels that the intervals contain (--plot draws a reliability diagram), and the share
  among pixels that are not black in both sources, unlike the air around a body;
- how wide the intervals are (sharpness, grey levels of 255);
- the predicted deviation and the actual error, both as root mean squares;
- the factor by which deviations would have to be larger for the 90 % interval to be right;
- the deviation and the error of means over an area;
- whether predicted uncertainty is where the errors are: the rank correlation of both, as means over
  a few pixels.
"""

from __future__ import annotations

import colorsys
import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from tqdm import tqdm

from ddfm import Fuser
from ddfm.bench.datasets import find_dataset
from ddfm.imaging.drawing import font_of
from ddfm.imaging.picture import LUMA
from pairs import Pair, some_pairs, with_noise

SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
HELD = 0.9  # the share for which intervals are judged
FACTORS = np.geomspace(0.25, 4, 161)
BLACK = 8  # grey levels; what is darker in all sources is air
AREA = 3.0  # deviation in pixels of the Gaussian that weights means over an area
AROUND = 2.0  # likewise, for the comparison of deviations and errors
SHOWN = (0.5, 0.9, 0.95)  # of the shares, in the table


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--pairs", type=click.IntRange(min=1), default=4, show_default=True)
@click.option("--split", type=click.Choice(["choose", "report"]), default="choose")
@click.option("--noise", type=float, multiple=True, default=(5, 15, 25), show_default=True)
@click.option("--scale", type=int, multiple=True, default=(2, 4), show_default=True)
@click.option("--samples", type=int, default=16, show_default=True)
@click.option("--crop", type=int, default=192, show_default=True, help="Side of the part used.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write all results, as JSON.")
@click.option("--plot", type=click.Path(path_type=Path), help="Also draw a diagram, as PNG.")
def main(
    folders: tuple[Path, ...],
    pairs: int,
    split: str,
    noise: tuple[float, ...],
    scale: tuple[int, ...],
    samples: int,
    crop: int,
    out: Path | None,
    plot: Path | None,
) -> None:
    """Print the table of docs/trust.md."""
    found: dict[str, dict[str, Any]] = {}
    print_head(split)
    for folder in folders:
        dataset = find_dataset(folder)
        fuser = Fuser(task=dataset.task, device="cpu").with_config(look=False)
        sources = [[middle(s, crop) for s in pair] for pair in some_pairs(dataset, pairs, split)]
        damages = [("noise", sigma) for sigma in noise] + [("scale", k) for k in scale]
        for kind, much in damages:
            each = [
                measured(fuser, pair, damaged(pair, kind, much, seed), samples)
                for seed, pair in enumerate(tqdm(sources, desc=f"{folder.name} {kind} {much:g}"))
            ]
            name = f"{dataset.name}, {kind} {much:g}"
            found[name] = pooled(each)
            print_row(name, found[name])
    if plot is not None:
        drawn(found).save(plot)
    if out is not None:
        out.write_text(json.dumps({"split": split, "samples": samples, "found": found}, indent=1))


def drawn(found: dict[str, dict[str, Any]]) -> Image.Image:
    """The share of pixels inside against the nominal share; ideal is the diagonal."""
    side, edge = 420, 60
    sheet = Image.new("RGB", (side + edge + 150, side + edge + 20), "white")
    draw, font = ImageDraw.Draw(sheet), font_of(22)

    def at(share: float, inside: float) -> tuple[float, float]:
        low, high = 0.4, 1.0
        across, up = ((value - low) / (high - low) for value in (share, inside))
        return edge + across * side, 20 + (1 - up) * side

    for tick in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        draw.line([at(tick, 0.4), at(tick, 1)], fill=(225, 225, 225))
        draw.line([at(0.4, tick), at(1, tick)], fill=(225, 225, 225))
        draw.text(at(tick, 0.385), f"{tick:.0%}", "black", font, anchor="ma")
        draw.text(at(0.39, tick), f"{tick:.0%}", "black", font, anchor="rm")
    draw.line([at(0.4, 0.4), at(1, 1)], fill=(120, 120, 120), width=2)
    draw.text((edge + side / 2, side + 46), "nominal share", "black", font, anchor="ma")
    draw.text((edge + 8, 24), "share inside", "black", font)
    for k, (name, row) in enumerate(found.items()):
        hue = tuple(int(255 * c) for c in colorsys.hsv_to_rgb(k // 5 / 4 + 0.08, 0.75, 0.85))
        line = [at(*pair) for pair in zip(SHARES, row["inside"], strict=True)]
        draw.line(line, fill=hue, width=1 + k % 5)
        for x, y in line:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=hue)
        top = 30 + 24 * k
        draw.line([(edge + side + 10, top), (edge + side + 34, top)], fill=hue, width=1 + k % 5)
        draw.text((edge + side + 40, top), name, "black", font, anchor="lm")
    return sheet


def middle(plane: np.ndarray, side: int) -> np.ndarray:
    """The middle, with sides that can be halved twice."""
    top, left = (max(0, (length - side) // 2) for length in plane.shape)
    height, width = (min(side, length) // 4 * 4 for length in plane.shape)
    return plane[top : top + height, left : left + width]


def damaged(pair: Pair, kind: str, much: float, seed: int) -> Pair:
    """As 8 bits: both sources with noise, or the first one reduced."""
    if kind == "noise":
        return with_noise(pair, much, seed)
    k = int(much)
    height, width = (n // k for n in pair[0].shape)
    reduced = pair[0].reshape(height, k, width, k).mean((1, 3))
    return [np.rint(reduced).astype(np.uint8), *pair[1:]]


def measured(fuser: Fuser, pair: Pair, worse: Pair, samples: int) -> dict[str, Any]:
    """The measures of one pair; errors and deviations in grey levels."""
    clean = fuser(*pair, progress=False)
    held = fuser.with_config(options=dict(fuser.config.options) | clean.chosen)
    fusion = held(*worse, progress=False, samples=samples)
    sure, truth = fusion.uncertainty, clean.picture.pixels @ weights(clean.picture.pixels)
    assert sure is not None
    inside, widths = [], []
    for share in SHARES:
        low, high = sure.interval(share)
        inside.append(float(((low <= truth) & (truth <= high)).mean()))
        widths.append(255 * float((high - low).mean()))
    low, high = sure.interval(HELD)
    error = np.abs(sure.result - truth)
    lit = np.max(pair, axis=0) > BLACK
    reach = np.maximum(high - sure.result, sure.result - low)
    around = [gaussian_filter(np.square(plane), AROUND) for plane in (sure.std, error)]
    noise = [gaussian_filter(sample - sure.samples.mean(axis=0), AREA) for sample in sure.samples]
    return {
        "inside": inside,
        "lit": float(((low <= truth) & (truth <= high))[lit].mean()),
        "width": widths,
        "std": root_mean_square(sure.std),
        "error": root_mean_square(error),
        "area_std": root_mean_square(np.std(noise, axis=0, ddof=1)),
        "area_error": root_mean_square(gaussian_filter(sure.result - truth, AREA)),
        "rank": float(spearmanr(*map(np.ravel, around)).statistic),
        "by_factor": [float((error <= f * reach).mean()) for f in FACTORS],
        "noise_found": [255 / 2 * level for level in fusion.settings["source_noise"]],
    }


def root_mean_square(levels: np.ndarray) -> float:
    """In grey levels of 255."""
    return 255 * float(np.sqrt(np.square(levels).mean()))


def weights(pixels: np.ndarray) -> np.ndarray:
    return np.array([1.0]) if pixels.shape[2] == 1 else np.array(LUMA)


def pooled(each: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over pairs of one size; for deviations and errors, root mean squares."""
    found = {name: np.mean([one[name] for one in each], axis=0).tolist() for name in each[0]}
    for name in ("std", "error", "area_std", "area_error"):
        found[name] = float(np.sqrt(np.mean([one[name] ** 2 for one in each])))
    right = np.abs(np.array(found.pop("by_factor")) - HELD).argmin()
    return found | {"factor": float(FACTORS[right]), "pairs": len(each)}


def print_head(split: str) -> None:
    shares = " | ".join(f"{share:.0%}" for share in SHOWN)
    of_pixels = "90 %, not black | width, 90 % | deviation | error | factor"
    click.echo(f"| {split} | {shares} | {of_pixels} | areas: deviation | error | rank |")
    click.echo("|" + " --- |" * (len(SHOWN) + 9))


def print_row(name: str, row: dict[str, Any]) -> None:
    inside = " | ".join(f"{100 * row['inside'][SHARES.index(share)]:.1f}" for share in SHOWN)
    width = row["width"][SHARES.index(HELD)]
    more = f"{100 * row['lit']:.1f} | {width:.1f} | {row['std']:.2f} | {row['error']:.2f}"
    areas = f"{row['area_std']:.2f} | {row['area_error']:.2f} | {row['rank']:.2f}"
    click.echo(f"| {name} | {inside} | {more} | {row['factor']:.2f} | {areas} |")


if __name__ == "__main__":
    main()
