"""Options about what comes along in a picture beside its pixels, and about doing the same again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from ddfm.imaging.metadata.record import Record

__all__ = ["metadata_options", "said_or_recorded", "warn_of_changes"]

Command = TypeVar("Command", bound=Callable[..., Any])

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
    click.option(
        "--like",
        type=click.Path(path_type=Path),
        metavar="PICTURE",
        help="Take the settings that made this picture (see `ddfm info`), but for those that are "
        "given here; the same sources give the same bytes.",
    ),
)
_CALLED = {"transform": "transform_file"}  # keywords whose option has another name


def metadata_options(command: Command) -> Command:
    """What is asked about metadata, as options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def said_or_recorded(settings: dict[str, Any], record: Record) -> dict[str, Any]:
    """The keywords of a `Fuser`: as the command line says, and of what it leaves, as the record."""
    from ddfm.pipeline.again import keywords

    recorded = keywords(record, settings["prior"] if _is_said("prior") else None)
    return settings | {name: v for name, v in recorded.items() if not _is_said(name)}


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
