"""Makes the pictures of README and docs with ddfm: `python docs/pictures.py`."""

from pathlib import Path

import numpy as np
from PIL import Image

import ddfm
from ddfm.imaging.colormaps import colored
from ddfm.imaging.drawing import scale_bar

ROOT = Path(__file__).parents[1]
PAIRS = {
    "olinda": ("olinda_infrared", "olinda_visible", "ir-visible"),
    "brain": ("brain_t1", "brain_pd", "medical"),
}
# Parts of them for docs/algorithm.md: successes and failures. Left, top, side.
CASES = (("olinda", 70, 75, 100), ("olinda", 249, 240, 100), ("brain", 40, 60, 100))
NOISE = 25  # grey levels, for docs/trust.md
TOP = 20  # grey levels at the upper end of the scale in docs/trust.md
GAP = 8


def main() -> None:
    panels = {name: fused(*pair) for name, pair in PAIRS.items()}
    for name, images in panels.items():
        save(side_by_side(images), name)
    rows = []
    for name, left, top, side in CASES:
        pieces = [image[top : top + side, left : left + side] for image in panels[name]]
        rows.append(side_by_side([piece.repeat(2, 0).repeat(2, 1) for piece in pieces]))
    save(side_by_side([row.swapaxes(0, 1) for row in rows]).swapaxes(0, 1), "cases")
    a, b, task = PAIRS["olinda"]
    whole = ddfm.fuse(source(a), source(b), task=task, attribution=True)
    whole.attribution.save(ROOT / "docs" / "images" / "attribution.jpg")
    save(with_noise(*PAIRS["brain"]), "uncertainty")


def with_noise(a: str, b: str, task: str) -> np.ndarray:
    """A noisy source, the fusions of noisy and of clean sources, the error, and its prediction."""
    rng = np.random.default_rng(0)
    clean = [ddfm.read_image(source(name)).pixels for name in (a, b)]
    noisy = [x + NOISE / 255 * rng.standard_normal(x.shape) for x in clean]
    noisy = [np.rint(255 * x.clip(0, 1)).astype(np.uint8) for x in noisy]
    truth = ddfm.fuse(*clean, task=task).picture.pixels[..., 0]
    fusion = ddfm.fuse(*noisy, task=task, samples=16)
    grey = [noisy[0][..., 0] / 255, fusion.picture.pixels[..., 0], truth]
    error = np.abs(grey[1] - truth)
    maps = [colored((255 * x / TOP).clip(0, 1), "ice") for x in (error, fusion.uncertainty.std)]
    panels = [x[..., None].repeat(3, 2) for x in grey] + maps
    panels = [np.rint(255 * x).astype(np.uint8) for x in panels]
    return np.hstack([side_by_side(panels), scale_bar(len(truth), (0, TOP), "ice")])


def source(name: str) -> Path:
    return ROOT / "examples" / "data" / f"{name}.png"


def fused(a: str, b: str, task: str) -> list[np.ndarray]:
    """Both sources and their fusion, in RGB."""
    paths = [source(name) for name in (a, b)]
    result = Image.fromarray(ddfm.fuse(*paths, task=task).image)
    panels = [Image.open(path) for path in paths] + [result]
    return [np.asarray(panel.convert("RGB")) for panel in panels]


def side_by_side(panels: list[np.ndarray]) -> np.ndarray:
    white = np.full((len(panels[0]), GAP, 3), 255, np.uint8)
    return np.hstack([panels[0], *(x for panel in panels[1:] for x in (white, panel))])


def save(image: np.ndarray, name: str) -> None:
    Image.fromarray(image).save(ROOT / "docs" / "images" / f"{name}.jpg", quality=90)


if __name__ == "__main__":
    main()
