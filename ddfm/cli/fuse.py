"""ddfm fuse."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from ddfm.cli.options import fuser_options, quiet_option

__all__ = ["fuse"]


@click.command(short_help="Fuse two registered images.")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Where to; the suffix says the format: .png, .tif, .jpg, .webp, .bmp or .jp2.",
)
@fuser_options
@click.option(
    "--save-steps",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the estimate of every step there, before and after the likelihood.",
)
@quiet_option
def fuse(
    a: Path, b: Path, output: Path, save_steps: Path | None, quiet: bool, **settings: Any
) -> None:
    """Fuse two registered images: A is infrared, CT, PET, ..., and B is visible, MRI, ...

    The result has their size, and the depth of the deeper one. Colours are kept.

    \b
    Examples:
      ddfm fuse infrared.png visible.png -o fused.png
      ddfm fuse pet.png mri.png -o fused.tif --task medical
      ddfm fuse thermal.tif photo.jpg -o fused.png --resize b
      ddfm fuse ir.png vis.png -o fused.png --prior openai-256 --likelihood paper
      ddfm fuse ir.png vis.png -o fused.png --save-steps steps/
    """
    from ddfm.fusion import Fuser
    from ddfm.imaging.files import check_output
    from ddfm.imaging.pair import read_pair

    check_output(output)
    pair = read_pair(a, b, settings["resize"])
    fuser = Fuser(**settings)
    began = time.monotonic()
    fusion = fuser(*pair, progress=False if quiet else None, trajectory=save_steps is not None)
    fusion.save(output)
    if save_steps is not None:
        fusion.save_steps(save_steps)
    if not quiet and sys.stderr.isatty():
        h, w = pair[0].size
        click.echo(f"{output}: {w} x {h} pixels, {time.monotonic() - began:.1f} s", err=True)
