"""ddfm fuse."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddfm.cli.alignment import align_options, check_alignment, say_alignment, transform_of
from ddfm.cli.film import fuse_film
from ddfm.cli.folders import FolderOptions, folder_options, fuse_files_of_folders
from ddfm.cli.groups import given_in, is_given, refuse, take
from ddfm.cli.images import BOTH, ImageOptions, image_options
from ddfm.cli.metadata import as_recorded, check_metadata, metadata_options, warn_of_changes
from ddfm.cli.opening import FOR_FILMS, FileOptions, RangeCommand, opening_options
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
from ddfm.cli.sources import check_sources, say_blank, say_equal, say_levels, say_results
from ddfm.cli.writing import DashOrPath, OutputPath, say, say_done
from ddfm.errors import KeptWarning, warn
from ddfm.progress import stage
from ddfm.video.formats import is_video

if TYPE_CHECKING:
    from ddfm.config import FusionConfig
    from ddfm.imaging.metadata.record import Record
    from ddfm.imaging.opening import Opening
    from ddfm.imaging.picture import Picture
    from ddfm.pipeline.beside import Beside
    from ddfm.result import Fusion

__all__ = ["fuse"]


@click.command(cls=RangeCommand, short_help="Fuse registered images.")
@click.argument("sources", nargs=-1, required=True, type=DashOrPath(), metavar="A B...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=OutputPath(dash=True),
    help="The file to write, in the format of its suffix: .png, .tif, .jpg, .webp, .bmp or .jp2; "
    "for folders, the folder to write into; - is standard output.",
)
@fuser_options
@resize_option
@align_options
@click.option(
    "--moving",
    metavar="once|keep",
    default="once",
    show_default=True,
    help="Exposures between which something moved: once shows it as in one of them; keep mixes "
    "all, so that it may be seen double.",
)
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
    transform_file: Path | None,
    save_transform: Path | None,
    like: Path | None,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> int | None:
    """Fuse images of one scene: A is infrared, CT, PET, ..., and B is visible, MRI, ...

    The images must match pixel by pixel; otherwise --align auto aligns them. There may be more than
    two: exposures, or photographs focused at different distances (--task). The result has their
    size and the bit depth of the deepest one. Colours are kept.

    A radiometric file of a FLIR or InfiRay camera, or a folder of them, is enough: each holds both
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
    images, folders = take(ImageOptions, settings), take(FolderOptions, settings)
    files = take(FileOptions, settings)
    check_sources(sources)
    check_dashes(sources, output, views=bool(images.show or images.overlay), as_json=as_json)
    settings |= observations(settings, len(sources))
    checked(settings)
    settings["transform"] = transform_of(transform_file, settings["align"])
    settings, _, record = as_recorded(like, settings, {})
    check_alignment(settings)
    check_metadata(settings)
    request = _Request(
        sources=sources,
        output=output,
        settings=settings,
        images=images,
        folders=folders,
        files=files,
        save_transform=save_transform,
        like=like,
        record=record,
        as_json=as_json,
        quiet=quiet,
    )
    if sources[0].is_dir():
        return _fuse_folders(request)
    to_stdout = {"--format"} if output == DASH else set()
    refuse([name for name in given_in(folders) if name not in to_stdout], "folders")
    if any(map(is_video, sources)):
        _fuse_films(request)
    else:
        _fuse_scene(request)
    return None


@dataclass(frozen=True)
class _Request:
    """What the command line asks for."""

    sources: tuple[Path, ...]
    output: Path
    settings: dict[str, Any]
    images: ImageOptions
    folders: FolderOptions
    files: FileOptions
    save_transform: Path | None
    like: Path | None
    record: Record | None  # of the result in --like
    as_json: bool
    quiet: bool

    @property
    def progress(self) -> bool | None:
        return False if self.quiet else None

    def opening(self) -> Opening:
        """How the files are read."""
        alone = len(self.sources) == 1
        return self.files.opening(alone=alone, longest=self.images.longest, record=self.record)


def _fuse_folders(request: _Request) -> int | None:
    """Fuses the pairs of folders, and returns the exit code."""
    only_images = [name for name in given_in(request.images) if name not in BOTH]
    refuse(only_images, "images, not for folders")
    return fuse_files_of_folders(
        request.sources,
        request.output,
        request.settings,
        request.folders,
        request.opening(),
        save_transform=request.save_transform,
        beside=request.images.beside(None),
        progress=request.progress,
        as_json=request.as_json,
    )


def _fuse_films(request: _Request) -> None:
    """Fuses two videos as `ddfm film` does."""
    if len(request.sources) != 2 or not all(map(is_video, request.sources)):
        raise click.UsageError("a film can only be fused with one other film; give two films")
    only_images = given_in(request.images) | given_in(request.files)
    names = [name for name in only_images if name not in FOR_FILMS]
    names += ["--json"] if request.as_json else []
    names += ["--metadata-from"] if is_given("metadata_from") else []
    refuse(names, "images, not for films")
    fuse_film(
        *request.sources,
        request.output,
        request.settings,
        request.quiet,
        save_transform=request.save_transform,
        range_a=request.files.range_a,
        range_b=request.files.range_b,
        celsius=request.files.celsius,
    )


def _fuse_scene(request: _Request) -> None:
    """Fuses one scene, writes all outputs, and reports what was done."""
    opening, beside = request.opening(), request.images.beside(request.save_transform)
    began = time.monotonic()
    _check_outputs(request, beside)
    pictures, is_preview = _read(request, opening)
    _check_size(request, pictures, is_preview)
    fusion = replace(_fused(request, pictures, beside), opening=opening.plain())
    _warn_of_kept(request, fusion)
    _write(request, fusion, pictures, beside)
    if not request.quiet:
        say_alignment(fusion, pictures)
    if not request.quiet and not is_preview:  # reduced pictures have less noise, and other defects
        _say_corrections(fusion)
    seconds = time.monotonic() - began
    warn_of_changes(request.record, fusion.record, request.like)
    _report(request, fusion, beside, seconds)


def _check_outputs(request: _Request, beside: Beside) -> None:
    """Refuses outputs that cannot be written."""
    from ddfm.imaging.writing import check_output, output_suffix

    if request.output == DASH:
        output_suffix(request.folders.format or "png")
    else:
        check_output(request.output)
    beside.check(request.output, checked(request.settings))


def _read(request: _Request, opening: Opening) -> tuple[tuple[Picture, ...], bool]:
    """The sources, and whether they were reduced; what is said about them is true of the files."""
    from ddfm.imaging.sizes import common_size, reduced
    from ddfm.imaging.sources import are_of_one_camera, read_sources

    config = checked(request.settings)
    pictures = replace(opening, longest=None).pictures(opened(request.sources))
    if not config.moves:
        common_size(pictures, config.resize)  # raises if their sizes do not fit
    if not request.quiet:
        say_equal(pictures)
        say_blank(pictures)
        say_results(request.sources, pictures)
        say_levels(
            pictures, opening.ranges, together=are_of_one_camera(pictures, config.one_camera)
        )
    small = pictures if opening.longest is None else reduced(pictures, opening.longest)
    is_preview = [p.size for p in small] != [p.size for p in pictures]
    sources = read_sources(small, config.resize, alike=False, one_camera=config.one_camera)
    return sources, is_preview


def _check_size(request: _Request, pictures: Sequence[Picture], is_preview: bool) -> None:
    """Refuses results that are too large to be written, and tells if this is a preview."""
    from ddfm.imaging.writing import check_output

    size = _size_of_result(pictures, checked(request.settings))
    if is_preview and not request.quiet:
        height, width = size
        say(
            f"this is a preview of {width} x {height} pixels, not the full size; warnings that "
            "follow are about the preview, but distances are in pixels of the full size",
            err=True,
        )
    if request.output != DASH:
        check_output(request.output, size)
    prepare_for_large(size)


def _size_of_result(pictures: Sequence[Picture], config: FusionConfig) -> tuple[int, int]:
    from ddfm.imaging.sizes import common_size

    if config.moves:
        return pictures[config.reference(len(pictures))].size
    return common_size(pictures, config.resize)


def _fused(request: _Request, pictures: Sequence[Picture], beside: Beside) -> Fusion:
    from ddfm.fuser import Fuser  # imports torch, so only after all checks

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KeptWarning)  # of which the output may hold less
        fuser = Fuser(**request.settings)
        return fuser(*pictures, progress=request.progress, **beside.asked)


def _warn_of_kept(request: _Request, fusion: Fusion) -> None:
    """Names what may identify a person or a place, as far as the format of the output holds it."""
    from ddfm.imaging.writing import held_by, output_suffix

    output = request.output
    if output == DASH:
        output = Path(f"image{output_suffix(request.folders.format or 'png')}")
    for note in held_by(output, fusion.picture)[0].metadata.notes:
        warn(note, KeptWarning)


def _write(request: _Request, fusion: Fusion, pictures: Sequence[Picture], beside: Beside) -> None:
    stage("writing")
    if request.output == DASH:
        write_out(fusion, request.folders.format)
    else:
        fusion.save(request.output)
    beside.write(fusion, pictures, request.output)


def _report(request: _Request, fusion: Fusion, beside: Beside, seconds: float) -> None:
    """Prints the summary: as JSON, and as a line on a terminal."""
    if request.as_json:
        views = list(map(str, beside.views_of(request.output)))
        about = {"output": str(request.output), "views": views, "seconds": round(seconds, 3)}
        echo_json(about | {"settings": fusion.settings})
    if not request.quiet:
        h, w = fusion.picture.size
        say_done(request.output, f"{w} x {h} pixels", seconds)


def _say_corrections(fusion: Fusion) -> None:
    settings = fusion.settings
    observed, given = settings.get("observed", ()), settings.get("observations")
    say_corrections(settings["sources"], observed, given)
