"""ddfm fuse."""

from __future__ import annotations

import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddfm.cli.alignment import align_options, alignment_settings, check_alignment
from ddfm.cli.film import fuse_film
from ddfm.cli.folders import OfFolders, folder_options, fuse_files_of_folders
from ddfm.cli.groups import given_in, refuse, take
from ddfm.cli.images import BOTH, OfImages, image_options
from ddfm.cli.metadata import as_recorded, check_metadata, metadata_options, warn_of_changes
from ddfm.cli.opening import (
    FOR_FILMS,
    OfFiles,
    RangeCommand,
    opening_options,
    say_equal,
    say_levels,
)
from ddfm.cli.options import (
    checked,
    echo_json,
    fuser_options,
    json_option,
    quiet_option,
    resize_option,
)
from ddfm.cli.pipes import DASH, check_dashes, opened, write_out
from ddfm.cli.process import prepare_for_large
from ddfm.cli.restoration import observation_options, observations, say_corrections
from ddfm.cli.sources import check_sources
from ddfm.cli.writing import OutputPath, say
from ddfm.errors import DdfmWarning
from ddfm.progress import stage
from ddfm.video.formats import is_video

if TYPE_CHECKING:
    from ddfm.config import FusionConfig
    from ddfm.imaging.opening import Opening
    from ddfm.imaging.picture import Picture
    from ddfm.pipeline.beside import Beside
    from ddfm.result import Fusion

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
    help="The file to write, in the format of its suffix: .png, .tif, .jpg, .webp, .bmp or .jp2; "
    "for folders, the folder to write into; - is standard output.",
)
@fuser_options
@resize_option
@align_options
@metadata_options
@observation_options
@image_options
@folder_options
@opening_options
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
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> int | None:
    """Fuse images of one scene: A is infrared, CT, PET, ..., and B is visible, MRI, ...

    The images must match pixel by pixel; otherwise --align auto aligns them. There may be more than
    two: exposures, or photographs focused at different distances (--task). The result has their
    size and the bit depth of the deepest one. Colours are kept.

    A radiometric JPEG of a FLIR camera, or a folder of them, is enough: each file holds both
    images. Two videos are fused as by `ddfm film`.

    In two or more folders, images are paired by their names. Results of an earlier run with the
    same settings are skipped, so the same command continues an interrupted run.

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
    of_images, of_folders = take(OfImages, settings), take(OfFolders, settings)
    of_files = take(OfFiles, settings)
    check_sources(sources)
    views = bool(of_images.show or of_images.overlay)
    check_dashes(sources, output, views=views, as_json=as_json)
    settings |= observations(settings, len(sources))
    checked(settings)
    if quiet:
        warnings.simplefilter("ignore", DdfmWarning)
    settings |= alignment_settings(align, align_to, transform_file, crop)
    settings, _, record = as_recorded(like, settings, {})
    check_alignment(settings)
    check_metadata(settings)
    alone, progress = len(sources) == 1, False if quiet else None
    if sources[0].is_dir():
        refuse(
            [name for name in given_in(of_images) if name not in BOTH], "images, not for folders"
        )
        opening = of_files.opening(alone=alone, longest=None, record=record)
        beside = of_images.beside(None)
        return fuse_files_of_folders(
            sources,
            output,
            settings,
            of_folders,
            opening,
            save_transform,
            beside,
            progress,
            as_json,
        )
    to_stdout = {"--format"} if output == DASH else set()
    refuse([name for name in given_in(of_folders) if name not in to_stdout], "folders")
    films = sum(map(is_video, sources))
    if films and not films == len(sources) == 2:
        raise click.UsageError("a film can only be fused with one other film; give two films")
    if films:
        idle = given_in(of_images) | given_in(of_files)
        refuse([name for name in idle if name not in FOR_FILMS], "images, not for films")
        how = {name: getattr(of_files, name) for name in ("range_a", "range_b", "celsius")}
        how["save_transform"] = save_transform
        fuse_film(sources[0], sources[1], output, settings, quiet, **how)
        return None
    opening = of_files.opening(alone=alone, longest=of_images.longest, record=record)
    beside, suffix = of_images.beside(save_transform), of_folders.format
    began = time.monotonic()
    fusion = _fuse_images(sources, output, settings, opening, beside, suffix, quiet)
    seconds = round(time.monotonic() - began, 3)
    warn_of_changes(record, fusion.record, like)
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
    suffix: str | None,
    quiet: bool,
) -> Fusion:
    """Fuses one scene, and writes the result and the other requested outputs."""
    from ddfm.imaging.sources import common_size, read_sources
    from ddfm.imaging.writing import check_output, output_suffix

    config = checked(settings)
    if output == DASH:
        output_suffix(suffix or "png")
    else:
        check_output(output)
    beside.check(output, config)
    pictures, is_preview = _read(sources, opening, config, quiet)
    pictures = read_sources(pictures, config.resize, alike=False)
    if config.moves:
        size = pictures[config.reference(len(pictures))].size
    else:
        size = common_size(pictures, config.resize)
    if is_preview and not quiet:
        height, width = size
        say(
            f"this is a preview of {width} x {height} pixels, not the full size; warnings that "
            "follow are about the preview",
            err=True,
        )
    if output != DASH:
        check_output(output, size)
    prepare_for_large(size)
    from ddfm.fuser import Fuser  # imports torch, so only after all checks

    fuser = Fuser(**settings)
    fusion = fuser(*pictures, progress=False if quiet else None, **beside.asked)
    fusion = replace(fusion, opening=opening.plain())
    stage("writing")
    if output == DASH:
        write_out(fusion, suffix)
    else:
        fusion.save(output)
    beside.write(fusion, pictures, output)
    if not quiet and not is_preview:  # reduced pictures have less noise, and other defects
        made_with = fusion.settings
        observed = made_with.get("observed", ())
        say_corrections(made_with["sources"], observed, made_with.get("observations"))
    return fusion


def _read(
    sources: tuple[Path, ...], opening: Opening, config: FusionConfig, quiet: bool
) -> tuple[tuple[Picture, ...], bool]:
    """The sources, and whether they were reduced; what is said about them is true of the files."""
    from ddfm.imaging.sources import common_size, reduced

    pictures = replace(opening, longest=None).pictures(opened(sources))
    if not quiet:
        say_equal(pictures)
        say_levels(pictures)
    if not config.moves:
        common_size(pictures, config.resize)
    if opening.longest is None:
        return pictures, False
    small = reduced(pictures, opening.longest)
    return small, [p.size for p in small] != [p.size for p in pictures]
