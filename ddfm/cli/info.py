"""ddfm info."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddfm.cli.options import echo_json, json_option, reading_options
from ddfm.cli.sources import check_there
from ddfm.cli.writing import say
from ddfm.progress import stage

if TYPE_CHECKING:
    from ddfm.imaging.metadata.record import Record

__all__ = ["info"]


@click.command(short_help="Show how a result was made, or what an image is.")
@click.argument("result", type=click.Path(path_type=Path))
@reading_options
@json_option
def info(result: Path, as_json: bool) -> None:
    """Show how a result was made: version, weights, settings, and the SHA-256 of the sources.

    The file holds this record unless it was made with --strip. To fuse again in the same way, use
    the same command with --like RESULT. Of an image without a record, show its size, depth and
    values, and what `ddfm fuse` would correct in it. With --json, a volume or a film without a
    record gives null.

    \b
    Examples:
      ddfm info fused.png
      ddfm info thermal.jpg
      ddfm info fused.tif --json
      ddfm info fused.nii.gz
      ddfm info fused.mp4
    """
    check_there([result])
    from ddfm.pipeline.records import read_record

    record = read_record(result)
    if record is not None:
        echo_json(record.plain()) if as_json else say("\n".join(_lines(result, record)))
        return
    stage("examining the image")
    from ddfm.pipeline.looked import look_into

    looked = look_into(result)
    if as_json:
        echo_json(looked)
    else:
        from ddfm.storage.ours import is_ours

        ours = is_ours(result)
        of_ours = "made by ddfm, but holds no record of how (a map, a view, or --strip)"
        say(f"{result}: {of_ours if ours else 'holds no record of how ddfm made it'}")
        if looked is not None:
            say("\n".join(_looks(looked, ours=ours)))


def _looks(looked: dict[str, Any], *, ours: bool) -> Iterator[str]:
    """Lines about an image without a record: what it is, and what a fusion would correct."""
    from ddfm.restoration.corrections import corrections

    depth = {"uint8": "8 bits", "uint16": "16 bits"}.get(looked["dtype"], "floating point")
    color = "colour" if looked["color"] else "grey"
    alpha = ", with transparency" if looked["alpha"] else ""
    first = f", the first of {looked['pages']}" if looked["pages"] > 1 else ""
    size = f"{looked['width']} x {looked['height']} pixels"
    yield f"  picture   {size}, {color}, {depth}{alpha}{first}"
    low, high = looked["values"]
    black = ", which become black and white" if looked["unit"] else ""
    if looked["unit"]:
        low, high = round(low, 2), round(high, 2)
    yield f"  values    {low:g} to {high:g} {looked['unit']}".rstrip() + black
    if looked["spread"] is not None:
        low, high = looked["spread"]
        full = "--range-a full keeps all 16 bits"
        yield f"            {low:g} to {high:g} become black and white; {full}"
    if looked["thermal"] == "false colours":
        if not ours:  # the scale of an uncertainty looks the same
            yield "  thermal   seems to be temperatures in false colours, without their values"
    elif looked["thermal"]:
        photograph = "with a photograph" if looked["photograph"] else "without a photograph"
        yield f"  thermal   radiometric file of {looked['thermal']}, {photograph}"
    found = corrections([""], [looked["observed"]]) or [": nothing"]
    yield f"  corrects  {found[0].removeprefix(': ')}"


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
        if isinstance(value, dict):  # further settings of a volume or a film
            said |= {f"{name} {key}": each for key, each in value.items()}
        else:
            said[name] = value
    width = max(map(len, said), default=0)
    return lines + [f"  {name:{width}}  {value}" for name, value in said.items()]
