"""`-` in place of a file: standard input as a source, standard output for the result."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddfm.video.formats import is_video

if TYPE_CHECKING:
    from ddfm.result import Fusion

__all__ = ["DASH", "check_dashes", "opened", "write_out"]

DASH = Path("-")


def check_dashes(sources: Sequence[Path], output: Path, *, views: bool, as_json: bool) -> None:
    """Refuses what cannot be read from standard input or written to standard output."""
    if sources.count(DASH) > 1:
        raise click.UsageError(
            "standard input (-) can be only one source; name files for the others"
        )
    if DASH in sources and sys.stdin.isatty():
        raise click.UsageError(
            "standard input (-) is the terminal; redirect an image to it: < a.png"
        )
    if output != DASH:
        return
    if any(source.is_dir() or is_video(source) for source in sources):
        raise click.UsageError("standard output (-o -) is for an image; name a folder or a film")
    if as_json:
        raise click.UsageError(
            "--json writes to standard output, and so does -o -; name a file for the result"
        )
    if views:
        raise click.UsageError(
            "--show and --overlay write files next to the result; name a file for it (-o)"
        )
    if sys.stdout.isatty():
        raise click.UsageError("standard output (-o -) is the terminal; redirect it: > fused.png")


def opened(sources: Sequence[Path]) -> list[Any]:
    """The sources, with the open standard input in place of the dash."""
    stdin: Any = sys.stdin.buffer
    return [stdin if source == DASH else source for source in sources]


def write_out(fusion: Fusion, suffix: str | None) -> None:
    """Writes a result to standard output."""
    stream = sys.stdout.buffer
    fusion.save(stream, format=suffix or "png")
    stream.flush()
