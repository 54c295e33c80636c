"""What the caller knows of a source: how it was observed, y = A x + n, and where it is valid.

Imports are light, since configurations hold observations and the command line makes them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ddfm.arguments import a_path, check_known, flag, number, one_of, positive, whole_number
from ddfm.errors import InputError, short

__all__ = [
    "AS_IT_IS",
    "Found",
    "NoiseLaw",
    "Observation",
    "files_of",
    "observation_of_each",
    "plain_observations",
]

STRIPES = ("auto", "none", "columns", "rows")
LARGEST_SCALE = 64
WIDEST_BLUR = 50  # pixels
# The number that each kind of noise takes, and the one that may follow.
LAWS = {
    "rician": ("its standard deviation", ""),
    "poisson": ("the levels of one photon", "the standard deviation of the readout noise"),
    "shared": ("its standard deviation", "how many pixels wide it is"),
}

NoiseLaw = tuple[Any, ...]  # a key of `LAWS`, and one or two numbers
Found = dict[str, Any]  # what was found in a source, or specified, and undone; ready for JSON


@dataclass(frozen=True)
class Observation:
    """How a source was degraded. What is None, or "auto", is estimated from the picture.

    Attributes:
        scale: how many pixels of the result a pixel of the source covers, in each direction; for a
            picture that was enlarged before, by how much. 1 is no enlargement; None follows from
            the sizes, and from an earlier enlargement if one is detected with certainty.
        blur: in pixels of the source: the standard deviation of a Gaussian; length and angle
            (degrees, up from the row) of a motion; or a picture file of the kernel; 0 is none. A
            Gaussian is estimated where no scale is given.
        noise: standard deviation in levels of 255. If it is given, it is removed, however small.
            Noise that depends on the level is ("rician", deviation), as in the magnitude of an MRI,
            or ("poisson", levels of one photon, deviation of added noise), as in low light and PET.
            Noise that is correlated between neighbours is ("shared", deviation, deviation in pixels
            of the Gaussian that it was blurred by, by default 0.8).
        stripes: stripes of the sensor: "columns", "rows", "none", or "auto".
        dead: whether isolated pixels that stand out are dead or hot, and are replaced.
        frame: whether the picture is surrounded by a rim of one level. It is never detected in
            medical images, where a body in air looks the same.
        mask: a picture file, white where the source is valid.
        jpeg: the quality (1 to 100) that the source was compressed with, which is undone; 0 is
            none.
    """

    scale: float | None = None
    blur: float | tuple[float, float] | str | None = None
    noise: float | NoiseLaw | None = None
    stripes: str = "auto"
    dead: bool | None = None
    frame: bool | None = None
    mask: str | None = None
    jpeg: int | None = None

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            "blur": _blur(self.blur),
            "stripes": one_of("stripes", self.stripes, STRIPES),
        }
        if self.scale is not None:
            checked["scale"] = positive("scale", self.scale, LARGEST_SCALE)
            if checked["scale"] < 1:
                raise InputError(
                    "scale must be 1 or more, since a result is never coarser than its sources"
                )
        if self.noise is not None:
            checked["noise"] = _noise(self.noise)
        for name in ("dead", "frame"):
            if getattr(self, name) is not None:
                checked[name] = flag(name, getattr(self, name))
        if self.mask is not None:
            checked["mask"] = os.fspath(a_path("mask", self.mask))
        if self.jpeg is not None:
            checked["jpeg"] = whole_number("jpeg", self.jpeg, ", a quality from 1 to 100,", 0, 100)
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # how a frozen dataclass is finished

    def plain(self) -> dict[str, Any]:
        """The settings that differ from the defaults, ready for JSON."""
        usual = {f.name: f.default for f in fields(self)}
        values = {name: value for name, value in vars(self).items() if value != usual[name]}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def of(cls, given: Any) -> Observation:
        """An observation from an `Observation`, a dictionary, or None."""
        if given is None:
            return cls()
        if isinstance(given, cls):
            return given
        if not isinstance(given, Mapping):
            raise InputError(
                f"an observation is an Observation or a dictionary, not {short(given)}"
            )
        check_known("setting of an observation", given, [f.name for f in fields(cls)])
        return cls(**given)


def observation_of_each(given: Sequence[Any], number: int) -> list[Observation]:
    """One observation for each of `number` sources; missing ones are empty."""
    if len(given) > number:
        raise InputError(f"there are {len(given)} observations for {number} sources")
    known = [Observation.of(one) for one in given]
    return known + [Observation()] * (number - len(known))


def plain_observations(given: Any) -> list[dict[str, Any]]:
    """One observation per source, ready for JSON; empty if none of them specifies anything."""
    if given is None:
        return []
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Sequence):
        raise InputError(
            f"observations must be a sequence, one (or None) for each source, not {short(given)}"
        )
    plain = [Observation.of(one).plain() for one in given]
    return plain if any(plain) else []


def files_of(given: Any) -> list[str]:
    """The files that plain observations name: masks, and kernels of blur."""
    found = (one.get(name) for one in given for name in ("mask", "blur"))
    return [file for file in found if isinstance(file, str)]


def _blur(value: Any) -> float | tuple[float, float] | str | None:
    if value is None:
        return None
    if isinstance(value, str | os.PathLike) and value != "":
        return os.fspath(a_path("blur", value))
    if isinstance(value, Sequence):
        if len(value) != 2:
            raise InputError(f"a motion blur must be given by length and angle, not {short(value)}")
        length, angle = value
        turn = number("the angle of a blur", angle, -360, 360)
        return positive("the length of a blur", length, WIDEST_BLUR), turn
    return number("blur", value, 0, WIDEST_BLUR)


def _noise(value: Any) -> float | NoiseLaw:
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        kind = one_of("kind of noise", value[0], tuple(LAWS))
        first, second = LAWS[kind]
        if not 2 <= len(value) <= (3 if second else 2):
            also = f" and {second}" if second else ""
            raise InputError(f"noise {kind} takes {first}{also}, not {short(value)}")
        numbers = [positive(f"noise {kind}", value[1], 255)]
        numbers += [number(f"noise {kind}", n, 0, 255) for n in value[2:]]
        return (kind, *numbers)
    return 0.0 if value == 0 and not isinstance(value, str) else positive("noise", value, 255)


# For a source in which only noise is estimated, and whose scale follows from the sizes alone.
AS_IT_IS = Observation(scale=1, blur=0, stripes="none", dead=False, frame=False, jpeg=0)
