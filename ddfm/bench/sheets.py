"""Contact sheets of the best and the worst pairs of each set, since means hide single failures.

Pairs are ranked by Qabf, VIF and SSIM, which compare a result with its sources; EN and SD depend
more on the scene than on its fusion. The ranks are averaged, since the three metrics have different
scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ddfm.bench.results import Bench, Row
from ddfm.imaging.picture import eight_bit
from ddfm.imaging.reading import read_image
from ddfm.imaging.sources import read_sources
from ddfm.imaging.writing import write_drawing
from ddfm.storage.files import make_folder

__all__ = ["ranked", "write_sheets"]

RANKED_BY = ("Qabf", "VIF", "SSIM")
EACH = 3  # number of best, and of worst, pairs
HEIGHT, CAPTION, GAP = 240, 18, 4  # of a row of images, in pixels


def write_sheets(result: Bench, folder: Path) -> None:
    """Writes folder/METHOD/SET.jpg; rows are pairs, columns the sources and their fusion."""
    for method in result.methods:
        for dataset in result.datasets:
            rows = result.of(method, dataset)
            if not rows:
                continue
            path = folder / method.name / f"{dataset.name}.jpg"
            make_folder(path.parent)
            write_drawing(path, _sheet(rows, result.resize_of(dataset.name)))


def ranked(rows: Sequence[Row]) -> list[Row]:
    """The rows from best to worst."""
    values = np.array([[row.metrics[name] for name in RANKED_BY] for row in rows])
    ranks = values.argsort(axis=0).argsort(axis=0).mean(axis=1)
    return [rows[k] for k in np.argsort(-ranks, kind="stable")]


def _sheet(rows: Sequence[Row], resize: str) -> Image.Image:
    order = ranked(rows)
    ends = [("best", row) for row in order[:EACH]]
    ends += [("worst", row) for row in order[max(EACH, len(order) - EACH) :]]
    strips = [_strip(f"{end}: {row.pair.name}", row, resize) for end, row in ends]
    sheet = Image.new("RGB", (max(s.width for s in strips), sum(s.height for s in strips)), "white")
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    return sheet


def _strip(title: str, row: Row, resize: str) -> Image.Image:
    """The sources and the result of a pair, with its name and metrics above."""
    pictures = (*read_sources(row.pair.files, resize), read_image(row.file))
    panels = [_panel(Image.fromarray(eight_bit(picture))) for picture in pictures]
    width = sum(panel.width + GAP for panel in panels)
    strip = Image.new("RGB", (width, CAPTION + HEIGHT + GAP), "white")
    figures = "  ".join(f"{name} {row.metrics[name]:.2f}" for name in RANKED_BY)
    ImageDraw.Draw(strip).text((2, 3), f"{title}   {figures}", fill="black")
    left = 0
    for panel in panels:
        strip.paste(panel, (left, CAPTION))
        left += panel.width + GAP
    return strip


def _panel(image: Image.Image) -> Image.Image:
    width = max(1, round(image.width * HEIGHT / image.height))
    return image.convert("RGB").resize((width, HEIGHT), Image.Resampling.LANCZOS)
