"""What is known of a source: y = A x + n, and where it is valid.

Nothing heavy is imported, for configurations hold observations, and the command line makes them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ddfm.arguments import flag, number, one_of, positive, text, whole_number
from ddfm.errors import InputError, short

__all__ = [
    "AS_IT_IS",
    "STRIPES",
    "NoiseLaw",
    "Observation",
    "observation_of_each",
    "plain_observations",
]

STRIPES = ("auto", "none", "columns", "rows")
LARGEST_SCALE = 64
WIDEST_BLUR = 50  # pixels
# What each kind of noise is given, and what may follow.
LAWS = {
    "rician": ("its deviation", ""),
    "poisson": ("the levels of one photon", "the deviation of what is added"),
    "shared": ("its deviation", "how many pixels wide it is"),
}

NoiseLaw = tuple[Any, ...]  # a name of `LAWS`, and one number or two


@dataclass(frozen=True)
class Observation:
    """How a source came about. What is None, or "auto", is estimated from the picture.

    Attributes:
        scale: how many pixels of the result a pixel of the source covers, in each direction; of a
            picture that was enlarged before, by how much. 1 is no enlargement; None follows from
            the sizes, and from an earlier enlargement if one is found for certain.
        blur: in pixels of the source: the standard deviation of a Gaussian; length and angle
            (degrees, up from the row) of a motion; or a picture file of the kernel. It is never
            estimated: a blur and a smooth scene look alike.
        noise: standard deviation in levels of 255. If it is given, it is removed, however small.
            Noise that depends on the level is ("rician", deviation), of the magnitude of an MRI, or
            ("poisson", levels of one photon, deviation of added noise), of low light and PET.
            Noise that is correlated between neighbours is ("shared", deviation, deviation in pixels
            of the Gaussian that it was blurred by, by default 0.8).
        stripes: of the sensor: "columns", "rows", "none", or "auto".
        dead: whether isolated pixels that stand out are dead or hot, and are replaced.
        frame: whether the picture is surrounded by a rim of one level. This is not looked for in
            medical pictures, where a body in air looks the same.
        mask: a picture file, white where the source is valid.
        jpeg: the quality (1 to 100) it was compressed with, which is undone; 0 is none.
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
                raise InputError("scale is 1 or more: a result is as fine as its sources, or finer")
        if self.noise is not None:
            checked["noise"] = _noise(self.noise)
        for name in ("dead", "frame"):
            if getattr(self, name) is not None:
                checked[name] = flag(name, getattr(self, name))
        if self.mask is not None:
            checked["mask"] = text("mask", os.fspath(self.mask))
        if self.jpeg is not None:
            checked["jpeg"] = whole_number("jpeg", self.jpeg, " from 1 to 100")
            if not 0 <= checked["jpeg"] <= 100:
                raise InputError(f"jpeg must be a quality from 1 to 100, not {self.jpeg}")
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # how a frozen dataclass is finished

    def plain(self) -> dict[str, Any]:
        """Ready for JSON: what differs from the defaults."""
        said = {f.name: getattr(self, f.name) for f in fields(self)}
        usual = {f.name: f.default for f in fields(self)}
        said = {name: value for name, value in said.items() if value != usual[name]}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in said.items()}

    @classmethod
    def of(cls, given: Any) -> Observation:
        """From whatever stands for one: itself, a dictionary, or None."""
        if given is None:
            return cls()
        if isinstance(given, cls):
            return given
        if not isinstance(given, Mapping):
            raise InputError(
                f"an observation is an Observation or a dictionary, not {short(given)}"
            )
        known = [f.name for f in fields(cls)]
        for name in given:
            one_of("of an observation", name, known)
        return cls(**given)


def observation_of_each(given: Sequence[Any], number: int) -> list[Observation]:
    """One for each of so many sources; fewer may be given, and those left open are empty."""
    if len(given) > number:
        raise InputError(f"{len(given)} observations are of {number} sources")
    said = [Observation.of(one) for one in given]
    return said + [Observation()] * (number - len(said))


def plain_observations(given: Any) -> list[dict[str, Any]]:
    """Ready for JSON, of one observation per source."""
    if given is None:
        return []
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Sequence):
        raise InputError(
            f"observations are several, one for each source or None, not {short(given)}"
        )
    plain = [Observation.of(one).plain() for one in given]
    return plain if any(plain) else []


def _blur(value: Any) -> float | tuple[float, float] | str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, os.PathLike):
        return text("blur", os.fspath(value))
    if isinstance(value, Sequence):
        if len(value) != 2:
            raise InputError(f"a blur by motion is length and angle, not {short(value)}")
        length, angle = value
        return positive("the length of a blur", length, WIDEST_BLUR), float(angle)
    return positive("blur", value, WIDEST_BLUR)


def _noise(value: Any) -> float | NoiseLaw:
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        kind = one_of("kind of noise", value[0], tuple(LAWS))
        first, second = LAWS[kind]
        if not 2 <= len(value) <= (3 if second else 2):
            also = f" and {second}" if second else ""
            raise InputError(f"noise {kind} is given {first}{also}, not {short(value)}")
        numbers = [positive(f"noise {kind}", value[1], 255)]
        numbers += [number(f"noise {kind}", n, 0, 255) for n in value[2:]]
        return (kind, *numbers)
    return 0.0 if value == 0 and not isinstance(value, str) else positive("noise", value, 255)


# Of a source in which only noise, and the scale that sizes say, are looked for.
AS_IT_IS = Observation(scale=1, stripes="none", dead=False, frame=False, jpeg=0)
