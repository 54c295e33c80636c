"""ddfm fuse."""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddfm.cli.alignment import (
    align_options,
    alignment_settings,
    check_alignment_outputs,
    write_alignment,
)
from ddfm.cli.film import fuse_film
from ddfm.cli.options import (
    check_sources,
    checked,
    echo_json,
    fuser_options,
    json_option,
    quiet_option,
    verify_option,
)
from ddfm.cli.ranges import RangeCommand, range_options
from ddfm.cli.writing import OutputPath, say
from ddfm.errors import DdfmWarning
from ddfm.video.formats import is_video

if TYPE_CHECKING:
    from ddfm.imaging.picture import Picture

__all__ = ["fuse"]


@click.command(cls=RangeCommand, short_help="Fuse registered images.")
@click.argument(
    "sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="A B..."
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=OutputPath(),
    help="Where to; the suffix says the format: .png, .tif, .jpg, .webp, .bmp or .jp2. "
    "For folders, a folder.",
)
@fuser_options
@align_options
@click.option(
    "--check",
    "sheet",
    type=OutputPath(),
    metavar="FILE",
    help="Write an image of how the sources lie: checkerboard and edges, before and after.",
)
@click.option(
    "--save-steps",
    type=OutputPath(),
    metavar="DIR",
    help="Write the estimate of every step there, before and after the likelihood.",
)
@click.option(
    "--show",
    multiple=True,
    metavar="VIEW",
    help="Also write a picture to look at, beside the result: side-by-side, before-after or "
    "overlay (temperatures in false colours). May be given several times.",
)
@click.option(
    "--overlay",
    metavar="MAP",
    help="Colours of the overlay, which is then written: iron, ember, hot, ice or green.",
)
@click.option(
    "--pattern",
    metavar="A:B...",
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
@range_options
@click.option(
    "--shard",
    metavar="I/N",
    help="Folders: only the I-th of N parts, so that N processes share the work: 3/8; or auto/8, "
    "or auto, if Slurm or Kubernetes says which this is. See `ddfm merge`.",
)
@verify_option
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
@json_option
@quiet_option
def fuse(
    sources: tuple[Path, ...],
    output: Path,
    align: str,
    align_to: str | None,
    transform_file: Path | None,
    save_transform: Path | None,
    crop: str,
    sheet: Path | None,
    save_steps: Path | None,
    show: tuple[str, ...],
    overlay: str | None,
    pattern: str | None,
    suffix: str | None,
    dry_run: bool,
    shard: str | None,
    verify: bool,
    celsius: tuple[float, float] | None,
    percentiles: tuple[float, float] | None,
    grid: str | None,
    range_a: str | tuple[float, float] | None,
    range_b: str | tuple[float, float] | None,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> int | None:
    """Fuse two registered images: A is infrared, CT, PET, ..., and B is visible, MRI, ...

    Or any number of them: exposures, or pictures of differing focus (--task). The result has their
    size, and the depth of the deepest one. Colours are kept.

    One radiometric JPEG of a FLIR camera, or a folder of them, is enough: it holds both. Videos are
    fused as by `ddfm film`.

    Of two folders, or more, the images that belong together by their names are fused. What was done
    before with the same settings is skipped, so that an interrupted run goes on where it was.

    \b
    Examples:
      ddfm fuse infrared.png visible.png -o fused.png
      ddfm fuse pet.png mri.png -o fused.tif --task medical
      ddfm fuse thermal.tif photo.jpg -o fused.png --resize b
      ddfm fuse thermal.png photo.jpg -o fused.png --align auto --check alignment.png
      ddfm fuse ir.png vis.png -o fused.png --prior openai-256 --likelihood paper
      ddfm fuse ir.png vis.png -o fused.png --save-steps steps/
      ddfm fuse near.jpg middle.jpg far.jpg -o sharp.jpg --task multi-focus
      ddfm fuse flir.jpg -o fused.png --celsius 15 40 --overlay iron
      ddfm fuse infrared/ visible/ -o fused/ --dry-run
      ddfm fuse photos/ photos/ -o fused/ --pattern '{}_ir.png:{}_rgb.jpg'
      ddfm fuse near/ middle/ far/ -o sharp/ --task multi-focus
    """
    folders: dict[str, Any] = {
        "suffix": suffix,
        "dry_run": dry_run,
        "verify": verify,
        "shard": shard,
    }
    flir = {"celsius": celsius, "percentiles": percentiles, "grid": grid}
    flir = {name: value for name, value in flir.items() if value is not None}
    check_sources(sources)
    checked(settings)
    from ddfm.imaging.views import check_view, path_of, view

    views = dict.fromkeys([*show, *(["overlay"] if overlay else [])])
    for kind in views:
        check_view(kind, overlay or "iron")
    alone = len(sources) == 1
    if not alone and (grid is not None or (flir and sources[0].is_dir())):
        raise click.UsageError("--grid is for FLIR files that come alone, and so is their folder")
    ranges = (range_a, range_b)
    if any(ranges) and (alone or sources[0].is_dir() or is_video(sources[0])):
        raise click.UsageError("--range-a and --range-b are for two images or more")
    if quiet:
        warnings.simplefilter("ignore", DdfmWarning)
    settings |= alignment_settings(align, align_to, transform_file, crop)
    if views and (sources[0].is_dir() or is_video(sources[0])):
        raise click.UsageError("--show and --overlay are for images, not for folders and films")
    if all(source.is_dir() for source in sources):
        if sheet is not None or (save_transform is not None and align != "once"):
            raise click.UsageError(
                "--check is for one pair, as is --save-transform without --align once"
            )
        folders |= {"save_transform": save_transform}
        return _fuse_folders(
            sources, output, settings, quiet, save_steps, pattern, folders, flir, as_json
        )
    if pattern is not None or any(folders.values()):
        raise click.UsageError(
            "--pattern, --format, --dry-run, --shard and --verify are for folders"
        )
    if is_video(sources[0]) and len(sources) == 2:
        if save_steps is not None:
            raise click.UsageError("--save-steps is for images, not for films")
        fuse_film(*sources, output, settings, quiet, save_transform=save_transform)
        return None
    from ddfm.imaging.files import check_output, write_image
    from ddfm.imaging.formats.flir import PERCENTILES, read_flir
    from ddfm.imaging.picture import from_array
    from ddfm.imaging.sources import read_sources

    shown = {kind: path_of(output, kind) for kind in views}
    for path in (output, *shown.values()):
        check_output(path)
    check_alignment_outputs(settings, save_transform, sheet)
    if save_steps is not None:
        from ddfm.result import check_steps

        check_steps(save_steps, output)
    pair = None
    if alone:
        shares, on = percentiles or PERCENTILES, "visible" if grid is None else grid
        pair = read_flir(sources[0], celsius=celsius, percentiles=shares, grid=on)
    opened = _opened(sources, ranges, flir) if pair is None else tuple(pair)
    moves = align != "none" or transform_file is not None
    pictures = read_sources(opened, settings["resize"], alike=not moves)
    if not quiet:
        _say_levels(pictures, ranges)
    check_output(output, pictures[1 if moves else 0].size)
    from ddfm.fuser import Fuser  # and with it torch: only when all else is found to be right

    fuser = Fuser(**settings)
    began = time.monotonic()
    fusion = fuser(*pictures, progress=False if quiet else None, trajectory=save_steps is not None)
    if save_steps is not None:
        fusion.save_steps(save_steps)
    fusion.save(output)
    write_alignment(fusion.settings["alignment"], pictures, save_transform, sheet)
    if shown and moves:
        pictures = fuser.registered(pictures).pictures
    for kind, path in shown.items():
        degrees = None if pair is None else pair.celsius
        look = from_array(view(kind, fusion.picture, pictures, overlay or "iron", degrees))
        write_image(path, look.pixels, look)
    seconds = round(time.monotonic() - began, 3)
    if as_json:
        views_at = list(map(str, shown.values()))
        about = {"output": str(output), "views": views_at, "seconds": seconds}
        echo_json(about | {"settings": fusion.settings})
    if not quiet and sys.stderr.isatty():
        h, w = fusion.picture.size
        say(f"{output}: {w} x {h} pixels, {seconds:.1f} s", err=True)
    return None


def _opened(
    sources: tuple[Path, ...], ranges: tuple[Any, ...], flir: dict[str, Any]
) -> tuple[Any, ...]:
    """What was said about a source is done to it; the rest is left to whoever fuses."""
    from ddfm.imaging.files import read_image
    from ddfm.imaging.formats.flir import is_flir, read_thermal

    opened: list[Any] = list(sources)
    if flir:
        thermal = [k for k, source in enumerate(sources) if is_flir(source)]
        if not thermal:
            raise click.UsageError("--celsius and --percentiles are for files of FLIR cameras")
        for k in thermal:
            opened[k] = read_thermal(sources[k], **flir)
    for k, levels in enumerate(ranges[: len(sources)]):
        if isinstance(levels, tuple) and is_flir(sources[k]):
            opened[k] = read_thermal(sources[k], celsius=levels)  # whose values are degrees
        elif levels is not None:
            opened[k] = read_image(opened[k], levels=levels)
    return tuple(opened)


def _say_levels(pictures: tuple[Picture, ...], ranges: tuple[Any, ...]) -> None:
    """Of a picture that was spread though nobody said so."""
    for picture, said, option in zip(pictures, ranges, ("--range-a", "--range-b"), strict=False):
        if picture.name.endswith("(thermal)"):
            continue  # degrees have a range of their own
        if said in (None, "auto") and picture.range is not None and picture.dtype.kind == "u":
            low, high = picture.range
            say(
                f"{picture.name}: its values, {low:g} to {high:g}, are a small part of 16 bits, "
                f"and were spread over all of it; {option} full leaves them as they are",
                err=True,
            )


def _fuse_folders(
    sources: tuple[Path, ...],
    output: Path,
    settings: dict[str, Any],
    quiet: bool,
    save_steps: Path | None,
    pattern: str | None,
    folders: dict[str, Any],
    flir: dict[str, Any],
    as_json: bool,
) -> int | None:
    from ddfm.fuser import Fuser, check_number
    from ddfm.imaging.files import output_suffix
    from ddfm.pipeline.folders import fuse_flir, fuse_folders
    from ddfm.pipeline.shards import find_shard

    if save_steps is not None:
        raise click.UsageError("--save-steps is for images, not for folders")
    alone = len(sources) == 1
    if alone and pattern is not None:
        raise click.UsageError("--pattern is for two folders or more")
    if folders["suffix"] is not None:
        output_suffix(folders["suffix"])
    if folders["shard"] is not None:
        folders["shard"] = find_shard(folders["shard"])
    fuser = None if folders["dry_run"] else Fuser(**settings)
    if folders["dry_run"] and not alone:
        # No weights are read for a plan, and so there is no Fuser to do this.
        check_number(len(sources), checked(settings))
    folders |= {"progress": False if quiet else None}
    if alone:
        summary = fuse_flir(sources[0], output, fuser, **folders, **flir)
    else:
        a, b, *more = sources
        summary = fuse_folders(a, b, output, fuser, more=more, pattern=pattern, **folders)
    if as_json:
        echo_json(summary.plain())
    elif folders["dry_run"]:
        say(summary.pairing)
    elif not quiet or not summary.ok:
        say(summary, err=True)
    return None if summary.ok else 1
