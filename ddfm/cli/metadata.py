"""Options about what comes along in a picture beside its pixels, and about doing the same again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from ddfm.imaging.metadata.record import Record

__all__ = [
    "how_recorded",
    "metadata_options",
    "record_options",
    "said_or_recorded",
    "warn_of_changes",
]

Command = TypeVar("Command", bound=Callable[..., Any])

_like = click.option(
    "--like",
    type=click.Path(path_type=Path),
    metavar="RESULT",
    help="Take the settings that made this result (see `ddfm info`), but for those that are "
    "given here; the same sources give the same bytes.",
)
_OPTIONS = (
    click.option(
        "--metadata-from",
        default="auto",
        show_default=True,
        help="Whose EXIF, XMP and coordinates come along: a, b, none, or auto: of whoever gives "
        "the colour, else of B.",
    ),
    click.option(
        "--strip",
        is_flag=True,
        help="Leave out all of it, the colour profile and what made the picture too.",
    ),
    _like,
)
_RECORD = (
    click.option("--strip", is_flag=True, help="Leave out what made it, which `ddfm info` prints."),
    _like,
)
_CALLED = {  # keywords whose option has another name
    "transform": "transform_file",
    "temporal_denoising": "no_temporal_denoising",
    "more_windows": "window_c",
    "more_colormaps": "colormap_c",
}


def metadata_options(command: Command) -> Command:
    """What is asked about metadata, as options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def record_options(command: Command) -> Command:
    """What is asked about the record alone, where nothing comes along of the sources."""
    for option in reversed(_RECORD):
        command = option(command)
    return command


def said_or_recorded(settings: dict[str, Any], record: Record) -> dict[str, Any]:
    """The keywords of a `Fuser`: as the command line says, and of what it leaves, as the record."""
    from ddfm.pipeline.again import keywords

    recorded = keywords(record, settings["prior"] if _is_said("prior") else None)
    return settings | {name: v for name, v in recorded.items() if not _is_said(name)}


def how_recorded(how: dict[str, Any], record: Record, kind: str) -> dict[str, Any]:
    """Likewise of what is said beside a `Fuser`: of a volume, or a film."""
    from ddfm.pipeline import again

    recorded = again.how(record, kind)
    return how | {k: v for k, v in recorded.items() if k in how and not _is_said(k)}


def warn_of_changes(before: Record, now: Record, like: Path) -> None:
    """A warning for each thing that is not as it was."""
    import warnings

    from ddfm.errors import DdfmWarning
    from ddfm.pipeline.again import changes

    for line in changes(before, now, like.name):
        warnings.warn(line, DdfmWarning, stacklevel=2)


def _is_said(name: str) -> bool:
    context = click.get_current_context()
    return context.get_parameter_source(_CALLED.get(name, name)) is ParameterSource.COMMANDLINE
