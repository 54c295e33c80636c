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


@click.command(short_help="Show what made a picture, a volume or a film.")
@click.argument("result", type=click.Path(path_type=Path))
@reading_options
@json_option
def info(result: Path, as_json: bool) -> None:
    """Show what made a result: version, weights, settings, and the sha256 of the sources.

    This record is in the file, unless it was stripped. The command that made the result repeats it
    with --like RESULT. With --json, null stands for a file without a record.

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
        say(f"{result}: nothing in it says that ddfm made it, or how")
    else:
        say("\n".join(_lines(result, record)))


def _lines(result: Path, record: Record) -> list[str]:
    from ddfm.restoration.corrections import corrections

    settings = dict(record.settings)
    lines = [f"{result}: made by ddfm {settings.pop('ddfm')}"]
    lines += [f"  source  {name}  sha256 {digest or 'unknown'}" for name, digest in record.sources]
    names = [name for name, _ in record.sources]
    found = corrections(names, record.observed, record.settings.get("observations"))
    lines += [f"  corrected  {line}" for line in found]
    said = settings
    for name, value in record.opening.items():
        if isinstance(value, dict):  # of a volume, or of a film
            said |= {f"{name} {key}": each for key, each in value.items()}
        else:
            said[name] = value
    width = max(map(len, said), default=0)
    return lines + [f"  {name:{width}}  {value}" for name, value in said.items()]
