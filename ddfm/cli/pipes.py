"""`-` in the place of a file: standard input as a source, standard output for the result."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ddfm.result import Fusion

__all__ = ["DASH", "check_dashes", "opened", "write_out"]

DASH = Path("-")


def check_dashes(sources: Sequence[Path], output: Path, *, views: bool, as_json: bool) -> None:
    """Refuses what cannot be read from standard input, or written to standard output."""
    if sources.count(DASH) > 1:
        raise click.UsageError("standard input (-) is one source; name a file for the others")
    if DASH in sources and sys.stdin is not None and sys.stdin.isatty():
        raise click.UsageError("standard input (-) is the terminal; send an image to it: < a.png")
    if output != DASH:
        return
    if as_json:
        raise click.UsageError("--json writes to standard output, where -o - has the result go")
    if views:
        raise click.UsageError("--show and --overlay lie beside a result; name a file (-o)")
    if sys.stdout is not None and sys.stdout.isatty():
        raise click.UsageError("standard output (-o -) is the terminal; send it on: > fused.png")


def opened(sources: Sequence[Path]) -> list[Any]:
    """The sources, with standard input read for the one that is a dash."""
    stdin: Any = None if sys.stdin is None else sys.stdin.buffer
    return [stdin if source == DASH else source for source in sources]


def write_out(fusion: Fusion, suffix: str | None) -> None:
    """Sends a result to standard output."""
    stream = sys.stdout.buffer
    fusion.save(stream, format=suffix or "png")
    stream.flush()
