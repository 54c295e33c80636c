"""Options for metadata, and for repeating an earlier fusion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddfm.cli.groups import is_given
from ddfm.cli.options import all_of

if TYPE_CHECKING:
    from ddfm.imaging.metadata.record import Record

__all__ = [
    "as_recorded",
    "check_metadata",
    "metadata_options",
    "parameter_of",
    "record_options",
    "warn_of_changes",
]

_like = click.option(
    "--like",
    type=click.Path(path_type=Path),
    metavar="RESULT",
    help="Use the settings that made this result (see `ddfm info`), except for options given "
    "here; the same sources then give the same bytes.",
)
metadata_options = all_of(
    click.option(
        "--metadata-from",
        metavar="auto|a|b|none",
        default="auto",
        show_default=True,
        help="The source whose EXIF, XMP and coordinates the result gets: A (a), B (b), none, or "
        "the one that gives the colour, else B (auto).",
    ),
    click.option(
        "--strip",
        is_flag=True,
        help="Write no metadata: no EXIF, no colour profile, and no record for `ddfm info`.",
    ),
    _like,
)
record_options = all_of(
    click.option("--strip", is_flag=True, help="Write no record of the settings for `ddfm info`."),
    _like,
)
_CALLED = {  # keywords of functions whose parameter on the command line has another name
    "transform": "transform_file",
    "temporal_denoising": "no_temporal_denoising",
    "more_windows": "window_c",
    "more_colormaps": "colormap_c",
    "numbers": "number",
}


def parameter_of(keyword: str) -> str:
    """The name on the command line of the parameter of a function."""
    return _CALLED.get(keyword, keyword)


def as_recorded(
    like: Path | None, settings: dict[str, Any], how: dict[str, Any], kind: str = "picture"
) -> tuple[dict[str, Any], dict[str, Any], Record | None]:
    """Settings, taken from the record of --like where the command line does not give them.

    Args:
        like: the result that holds the record; without it, the settings are returned unchanged.
        settings: keywords of a `Fuser`.
        how: further settings, of a volume or a film.
        kind: what the result must be: "picture", "volume" or "film".
    """
    if like is None:
        return settings, how, None
    from ddfm.pipeline import again

    record = again.existing_record(like, kind)
    prior = settings["prior"] if _is_given("prior") else None
    recorded = again.keywords(record, prior, settings.get("observations", ()))
    settings = settings | {name: v for name, v in recorded.items() if not _is_given(name)}
    if how:
        recorded = again.how(record, kind)
        how = how | {k: v for k, v in recorded.items() if k in how and not _is_given(k)}
    return settings, how, record


def check_metadata(settings: dict[str, Any]) -> None:
    """Raise if metadata is both to be kept and to be left out."""
    if settings["strip"] and is_given("metadata_from") and settings["metadata_from"] != "none":
        raise click.UsageError(
            "--metadata-from keeps metadata and --strip leaves it out; use only one of them"
        )


def warn_of_changes(before: Record | None, now: Record | None, like: Path | None) -> None:
    """Warns of each difference from the conditions under which the result of --like was made."""
    if before is None or now is None or like is None:
        return

    from ddfm.errors import warn
    from ddfm.pipeline.again import changes

    for line in changes(before, now, like.name):
        warn(line)


def _is_given(keyword: str) -> bool:
    return is_given(parameter_of(keyword))
