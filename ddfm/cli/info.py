"""ddfm info."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddfm.cli.options import echo_json, json_option, reading_options
from ddfm.cli.sources import check_there
from ddfm.cli.writing import say

if TYPE_CHECKING:
    from ddfm.imaging.metadata.record import Record

__all__ = ["info"]


@click.command(short_help="Show how an image, a volume or a film was made.")
@click.argument("result", type=click.Path(path_type=Path))
@reading_options
@json_option
def info(result: Path, as_json: bool) -> None:
    """Show how a result was made: version, weights, settings, and the SHA-256 of the sources.

    The file holds this record unless it was made with --strip. To fuse again in the same way, use
    the same command with --like RESULT. With --json, a file without a record gives null.

    \b
    Examples:
      ddfm info fused.png
      ddfm info fused.tif --json
      ddfm info fused.nii.gz
      ddfm info fused.mp4
    """
    check_there([result])
    from ddfm.pipeline.records import read_record

    record = read_record(result)
    if as_json:
        echo_json(None if record is None else record.plain())
    elif record is None:
        say(f"{result}: holds no record of how ddfm made it")
    else:
        say("\n".join(_lines(result, record)))


def _lines(result: Path, record: Record) -> list[str]:
    settings = dict(record.settings)
    lines = [f"{result}: made by ddfm {settings.pop('ddfm')}"]
    lines += [f"  source  {name}  sha256 {digest or 'unknown'}" for name, digest in record.sources]
    said = settings
    for name, value in record.opening.items():
        if isinstance(value, dict):  # further settings of a volume or a film
            said |= {f"{name} {key}": each for key, each in value.items()}
        else:
            said[name] = value
    width = max(map(len, said), default=0)
    return lines + [f"  {name:{width}}  {value}" for name, value in said.items()]
