"""How much of the contrast of annotated persons a fusion keeps, by day and by night.

    python benchmarks/persons.py MSRS_detect/ MSRS_detect/boxes.csv [--also NAME=FOLDER ...]

A person's contrast is the mean of the middle of the box minus that of the strips on both sides of
it. Persons count if it is at least 15 grey levels in the infrared image. What a fusion keeps is a
share of that contrast; below 0.2 a person is lost. Boxes drawn on either source count. The median
is printed with the mean, because one person with 15 levels and a coat that is black in the visible
image changes the mean as much as ten others.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from ddfm import Fuser
from ddfm.bench.baselines import average, maximum
from ddfm.bench.datasets import find_dataset
from ddfm.bench.detect.boxes import Corners, read_boxes
from ddfm.bench.methods import from_folder
from ddfm.imaging.reading import read_image
from ddfm.imaging.sources import grey

LEAST = 15  # grey levels
LOST = 0.2
ACROSS, DOWN = 0.3, 0.2  # shares of the box left out on each side of its middle
BESIDE, GAP = 0.3, 1  # a strip's width as a share of the box, and its distance in pixels


def contrast(image: np.ndarray, box: Corners) -> float:
    x0, y0, x1, y1 = (round(value) for value in box)
    width, height = x1 - x0, y1 - y0
    rows = image[max(0, round(y0 + DOWN * height)) : round(y1 - DOWN * height)]
    strip = max(3, round(BESIDE * width))
    sides = (
        rows[:, max(0, x0 - strip) : max(0, x0 - GAP)],
        rows[:, x1 + GAP : x1 + strip],
    )
    middle = rows[:, round(x0 + ACROSS * width) : round(x1 - ACROSS * width)]
    beside = np.concatenate([side.ravel() for side in sides])
    return float(middle.mean() - beside.mean()) if middle.size and beside.size else 0.0


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("boxes", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--also", multiple=True, metavar="NAME=FOLDER", help="Results of another method.")
def main(folder: Path, boxes: Path, also: tuple[str, ...]) -> None:
    fuser = Fuser(task="ir-visible", color="grey", look=False, strip=True)
    annotated = read_boxes(boxes, on=("infrared", "visible"))
    others = [from_folder(name, Path(at)) for name, _, at in (one.partition("=") for one in also)]
    dataset = find_dataset(folder)
    made_elsewhere = {one.name: one.results(dataset.name) for one in others}
    kept: dict[tuple[str, str], list[float]] = {}
    for pair in dataset.pairs:
        persons = [b.corners for b in annotated.boxes.get(pair.name, []) if b.kind == "person"]
        infrared, visible = (levels(file) for file in pair.files)
        fused = {
            "ddfm": fuser(*pair.files, progress=False).image,
            "average": average(infrared, visible),
            "maximum": maximum(infrared, visible),
        } | {name: levels(find(pair.name)) for name, find in made_elsewhere.items()}
        seen = {box: contrast(infrared, box) for box in persons}
        for method, image in fused.items():
            shares = kept.setdefault((method, annotated.groups.get(pair.name, "all")), [])
            shares += [contrast(image, box) / c for box, c in seen.items() if c >= LEAST]
    print("| | | persons | kept | median | lost |\n| --- | --- | --- | --- | --- | --- |")
    for (method, when), shares in kept.items():
        lost = sum(share < LOST for share in shares) / len(shares)
        kept_by = f"{np.mean(shares):.2f} | {np.median(shares):.2f}"
        print(f"| {method} | {when} | {len(shares)} | {kept_by} | {lost:.0%} |")


def levels(file: Path) -> np.ndarray:
    return np.asarray(255 * grey(read_image(file)))


if __name__ == "__main__":
    main()
