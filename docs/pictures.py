"""The pictures of the README, made by the program: `python docs/pictures.py`."""

from pathlib import Path

import numpy as np
from PIL import Image

import ddfm

ROOT = Path(__file__).parents[1]
PAIRS = {
    "olinda": ("olinda_infrared", "olinda_visible", "ir-visible"),
    "brain": ("brain_t1", "brain_pd", "medical"),
}
GAP = 8


def main() -> None:
    for name, (a, b, task) in PAIRS.items():
        paths = [ROOT / "examples" / "data" / f"{x}.png" for x in (a, b)]
        fusion = ddfm.fuse(*paths, task=task)
        panels = [Image.open(path) for path in paths] + [Image.fromarray(fusion.image)]
        image = side_by_side([np.asarray(panel.convert("RGB")) for panel in panels])
        Image.fromarray(image).save(ROOT / "docs" / "images" / f"{name}.jpg", quality=90)


def side_by_side(panels: list[np.ndarray]) -> np.ndarray:
    white = np.full((len(panels[0]), GAP, 3), 255, np.uint8)
    return np.hstack([panels[0], *(x for panel in panels[1:] for x in (white, panel))])


if __name__ == "__main__":
    main()
