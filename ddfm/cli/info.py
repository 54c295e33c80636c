"""ddfm info."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddfm.cli.options import echo_json, json_option, reading_options
from ddfm.cli.writing import say

if TYPE_CHECKING:
    from ddfm.imaging.metadata.record import Record

__all__ = ["info"]


@click.command(short_help="Say what made a picture.")
@click.argument("picture", type=click.Path(path_type=Path))
@reading_options
@json_option
def info(picture: Path, as_json: bool) -> None:
    """Say what made a picture: version, weights, settings, and the sources' sha256.

    It stands in the picture, unless it was stripped, and `ddfm fuse --like PICTURE` does the same
    again. With --json, null stands for a picture that does not say it.

    \b
    Examples:
      ddfm info fused.png
      ddfm info fused.tif --json
    """
    from ddfm.imaging.metadata.record import read_record

    record = read_record(picture)
    if as_json:
        echo_json(None if record is None else record.plain())
    elif record is None:
        say(f"{picture}: nothing in it says that ddfm made it, or how")
    else:
        say("\n".join(_lines(picture, record)))


def _lines(picture: Path, record: Record) -> list[str]:
    settings = dict(record.settings)
    lines = [f"{picture}: made by ddfm {settings.pop('ddfm')}"]
    lines += [f"  source  {name}  sha256 {digest or 'unknown'}" for name, digest in record.sources]
    said = settings | dict(record.opening)
    width = max(map(len, said), default=0)
    return lines + [f"  {name:{width}}  {value}" for name, value in said.items()]
