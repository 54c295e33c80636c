"""Options about how sure a result is, and where it is from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ddfm.cli.writing import OutputPath

__all__ = ["trust_options", "trust_settings"]

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--uncertainty",
        type=OutputPath(),
        metavar="FILE",
        help="Write how far each pixel may be off, by the noise of the sources: numbers (.tif), or "
        "a picture with a scale.",
    ),
    click.option(
        "--samples",
        type=int,
        metavar="NUMBER",
        help="Other results as possible, which --uncertainty is taken from.  [default: 16]",
    ),
    click.option(
        "--attribution",
        type=OutputPath(),
        metavar="FILE",
        help="Write which source each pixel has its level and its details from, and what none "
        "shows: shares (.tif), or a picture with a legend.",
    ),
)


def trust_options(command: Command) -> Command:
    """What is asked about trust, as options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def trust_settings(
    uncertainty: Path | None, samples: int | None, attribution: Path | None
) -> dict[str, Any]:
    """What `Beside` is to write of it."""
    settings: dict[str, Any] = {"uncertainty": uncertainty, "attribution": attribution}
    if samples is None:
        return settings
    if uncertainty is None:
        raise click.UsageError("--samples is how many --uncertainty is taken from; give it, too")
    if samples < 2:
        raise click.UsageError(f"--samples must be 2 or more, not {samples}")
    return settings | {"samples": samples}
