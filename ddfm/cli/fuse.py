"""ddfm fuse."""

from __future__ import annotations

import sys
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddfm.cli.alignment import align_options, alignment_settings
from ddfm.cli.film import fuse_film
from ddfm.cli.metadata import metadata_options, said_or_recorded, warn_of_changes
from ddfm.cli.options import (
    check_sources,
    checked,
    echo_json,
    fuser_options,
    json_option,
    quiet_option,
    verify_option,
)
from ddfm.cli.pipes import DASH, check_dashes, opened, write_out
from ddfm.cli.ranges import RangeCommand, range_options
from ddfm.cli.restoration import observation_options, observations
from ddfm.cli.trust import samples_for, trust_options
from ddfm.cli.writing import OutputPath, say
from ddfm.errors import DdfmWarning
from ddfm.progress import stage
from ddfm.video.formats import is_video

if TYPE_CHECKING:
    from ddfm.fuser import Fusion
    from ddfm.imaging.metadata.record import Record
    from ddfm.imaging.opening import Opening
    from ddfm.imaging.picture import Picture
    from ddfm.pipeline.beside import Beside
    from ddfm.pipeline.runner import Engine

__all__ = ["fuse"]

PREVIEW = 512  # pixels of the longest side


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
    "For folders, a folder; - is standard output.",
)
@fuser_options
@align_options
@metadata_options
@click.option(
    "--check",
    "sheet",
    type=OutputPath(),
    metavar="FILE",
    help="Write an image of how the sources lie: checkerboard and edges, before and after.",
)
@observation_options
@click.option(
    "--save-sources",
    type=OutputPath(),
    metavar="DIR",
    help="Write the sources there as they were fused: enlarged, without noise, stripes and blur.",
)
@click.option(
    "--preview",
    is_flag=True,
    help=f"Fuse at a small size, the longest side {PREVIEW} pixels, for a quick look.",
)
@click.option(
    "--save-steps",
    type=OutputPath(),
    metavar="DIR",
    help="Write the estimate of every step there, before and after the likelihood.",
)
@trust_options
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
    help="Also write the result with temperatures in these false colours, and their scale: iron, "
    "ember, hot, ice or green.",
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
    help="Folders, and standard output: the format of results.  [default: png; in folders tif for "
    "pairs of TIFF files]",
)
@click.option("--dry-run", is_flag=True, help="Folders: print the pairs, and do nothing.")
@range_options
@click.option(
    "--shard",
    metavar="I/N",
    help="Folders: only the I-th of N parts, so that N processes share the work: 3/8; or auto/8, "
    "or auto, if Slurm or Kubernetes says which this is. See `ddfm merge`.",
)
@click.option(
    "--engine",
    metavar="threads|dask",
    help="Folders: threads of this process read ahead and write behind; dask has as many workers "
    "as there are processors, or those of --scheduler.  [default: threads]",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Folders: of a Dask cluster, such as tcp://node1:8786.",
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
    help="FLIR: instead, what share of the pixels, in percent, is colder than black, and than "
    "white.  [default: 1 99]",
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
    like: Path | None,
    sheet: Path | None,
    save_sources: Path | None,
    preview: bool,
    save_steps: Path | None,
    uncertainty: Path | None,
    samples: int | None,
    attribution: Path | None,
    show: tuple[str, ...],
    overlay: str | None,
    pattern: str | None,
    suffix: str | None,
    dry_run: bool,
    shard: str | None,
    engine: str | None,
    scheduler: str | None,
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
    """Fuse images of one scene: A is infrared, CT, PET, ..., and B is visible, MRI, ...

    They lie on each other pixel by pixel, or are brought there by --align auto.

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
      ddfm fuse small.png large.png -o fused.png --save-sources sources/
      ddfm fuse noisy.png photo.jpg -o fused.png --noise-a 12 --blur-a 1.5
      ddfm fuse thermal.png photo.jpg -o fused.png --align auto --check alignment.png
      ddfm fuse ir.png vis.png -o fused.png --prior openai-256 --likelihood paper
      ddfm fuse ir.png vis.png -o fused.png --save-steps steps/
      ddfm fuse ir.png vis.png -o fused.png --uncertainty std.tif --attribution map.png
      ddfm fuse near.jpg middle.jpg far.jpg -o sharp.jpg --task multi-focus
      ddfm fuse flir.jpg -o fused.png --celsius 15 40 --overlay iron
      ddfm fuse thermal.png photo.jpg -o fused.png --balance -0.5
      curl -s https://camera/now.jpg | ddfm fuse thermal.png - -o - > fused.png
      ddfm fuse infrared/ visible/ -o fused/ --dry-run
      ddfm fuse photos/ photos/ -o fused/ --pattern '{}_ir.png:{}_rgb.jpg'
      ddfm fuse near/ middle/ far/ -o sharp/ --task multi-focus
      ddfm fuse --like fused.png infrared.png visible.png -o again.png
    """
    stage("loading")
    check_sources(sources)
    check_dashes(sources, output, views=bool(show or overlay), as_json=as_json)
    settings |= observations(settings)
    checked(settings)
    if quiet:
        warnings.simplefilter("ignore", DdfmWarning)
    settings |= alignment_settings(align, align_to, transform_file, crop)
    record = None
    if like is not None:
        from ddfm.pipeline.again import existing_record

        record = existing_record(like)
        settings = said_or_recorded(settings, record)
    of_images: dict[str, Any] = {"--show": show, "--overlay": overlay, "--preview": preview}
    of_images |= {"--save-steps": save_steps, "--check": sheet, "--save-sources": save_sources}
    of_images |= {"--uncertainty": uncertainty, "--samples": samples, "--attribution": attribution}
    of_folders = {"--pattern": pattern, "--format": suffix, "--dry-run": dry_run}
    of_folders |= {"--shard": shard, "--verify": verify}
    of_folders |= {"--engine": engine, "--scheduler": scheduler}
    of_levels = {"--range-a": range_a, "--range-b": range_b}
    of_flir = {"--celsius": celsius, "--percentiles": percentiles, "--grid": grid}
    progress = False if quiet else None
    if sources[0].is_dir():
        _refuse(of_images, "images, not for folders")
        opening = _opening(len(sources) == 1, of_levels, of_flir, record)
        engine = "dask" if scheduler is not None else engine
        folder = _Folder(pattern, suffix, dry_run, verify, shard, save_transform, engine, scheduler)
        return _fuse_folders(sources, output, settings, folder, opening, progress, as_json)
    if output == DASH:
        del of_folders["--format"]
    _refuse(of_folders, "folders")
    if is_video(sources[0]) and len(sources) == 2:
        _refuse(of_images | of_levels | of_flir, "images, not for films")
        fuse_film(*sources, output, settings, quiet, save_transform=save_transform)
        return None
    opening = _opening(len(sources) == 1, of_levels, of_flir, record)
    if preview:
        opening = replace(opening, longest=PREVIEW)
    from ddfm.pipeline.beside import Beside

    views = tuple(dict.fromkeys([*show, *(["overlay"] if overlay else [])]))
    beside = Beside(
        views,
        overlay or "iron",
        save_steps,
        save_transform,
        sheet,
        save_sources,
        uncertainty,
        attribution,
        samples_for(uncertainty, samples),
    )
    began = time.monotonic()
    fusion = _fuse_images(sources, output, settings, opening, beside, progress, suffix)
    if record is not None and like is not None:
        warn_of_changes(record, fusion.record, like)
    seconds = round(time.monotonic() - began, 3)
    if as_json:
        views_at = list(map(str, beside.views_of(output)))
        about = {"output": str(output), "views": views_at, "seconds": seconds}
        echo_json(about | {"settings": fusion.settings})
    if not quiet and sys.stderr.isatty():
        h, w = fusion.picture.size
        say(f"{output}: {w} x {h} pixels, {seconds:.1f} s", err=True)
    return None


def _fuse_images(
    sources: tuple[Path, ...],
    output: Path,
    settings: dict[str, Any],
    opening: Opening,
    beside: Beside,
    progress: bool | None,
    suffix: str | None = None,
) -> Fusion:
    from ddfm.imaging.files import check_output, output_suffix
    from ddfm.imaging.sources import common_size, read_sources

    moves = settings["align"] != "none" or settings["transform"] is not None
    if output == DASH:
        output_suffix(suffix or "png")
    else:
        check_output(output)
    beside.check(output, moves=moves)
    pictures = opening.pictures(opened(sources))
    if progress is None:
        _say_levels(pictures)
    pictures = read_sources(pictures, settings["resize"], alike=False)
    size = pictures[1].size if moves else common_size(pictures, settings["resize"])
    if opening.longest is not None and progress is None:
        height, width = size
        say(f"a preview of {width} x {height} pixels; without --preview it is whole", err=True)
    if output != DASH:
        check_output(output, size)
    from ddfm.fuser import Fuser  # and with it torch: only when all else is found to be right

    fuser = Fuser(**settings)
    fusion = fuser(*pictures, progress=progress, **beside.asked)
    fusion = replace(fusion, opening=opening.plain())
    stage("writing")
    if output == DASH:
        write_out(fusion, suffix)
    else:
        fusion.save(output)
    beside.write(fusion, pictures, output)
    return fusion


def _refuse(given: dict[str, Any], kind: str) -> None:
    """Refuses the options that are for another kind of sources."""
    said = [name for name, value in given.items() if value not in (None, False, ())]
    if said:
        verb = "is" if len(said) == 1 else "are"
        raise click.UsageError(f"{' and '.join(said)} {verb} for {kind}")


def _opening(
    alone: bool, of_levels: dict[str, Any], of_flir: dict[str, Any], record: Record | None
) -> Opening:
    """What was said of how sources are read; or else what a record says, if there is one."""
    if alone:
        _refuse(of_levels, "two images or more")
    else:
        _refuse({"--grid": of_flir["--grid"]}, "a FLIR file that comes alone, or a folder of them")
    from ddfm.imaging.opening import Opening

    if record is not None and not any(said is not None for said in (of_levels | of_flir).values()):
        from ddfm.pipeline.again import opening

        return opening(record)
    ranges = tuple(of_levels.values()) if any(of_levels.values()) else ()
    said = {name.removeprefix("--"): value for name, value in of_flir.items()}
    return Opening(ranges, **said)


def _say_levels(pictures: tuple[Picture, ...]) -> None:
    """Of a picture that is spread though nobody said so."""
    from ddfm.imaging.levels import used

    for picture, option in zip(pictures, ("--range-a", "--range-b"), strict=False):
        levels = used(picture)
        if levels is not None:
            say(
                f"{picture.name}: its values, {levels[0]:g} to {levels[1]:g}, are a small part of "
                f"16 bits, and are spread over all of it; {option} full leaves them as they are",
                err=True,
            )


@dataclass(frozen=True)
class _Folder:
    """What was said of folders."""

    pattern: str | None
    suffix: str | None
    dry_run: bool
    verify: bool
    shard: str | None
    save_transform: Path | None
    engine: str | None
    scheduler: str | None


def _engine(folder: _Folder) -> Engine | None:
    from ddfm.arguments import one_of

    if one_of("engine", folder.engine or "threads", ("threads", "dask")) == "threads":
        return None
    from ddfm.pipeline.dask_engine import OnDask

    return OnDask(folder.scheduler)


def _fuse_folders(
    sources: tuple[Path, ...],
    output: Path,
    settings: dict[str, Any],
    folder: _Folder,
    opening: Opening,
    progress: bool | None,
    as_json: bool,
) -> int | None:
    if folder.save_transform is not None and settings["align"] != "once":
        raise click.UsageError("--save-transform is for one pair, or goes with --align once")
    if len(sources) == 1:
        _refuse({"--pattern": folder.pattern}, "two folders or more")
    from ddfm.fuser import Fuser, check_number
    from ddfm.imaging.files import output_suffix
    from ddfm.pipeline.folders import fuse_flir, fuse_folders
    from ddfm.pipeline.shards import find_shard

    if folder.suffix is not None:
        output_suffix(folder.suffix)
    if folder.dry_run and len(sources) > 1:
        # No weights are read for a plan, and so there is no Fuser to do this.
        check_number(len(sources), checked(settings))
    fuser = None if folder.dry_run else Fuser(**settings)
    how: dict[str, Any] = {
        "suffix": folder.suffix,
        "dry_run": folder.dry_run,
        "verify": folder.verify,
        "shard": None if folder.shard is None else find_shard(folder.shard),
        "save_transform": folder.save_transform,
        "progress": progress,
        "engine": _engine(folder),
    }
    if len(sources) == 1:
        summary = fuse_flir(sources[0], output, fuser, **how, **opening.plain())
    else:
        a, b, *more = sources
        how |= {"more": more, "opening": opening, "pattern": folder.pattern}
        summary = fuse_folders(a, b, output, fuser, **how)
    if as_json:
        echo_json(summary.plain())
    elif folder.dry_run:
        say(summary.pairing)
    elif progress is None or not summary.ok:
        say(summary, err=True)
    return None if summary.ok else 1
