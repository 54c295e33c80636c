"""How close the second half of a film, fused by a separate process, is to that of one process.

    python -m benchmarks.film_parts [--frames N]

The film is that of `benchmarks/flicker.py`: a still scene with new noise in every frame, and a hot
disc that passes through it. Differences are in grey levels of 255.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
from PIL import Image

from benchmarks.flicker import made_film
from ddfm import Fuser, read_image
from ddfm.imaging.sources import grey
from ddfm.pipeline.films import fuse_sequence
from ddfm.storage.manifest import Shard


@click.command()
@click.option("--frames", default=120, show_default=True, help="Length of the film.")
def main(frames: int) -> None:
    """Print the difference of each frame after the seam."""
    fuser = Fuser()
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for k, pair in enumerate(made_film(frames).frames):
            for word, frame in zip(("ir", "vi"), pair, strict=True):
                (root / word).mkdir(exist_ok=True)
                Image.fromarray(frame).save(root / word / f"{k:04d}.png")
        for out, shard in (("one", None), ("part", Shard(2, 2))):
            fuse_sequence(root / "ir", root / "vi", root / out, fuser, shard=shard)
        for path in sorted((root / "part").glob("*.png")):
            one, part = (255 * grey(read_image(root / out / path.name)) for out in ("one", "part"))
            away = np.abs(one - part)
            print(f"{path.stem}: mean {away.mean():.3f}, largest {away.max():.1f}")


if __name__ == "__main__":
    main()
