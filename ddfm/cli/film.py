"""ddfm film."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddfm.cli.alignment import align_options, check_alignment, transform_of
from ddfm.cli.metadata import as_recorded, record_options, warn_of_changes
from ddfm.cli.opening import RangeCommand, celsius_option, range_options
from ddfm.cli.options import (
    checked,
    fuser_options,
    quiet_option,
    resize_option,
    shard_option,
    verify_option,
)
from ddfm.cli.restoration import observation_options, observations, say_corrections
from ddfm.cli.sources import check_exist
from ddfm.cli.trust import samples_for, trust_options
from ddfm.cli.writing import OutputPath, say, say_done
from ddfm.progress import stage

if TYPE_CHECKING:
    from ddfm.storage.manifest import Shard

__all__ = ["film", "fuse_film"]

# Options that are keywords of `fuse_sequence` by the same names.
_OF_FILMS = tuple("range_a range_b celsius pattern rate delay warm audio verify".split())


def _seconds(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """A number of seconds, "auto", or None."""
    return value if value in (None, "auto") else click.FLOAT(value, parameter, context)


@click.command(cls=RangeCommand, short_help="Fuse two registered films.")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=OutputPath(),
    help="The film to write: .mp4 or .mov (H.264), .mkv (lossless), or, without a suffix, a folder "
    "of frames.",
)
@click.option(
    "--pattern",
    metavar="A:B",
    help="Folders: how the frames of a pair are named, as for `ddfm fuse`, such as "
    "'ir_{}.png:vis_{}.png'.",
)
@click.option(
    "--rate",
    type=float,
    help="Frames per second of the result.  [default: those of the faster video; 25 for folders]",
)
@click.option(
    "--delay",
    callback=_seconds,
    metavar="SECONDS|auto",
    help="Videos: how much later than A B begins; negative if A does; auto finds it by the motion "
    "in both.  [default: 0, with a warning if the motion tells otherwise]",
)
@click.option(
    "--no-temporal-denoising",
    is_flag=True,
    help="Do not reduce noise by averaging over time where nothing moves.",
)
@click.option(
    "--audio",
    default="auto",
    show_default=True,
    metavar="auto|a|b|none",
    help="Whose sound a video gets: that of A (a), of B (b), of the one that has any (auto), or "
    "none.",
)
@click.option(
    "--warm",
    is_flag=True,
    help="Start each frame from the previous result; for the default likelihood, or with --start.",
)
@shard_option(
    "Fuse only the I-th of N ranges of frames (3/8, auto/8 or auto; see `ddfm fuse --help`), into "
    "the folder or into FILE.part-3-of-8.mp4 next to it; `ddfm merge` then joins them."
)
@range_options
@celsius_option
@trust_options
@verify_option
@record_options
@observation_options
@fuser_options
@resize_option
@align_options
@quiet_option
def film(
    a: Path,
    b: Path,
    output: Path,
    no_temporal_denoising: bool,
    shard: Shard | None,
    uncertainty: Path | None,
    samples: int | None,
    attribution: Path | None,
    like: Path | None,
    transform_file: Path | None,
    save_transform: Path | None,
    quiet: bool,
    **settings: Any,
) -> None:
    """Fuse two registered films without flicker: A is infrared, B visible.

    Each film is a video, or a folder of frames ordered by the numbers in their names. To avoid
    flicker, noise is averaged over time where nothing moves, the sampler uses the same random noise
    for all frames, and the contrast follows the scene slowly. If the output is a folder, giving the
    same command again continues an interrupted run; with --warm it starts again.

    \b
    Examples:
      ddfm film infrared.mp4 visible.mp4 -o fused.mp4
      ddfm film infrared/ visible/ -o fused/ --pattern 'ir_{}.png:vis_{}.png'
      ddfm film infrared/ visible/ -o fused.mkv --rate 9
      ddfm film infrared.mp4 phone.mov -o fused.mp4 --delay auto --align once
      ddfm film flir/ photos/ -o fused.mp4 --celsius 15 40
      ddfm film infrared.mp4 visible.mp4 -o fused.mp4 --shard 3/8
      ddfm film infrared.mp4 visible.mp4 -o fused.mp4 --attribution map.mp4
      ddfm film --like fused.mp4 infrared.mp4 visible.mp4 -o again.mp4
    """
    settings |= observations(settings, 2)
    settings["transform"] = transform_of(transform_file, settings["align"])
    how = {name: settings.pop(name) for name in _OF_FILMS}
    how |= {"temporal_denoising": not no_temporal_denoising}
    others: dict[str, Any] = {"uncertainty": uncertainty, "attribution": attribution}
    others |= {"samples": samples_for(uncertainty, samples), "shard": shard}
    settings, how, record = as_recorded(like, settings, how, "film")
    check_alignment(settings)
    fuse_film(a, b, output, settings, quiet, save_transform=save_transform, **how, **others)
    if record is not None and shard is None:
        from ddfm.pipeline.records import read_record

        warn_of_changes(record, read_record(output), like)


def fuse_film(
    a: Path,
    b: Path,
    output: Path,
    settings: dict[str, Any],
    quiet: bool,
    save_transform: Path | None = None,
    **how: Any,
) -> None:
    """Fuses a film as `ddfm film` does, and reports to standard error."""
    check_exist((a, b))
    config = checked(settings)
    stage("loading")
    from ddfm.pipeline.beside import check_transform
    from ddfm.pipeline.film_files import check_film
    from ddfm.storage.ours import check_no_source
    from ddfm.video.sound import sound_of

    check_no_source(output)
    check_film(output, how.get("rate"), a.is_dir())
    sound_of(a, b, how.get("audio", "auto"))  # refuses sound that is not there
    if save_transform is not None:
        check_transform(save_transform, config)

    from ddfm.fuser import Fuser  # imports torch, so only after all checks
    from ddfm.pipeline.films import fuse_sequence

    fuser = Fuser(**settings)
    how |= {"save_transform": save_transform, "progress": False if quiet else None}
    summary = fuse_sequence(a, b, output, fuser, **how)
    if not quiet:
        for line in summary.aligned:
            say(line, err=True)
        say_corrections([str(a), str(b)], summary.observed, fuser.config.observations)
        say_done(output, f"{len(summary.outcomes)} frames", summary.seconds)
