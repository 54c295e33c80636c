"""Options about how sure a result is, and where it is from."""

from __future__ import annotations

from pathlib import Path

import click

from ddfm.cli.options import all_of
from ddfm.cli.writing import OutputPath

__all__ = ["samples_for", "trust_options"]

USUAL = 16  # samples

trust_options = all_of(
    click.option(
        "--uncertainty",
        type=OutputPath(),
        metavar="FILE",
        help="Write how far each pixel may be off, by the noise of the sources: numbers (.tif), or "
        "a picture with a scale; of a volume, a volume; of a film, a film.",
    ),
    click.option(
        "--samples",
        type=int,
        metavar="NUMBER",
        help="How many other results, as possible as this one, --uncertainty is taken from.  "
        "[default: 16]",
    ),
    click.option(
        "--attribution",
        type=OutputPath(),
        metavar="FILE",
        help="Write which source each pixel has its level and its details from, and what none "
        "shows: shares (.tif), or a picture with a legend; of a volume, a volume; of a film, a "
        "film.",
    ),
)


def samples_for(uncertainty: Path | None, samples: int | None) -> int:
    """How many are needed; 0 where nobody wants to know."""
    if uncertainty is None:
        if samples is not None:
            raise click.UsageError(
                "--samples is how many --uncertainty is taken from; give it, too"
            )
        return 0
    if samples is not None and samples < 2:
        raise click.UsageError(f"--samples must be 2 or more, not {samples}")
    return USUAL if samples is None else samples
