"""What was corrected in the sources without being asked for, in words.

What is read here may come from the record in a file, which anybody may have written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from ddfm.errors import short

__all__ = ["KINDS", "corrected", "corrections"]

Found = Mapping[str, Any]  # an entry of `Fusion.settings["observed"]`

KINDS = {
    "enlarged": "enlargement",
    "jpeg": "JPEG blocks",
    "dead": "dead pixels",
    "stripes": "stripes",
    "noise": "noise",
    "blur": "blur",
    "frame": "flat frames",
}
_GIVEN = {"enlarged": "scale"}  # arguments of an `Observation` that are called otherwise
_MANY = ("jpeg", "dead", "stripes")  # kinds that are named in the plural
_KEEPS = {  # options; those of the others are --as-is
    "enlarged": "--scale-{} 1",
    "jpeg": "--jpeg-{} 0",
    "stripes": "--stripes-{} none",
    "noise": "--noise-{} 0",
    "blur": "--blur-{} 0",
}


def corrected(observed: Sequence[Found], given: Any = ()) -> list[dict[str, str]]:
    """What was corrected in each source without being asked for, by its kind, in words.

    Args:
        observed: what was found of each source and undone.
        given: the observations that the caller gave, as settings have them.
    """
    known = [one if isinstance(one, Mapping) else {} for one in _listed(given)]
    known += [{}] * len(observed)
    return [
        {
            kind: _words(kind, found[kind])
            for kind in KINDS
            if kind in found and _GIVEN.get(kind, kind) not in known[k]
        }
        for k, found in enumerate(observed)
    ]


def corrections(names: Sequence[str], observed: Sequence[Found], given: Any = ()) -> list[str]:
    """A line for each source in which something was corrected, and which option keeps it.

    Args:
        names: of the sources.
        observed, given: as for `corrected`.
    """
    lines = []
    for number, (name, kinds) in enumerate(zip(names, corrected(observed, given), strict=False)):
        said = [f"{words} ({_kept_by(kind, number, words)})" for kind, words in kinds.items()]
        lines += [f"{name}: {'; '.join(said)}"] if said else []
    return lines


def _kept_by(kind: str, number: int, words: str) -> str:
    """Options are for the first two sources; for a third one, only Python has the noise."""
    if number > 1 and kind == "noise":
        return "Observation(noise=0) keeps it"
    option = _KEEPS.get(kind) if number < 2 else None
    those = "them" if kind in _MANY and not words.startswith("1 ") else "it"
    return f"{option.format('ab'[number]) if option else '--as-is'} keeps {those}"


def _words(kind: str, value: Any) -> str:
    if kind == "enlarged":
        return f"an earlier enlargement by {_number(value)} undone"
    if kind == "jpeg":
        return f"JPEG blocks of quality {_number(value)} removed"
    if kind == "dead":
        return f"{_number(value)} dead pixel{'' if value == 1 else 's'} replaced"
    if kind == "blur":
        return f"a blur of {_number(value)} pixels undone"
    if kind == "frame":
        return "a flat frame around the picture left out"
    if kind == "stripes":
        found = value if isinstance(value, Mapping) else {}
        ways = [way for way in ("columns", "rows") if way in found]
        strengths = [f"{way} of {_number(found[way])} grey levels" for way in ways]
        return f"stripes ({' and '.join(strengths)}) removed"
    return f"{_noise(value)} removed"


def _noise(value: Any) -> str:
    law, *numbers = value if isinstance(value, list | tuple) and value else ("", value)
    first, second = (_number(n) for n in (*numbers, 0, 0)[:2])
    if law == "poisson":
        return f"noise of photons of {first} grey levels each, and {second} of readout,"
    if law == "rician":
        return f"Rician noise of {first} grey levels"
    blurred = f", blurred over {second} pixels," if law == "shared" else ""
    return f"noise of {first} grey levels{blurred}"


def _number(value: Any) -> str:
    with suppress(OverflowError):  # an int may be larger than any float
        if isinstance(value, int | float):
            return f"{value:.3g}"
    return short(value)


def _listed(given: Any) -> Sequence[Any]:
    return given if isinstance(given, list | tuple) else ()
