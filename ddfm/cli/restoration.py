"""Options for the defects of each source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ddfm.cli.options import all_of
from ddfm.cli.writing import say
from ddfm.errors import DdfmError, InputError
from ddfm.storage.inputs import existing_file

__all__ = ["observation_options", "observations", "say_corrections", "slice_observation_options"]

_OF_EACH: dict[str, tuple[Any, str, str]] = {
    "scale": (
        float,
        "FACTOR",
        "How many pixels of the result one pixel of {0} covers along each side, from 1 to 64.  "
        "[default: estimated]",
    ),
    "blur": (
        str,
        "SIGMA",
        "Blur of {0} to undo, in its own pixels: the standard deviation of a Gaussian; "
        "LENGTH,ANGLE of a motion, in degrees; or an image file of the blur kernel; 0 for none.  "
        "[default: a Gaussian is estimated in infrared and visible images, not in films]",
    ),
    "noise": (
        str,
        "LEVEL",
        "Noise of {0} to remove, in grey levels of 255: a standard deviation such as 12; "
        "rician,12 for MRI; poisson,4 for photons of 4 levels each, poisson,4,2 with readout "
        "noise of 2; shared,12,0.8 for noise blurred over 0.8 pixels; 0 for none.  [default: "
        "estimated]",
    ),
    "stripes": (
        str,
        "KIND",
        "Stripes of {0} to remove: columns, rows or none.  [default: estimated]",
    ),
    "mask": (
        str,
        "FILE",
        "An image file that is white where {0} is valid; the rest is ignored.",
    ),
    "jpeg": (
        int,
        "QUALITY",
        "JPEG quality, 1 to 100, of a compression of {0} to undo; 0 for none.  [default: "
        "estimated]",
    ),
}
_OF_SLICES = ("noise", "stripes")  # those that make sense for slices of volumes


def _options(names: Sequence[str], as_is: str) -> Callable[[Any], Any]:
    rows = [(name, *_OF_EACH[name], source) for name in names for source in "AB"]
    return all_of(
        *(
            click.option(f"--{name}-{s.lower()}", type=kind, metavar=metavar, help=text.format(s))
            for name, kind, metavar, text, s in rows
        ),
        click.option(
            "--as-is",
            is_flag=True,
            help=f"Look for no {as_is} in any source; only what other options specify is "
            "corrected.",
        ),
    )


observation_options = _options(
    list(_OF_EACH), "noise, earlier enlargement, blur, stripes, dead pixels, frames or JPEG blocks"
)
slice_observation_options = _options(_OF_SLICES, "noise, stripes or dead pixels")


def observations(settings: dict[str, Any], number: int) -> dict[str, Any]:
    """Takes these options out of the settings, and returns them as the keyword `observations`."""
    from ddfm.restoration.observation import AS_IT_IS

    as_is = AS_IT_IS.plain() | {"noise": 0.0} if settings.pop("as_is") else {}
    found = []
    for source in "ab":
        options = {name: settings.pop(f"{name}_{source}", None) for name in _OF_EACH}
        given = {n: _value(n, source, v) for n, v in options.items() if v is not None}
        found.append(as_is | given)
    if as_is:
        found += [as_is] * (number - len(found))
    return {"observations": found} if any(found) else {}


def _value(name: str, source: str, given: Any) -> Any:
    """The value of an option, as an `Observation` takes it; an error names the option."""
    from ddfm.restoration.observation import Observation

    try:
        value = _READ[name](given) if name in _READ else given
        Observation(**{name: value})
    except DdfmError as error:
        raise click.BadParameter(str(error), param_hint=f"'--{name}-{source}'") from None
    return value


def _noise(text: str) -> float | tuple[Any, ...]:
    """A standard deviation, or the name of a noise law with its numbers."""
    kind, *numbers = text.split(",")
    try:
        return (kind, *map(float, numbers)) if numbers else float(kind)
    except ValueError:
        raise InputError(
            f"noise must be a number, rician,LEVEL, poisson,LEVELS or shared,LEVEL, not {text}"
        ) from None


def _blur(text: str) -> float | tuple[float, ...] | str:
    """The deviation of a Gaussian, length and angle of a motion, or the name of a file."""
    try:
        first, *others = [float(part) for part in text.split(",")]
    except ValueError:
        if Path(text).is_file():
            return text
        raise InputError(
            f"blur must be SIGMA, LENGTH,ANGLE or an image file, and there is no file {text}"
        ) from None
    return (first, *others) if others else first


_READ: dict[str, Callable[[str], Any]] = {
    "noise": _noise,
    "blur": _blur,
    "mask": lambda text: str(existing_file(text)),
}


def say_corrections(names: Sequence[str], observed: Sequence[Any], given: Any) -> None:
    """Prints what was corrected in the sources, except what a warning has named already.

    Args:
        names: of the sources.
        observed, given: the settings "observed" and "observations" of the result.
    """
    from ddfm.restoration.corrections import corrections

    unnamed = [{k: v for k, v in found.items() if k != "enlarged"} for found in observed]
    for line in corrections(names, unnamed, given):
        say(line, err=True)
