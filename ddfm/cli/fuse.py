"""ddfm fuse."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from ddfm.cli.film import fuse_film, is_video
from ddfm.cli.options import fuser_options, quiet_option

__all__ = ["fuse"]


@click.command(short_help="Fuse two registered images.")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", required=False, type=click.Path(path_type=Path))
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
@click.option(
    "--celsius",
    nargs=2,
    type=float,
    metavar="LOW HIGH",
    help="FLIR: the temperatures that become black and white.  [default: by percentiles]",
)
@click.option(
    "--percentiles",
    nargs=2,
    type=float,
    metavar="LOW HIGH",
    help="FLIR: what share of the pixels, in percent, is colder.  [default: 1 99]",
)
@click.option(
    "--grid",
    metavar="visible|thermal",
    help="FLIR: whose pixels the result has.  [default: visible]",
)
@quiet_option
def fuse(
    a: Path,
    b: Path | None,
    output: Path,
    save_steps: Path | None,
    pattern: str | None,
    suffix: str | None,
    dry_run: bool,
    celsius: tuple[float, float] | None,
    percentiles: tuple[float, float] | None,
    grid: str | None,
    quiet: bool,
    **settings: Any,
) -> int | None:
    """Fuse two registered images: A is infrared, CT, PET, ..., and B is visible, MRI, ...

    The result has their size, and the depth of the deeper one. Colours are kept.

    One radiometric JPEG of a FLIR camera, or a folder of them, is enough: it holds both. Videos are
    fused as by `ddfm film`.

    Of two folders, the images that belong together by their names are fused. What was done before
    with the same settings is skipped, so that an interrupted run goes on where it was.

    \b
    Examples:
      ddfm fuse infrared.png visible.png -o fused.png
      ddfm fuse pet.png mri.png -o fused.tif --task medical
      ddfm fuse thermal.tif photo.jpg -o fused.png --resize b
      ddfm fuse ir.png vis.png -o fused.png --prior openai-256 --likelihood paper
      ddfm fuse ir.png vis.png -o fused.png --save-steps steps/
      ddfm fuse flir.jpg -o fused.png --celsius 15 40
      ddfm fuse infrared/ visible/ -o fused/ --dry-run
      ddfm fuse photos/ photos/ -o fused/ --pattern '{}_ir.png:{}_rgb.jpg'
    """
    folders = {"suffix": suffix, "dry_run": dry_run}
    flir = {"celsius": celsius, "percentiles": percentiles, "grid": grid}
    flir = {name: value for name, value in flir.items() if value is not None}
    if b is not None and flir:
        raise click.UsageError(
            "--celsius, --percentiles and --grid are for FLIR files, which come alone"
        )
    if a.is_dir() and (b is None or b.is_dir()):
        return _fuse_folders(a, b, output, settings, quiet, save_steps, pattern, folders, flir)
    if pattern is not None or any(folders.values()):
        raise click.UsageError("--pattern, --format and --dry-run are for folders")
    if is_video(a) and b is not None:
        if save_steps is not None:
            raise click.UsageError("--save-steps is for two images, not for films")
        return fuse_film(a, b, output, settings, quiet)
    from ddfm.fusion import Fuser
    from ddfm.imaging.files import check_output
    from ddfm.imaging.pair import read_sources
    from ddfm.imaging.thermal import read_flir

    check_output(output)
    pair = read_flir(a, **flir) if b is None else (a, b)
    pair = read_sources(pair, settings["resize"])
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
    b: Path | None,
    output: Path,
    settings: dict[str, Any],
    quiet: bool,
    save_steps: Path | None,
    pattern: str | None,
    folders: dict[str, Any],
    flir: dict[str, Any],
) -> int | None:
    from ddfm.batch import fuse_flir, fuse_folders
    from ddfm.fusion import Fuser

    if save_steps is not None:
        raise click.UsageError("--save-steps is for two images, not for folders")
    if b is None and pattern is not None:
        raise click.UsageError("--pattern is for two folders")
    fuser = None if folders["dry_run"] else Fuser(**settings)
    folders |= {"progress": False if quiet else None}
    if b is None:
        summary = fuse_flir(a, output, fuser, **folders, **flir)
    else:
        summary = fuse_folders(a, b, output, fuser, pattern=pattern, **folders)
    if folders["dry_run"]:
        click.echo(summary.pairing)
    elif not quiet or not summary.ok:
        click.echo(summary, err=True)
    return None if summary.ok else 1
