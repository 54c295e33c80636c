"""The pictures of README and docs, made by the program: `python docs/pictures.py`."""

from pathlib import Path

import numpy as np
from PIL import Image

import ddfm

ROOT = Path(__file__).parents[1]
PAIRS = {
    "olinda": ("olinda_infrared", "olinda_visible", "ir-visible"),
    "brain": ("brain_t1", "brain_pd", "medical"),
}
# Pieces of them for docs/algorithm.md: what goes well, and what does not. Left, top, side.
CASES = (("olinda", 70, 75, 100), ("olinda", 249, 240, 100), ("brain", 40, 60, 100))
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


def fused(a: str, b: str, task: str) -> list[np.ndarray]:
    """Both sources and what becomes of them, in RGB."""
    paths = [ROOT / "examples" / "data" / f"{name}.png" for name in (a, b)]
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
