"""Options about how certain a result is, and which source it comes from."""

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
        help="Write how far each pixel may be off, given the noise of the sources: numbers (.tif), "
        "or a picture with a scale; for a volume, a volume; for a film, a film; for folders, a "
        "folder.",
    ),
    click.option(
        "--samples",
        type=int,
        metavar="NUMBER",
        help="From how many alternative results --uncertainty is computed.  [default: 16]",
    ),
    click.option(
        "--attribution",
        type=OutputPath(),
        metavar="FILE",
        help="Write from which source each pixel has its level and its details, and what no source "
        "shows: shares (.tif), or a picture with a legend; for a volume, a volume; for a film, a "
        "film; for folders, a folder.",
    ),
)


def samples_for(uncertainty: Path | None, samples: int | None) -> int:
    """How many samples are needed; 0 without --uncertainty."""
    if uncertainty is None:
        if samples is not None:
            raise click.UsageError(
                "--samples is how many --uncertainty is taken from; give it, too"
            )
        return 0
    if samples is not None and samples < 2:
        raise click.UsageError(f"--samples must be 2 or more, not {samples}")
    return USUAL if samples is None else samples
