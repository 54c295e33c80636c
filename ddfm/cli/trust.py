"""Options for how certain a result is, and which source each pixel comes from."""

from __future__ import annotations

from pathlib import Path

import click

from ddfm.cli.options import all_of
from ddfm.cli.writing import OutputPath

__all__ = ["samples_for", "trust_options"]

USUAL = 16  # samples, unless --samples is given

trust_options = all_of(
    click.option(
        "--uncertainty",
        type=OutputPath(),
        metavar="FILE",
        help="Also write how far each pixel may be off, given the noise of the sources: as "
        "numbers (.tif) or an image with a scale; for a volume, a volume; for a film, a film; for "
        "folders, a folder.",
    ),
    click.option(
        "--samples",
        type=int,
        metavar="NUMBER",
        help="How many alternative results --uncertainty is computed from, at least 2.  [default: "
        "16]",
    ),
    click.option(
        "--attribution",
        type=OutputPath(),
        metavar="FILE",
        help="Also write which source the level and the details of each pixel come from, and what "
        "no source shows: as shares (.tif) or an image with a legend; for a volume, a volume; for "
        "a film, a film; for folders, a folder.",
    ),
)


def samples_for(uncertainty: Path | None, samples: int | None) -> int:
    """The number of samples to compute; 0 without --uncertainty."""
    if uncertainty is None:
        if samples is not None:
            raise click.UsageError(
                "--samples is how many results --uncertainty is computed from; give both"
            )
        return 0
    if samples is not None and samples < 2:
        raise click.UsageError(f"--samples must be 2 or more, not {samples}")
    return USUAL if samples is None else samples
