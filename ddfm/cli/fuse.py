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
    help="Where to; the suffix says the format: .png, .tif, .jpg, .webp, .bmp or .jp2. "
    "For folders, a folder.",
)
@fuser_options
@click.option(
    "--save-steps",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the estimate of every step there, before and after the likelihood.",
)
@click.option(
    "--pattern",
    metavar="A:B",
    help="Folders: the names of a pair, {} being what they share, * anything: "
    "'{}_thermal.png:{}_rgb.jpg'.  [default: names without words such as ir, vis]",
)
@click.option(
    "--format",
    "suffix",
    metavar="SUFFIX",
    help="Folders: the format of the results.  [default: png; tif for pairs of TIFF files]",
)
@click.option("--dry-run", is_flag=True, help="Folders: print the pairs, and do nothing.")
@quiet_option
def fuse(
    a: Path,
    b: Path,
    output: Path,
    save_steps: Path | None,
    pattern: str | None,
    suffix: str | None,
    dry_run: bool,
    quiet: bool,
    **settings: Any,
) -> int | None:
    """Fuse two registered images: A is infrared, CT, PET, ..., and B is visible, MRI, ...

    The result has their size, and the depth of the deeper one. Colours are kept.

    Of two folders, the images that belong together by their names are fused. What was done before
    with the same settings is skipped, so that an interrupted run goes on where it was.

    \b
    Examples:
      ddfm fuse infrared.png visible.png -o fused.png
      ddfm fuse pet.png mri.png -o fused.tif --task medical
      ddfm fuse thermal.tif photo.jpg -o fused.png --resize b
      ddfm fuse ir.png vis.png -o fused.png --prior openai-256 --likelihood paper
      ddfm fuse ir.png vis.png -o fused.png --save-steps steps/
      ddfm fuse infrared/ visible/ -o fused/ --dry-run
      ddfm fuse photos/ photos/ -o fused/ --pattern '{}_ir.png:{}_rgb.jpg'
    """
    folders = {"pattern": pattern, "suffix": suffix, "dry_run": dry_run}
    if a.is_dir() and b.is_dir():
        return _fuse_folders(a, b, output, settings, quiet, save_steps, folders)
    if any(folders.values()):
        raise click.UsageError("--pattern, --format and --dry-run are for two folders")
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
    return None


def _fuse_folders(
    a: Path,
    b: Path,
    output: Path,
    settings: dict[str, Any],
    quiet: bool,
    save_steps: Path | None,
    folders: dict[str, Any],
) -> int | None:
    from ddfm.batch import fuse_folders
    from ddfm.fusion import Fuser

    if save_steps is not None:
        raise click.UsageError("--save-steps is for two images, not for folders")
    fuser = None if folders["dry_run"] else Fuser(**settings)
    summary = fuse_folders(a, b, output, fuser, progress=False if quiet else None, **folders)
    if folders["dry_run"]:
        click.echo(summary.pairing)
    elif not quiet or not summary.ok:
        click.echo(summary, err=True)
    return None if summary.ok else 1
