"""ddfm info."""

from __future__ import annotations

from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

import click

from ddfm.cli.described import lines_about
from ddfm.cli.options import echo_json, json_option, reading_options
from ddfm.cli.sources import check_exist
from ddfm.cli.writing import say
from ddfm.errors import DdfmError
from ddfm.progress import stage

if TYPE_CHECKING:
    from ddfm.imaging.metadata.record import Record

__all__ = ["info"]


@click.command(short_help="Show how a result was made, or what a file is.")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
@reading_options
@json_option
def info(files: tuple[Path, ...], as_json: bool) -> int:
    """Show how a result was made: version, weights, settings, and the SHA-256 of the sources.

    The file holds this record unless it was made with --strip. To fuse again in the same way, use
    the same command with --like RESULT. Of a file without a record, show what it is: of an image
    its size, depth and values, and what `ddfm fuse` would correct in it; of a volume its grid and
    which values become black and white; of a video its size, rate and length; of a folder what it
    holds.

    \b
    Examples:
      ddfm info fused.png
      ddfm info thermal.jpg photo.jpg
      ddfm info ct.nii.gz
      ddfm info fused.tif --json
      ddfm info fused.nii.gz
      ddfm info fused.mp4
    """
    check_exist(files)
    plain, failed = [], False
    for file in files:
        try:
            plain.append(_told(file, as_json))
        except DdfmError as error:
            if len(files) == 1:
                raise
            failed = True
            plain.append({"file": str(file), "error": str(error)})
            say(f"ddfm: error: {error}", err=True)
    if as_json:
        echo_json(plain if len(plain) > 1 else plain[0])
    return int(failed)


def _told(file: Path, as_json: bool) -> dict[str, Any]:
    """What is known of a file, which is also printed as text if JSON is not asked for."""
    from ddfm.pipeline.records import read_record

    record = read_record(file)
    looked = {} if record is not None else _looked_at(file)
    if not as_json:
        say("\n".join(_about(file, looked) if record is None else _lines(file, record)))
    return looked if record is None else record.plain()


def _looked_at(file: Path) -> dict[str, Any]:
    stage("examining the file")
    from ddfm.pipeline.describe import describe

    return describe(file)


def _about(file: Path, looked: dict[str, Any]) -> list[str]:
    from ddfm.storage.ours import is_ours

    ours = is_ours(file)
    of_ours = "made by ddfm, but holds no record of how (a map, a view, or --strip)"
    first = f"{file}: {of_ours if ours else 'holds no record of how ddfm made it'}"
    return [first, *lines_about(looked, ours=ours)]


def _lines(result: Path, record: Record) -> list[str]:
    from ddfm.restoration.corrections import corrections

    settings = dict(record.settings)
    lines = [f"{result}: made by ddfm {settings.pop('ddfm')}"]
    for letter, (name, digest) in zip(ascii_lowercase, record.sources, strict=False):
        named = "  ".join(dict.fromkeys((letter, name)))  # those of a volume are named a, b, ...
        lines.append(f"  source {named}  sha256 {digest or 'unknown'}")
    found = corrections(ascii_lowercase, record.observed, record.settings.get("observations"))
    lines += [f"  corrected  {line}" for line in found]
    said = settings
    for name, value in record.opening.items():
        if isinstance(value, dict):  # further settings of a volume or a film
            said |= {f"{name} {key}": each for key, each in value.items()}
        else:
            said[name] = value
    width = max(map(len, said), default=0)
    return lines + [f"  {name:{width}}  {value}" for name, value in said.items()]
