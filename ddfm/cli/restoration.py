"""Options about defects of each source."""

from __future__ import annotations

from typing import Any

import click

from ddfm.cli.options import all_of
from ddfm.errors import InputError

__all__ = ["observation_options", "observations"]

_SAID: dict[str, tuple[Any, str, str]] = {
    "scale": (
        float,
        "FACTOR",
        "How many pixels of the result one of {0} covers, along each side.  [default: estimated]",
    ),
    "blur": (
        str,
        "SIGMA",
        "Blur of {0}, in its own pixels: the deviation of a Gaussian; or LENGTH,ANGLE of a motion; "
        "or a picture of the blurred point (the kernel).",
    ),
    "noise": (
        str,
        "LEVEL",
        "Noise of {0}, in levels of 255: 12, the standard deviation; rician,12 in MRI; poisson,4 "
        "for photons of 4 levels each, poisson,4,2 with readout noise of 2; shared,12,0.8 for "
        "noise blurred over 0.8 pixels.  [default: estimated]",
    ),
    "stripes": (str, "KIND", "Stripes of {0}: columns, rows or none.  [default: estimated]"),
    "mask": (str, "FILE", "A picture that is white where {0} is valid."),
    "jpeg": (
        int,
        "QUALITY",
        "Undo the compression of {0} with this quality; 0 is none.  [default: estimated]",
    ),
}
observation_options = all_of(
    *(
        click.option(
            f"--{name}-{source.lower()}", type=kind, metavar=metavar, help=text.format(source)
        )
        for name, (kind, metavar, text) in _SAID.items()
        for source in "AB"
    ),
    click.option(
        "--as-is",
        is_flag=True,
        help="Do not look for earlier enlargement, stripes, dead pixels, frames and JPEG blocks.",
    ),
)


def observations(settings: dict[str, Any], number: int) -> dict[str, Any]:
    """Moves these options from the settings into the keyword `observations`, if any are given."""
    from ddfm.restoration.observation import AS_IT_IS

    as_is = settings.pop("as_is")
    found = []
    for source in "ab":
        said = {name: settings.pop(f"{name}_{source}") for name in _SAID}
        said = {name: value for name, value in said.items() if value is not None}
        if "blur" in said:
            said["blur"] = _blur(said["blur"])
        if "noise" in said:
            said["noise"] = _noise(said["noise"])
        if as_is:
            said = AS_IT_IS.plain() | said
        found.append(said)
    if as_is:
        found += [AS_IT_IS.plain()] * (number - len(found))
    return {"observations": found} if any(found) else {}


def _noise(said: str) -> float | tuple[Any, ...]:
    """A number, or the name of a law with its own."""
    kind, *numbers = said.split(",")
    try:
        return (kind, *map(float, numbers)) if numbers else float(kind)
    except ValueError:
        raise InputError(
            f"a noise is a number, rician,LEVEL, poisson,LEVELS or shared,LEVEL, not {said}"
        ) from None


def _blur(said: str) -> float | tuple[float, float] | str:
    """A number, two, or the name of a file."""
    try:
        numbers = [float(part) for part in said.split(",")]
    except ValueError:
        return said
    return (numbers[0], numbers[1]) if len(numbers) == 2 else numbers[0]
