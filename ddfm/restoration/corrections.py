"""What was corrected in the sources without being asked for, in words.

What is read here may come from the record in a file, which anybody may have written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from statistics import median, median_high
from typing import Any

from ddfm.errors import short

__all__ = ["KINDS", "corrected", "corrections", "summed_up"]

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
_MOST = 1e9  # numbers beyond this are not from ddfm
_MANY = ("jpeg", "dead", "stripes")  # kinds that are named in the plural
_KEEPS = {  # options; those of the others are --as-is
    "enlarged": "--scale-{} 1",
    "jpeg": "--jpeg-{} 0",
    "stripes": "--stripes-{} none",
    "noise": "--noise-{} 0",
    "blur": "--blur-{} 0",
}


def summed_up(many: Iterable[Any], unit: str) -> list[dict[str, Any]]:
    """What was found in the sources of a film or a volume: for each source, medians of all frames.

    "in" holds how often each kind was found, "of" the number of frames or slices.

    Args:
        many: what was found in each frame or slice: an entry for each source, or nothing.
        unit: "frames" or "slices"; or "parts" of a film, from the medians of each.
    """
    rows = [_listed(observed) for observed in many]
    by_source = zip_longest(*rows)
    done = [_of_all([one for one in found if isinstance(one, Mapping)]) for found in by_source]
    about = {"of": len(rows), "unit": unit}
    return [entry | about if entry else {} for entry in done] if any(done) else []


def _of_all(found: Sequence[Found]) -> dict[str, Any]:
    """What is typical of a source, and how often each kind was found."""
    values = {kind: [one[kind] for one in found if kind in one] for kind in KINDS}
    values = {kind: some for kind, some in values.items() if some}
    typical = {kind: _typical(some) for kind, some in values.items()}
    return typical | {"in": {kind: len(some) for kind, some in values.items()}} if values else {}


def _typical(values: Sequence[Any]) -> Any:
    """The median of numbers and of each entry of mappings; of named values, the most frequent."""
    if mappings := [value for value in values if isinstance(value, Mapping)]:
        names = dict.fromkeys(name for one in mappings for name in one)
        return {name: _median([one[name] for one in mappings if name in one]) for name in names}
    known = [_with_name(value) for value in values]
    ((name, _),) = Counter(one[0] for one in known).most_common(1)
    numbers = [*map(_median, zip_longest(*(one[1:] for one in known if one[0] == name)))]
    found = [name, *numbers] if name else numbers
    return found if len(found) > 1 else next(iter(found), 0)


def _with_name(value: Any) -> tuple[Any, ...]:
    """The name of a law of noise or of a file, empty for plain numbers, and the numbers."""
    parts = tuple(value) if isinstance(value, list | tuple) else (value,)
    return parts if parts and isinstance(parts[0], str) else ("", *parts)


def _median(values: Iterable[Any]) -> float:
    known = [v for v in values if isinstance(v, int | float) and abs(v) < _MOST]
    middle = median if any(isinstance(v, float) for v in known) else median_high  # a whole count
    return round(middle(known), 3) if known else 0


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
            kind: _words(kind, found[kind]) + _in_how_many(kind, found)
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
        typical = "median; " if "in" in observed[number] else ""
        said = [
            f"{words} ({'' if kind == 'frame' else typical}{_kept_by(kind, number, words)})"
            for kind, words in kinds.items()
        ]
        lines += [f"{name}: {'; '.join(said)}"] if said else []
    return lines


def _in_how_many(kind: str, found: Found) -> str:
    """In how many frames, slices or parts this was found, if there are several."""
    counts, unit = found.get("in"), found.get("unit")
    if not isinstance(counts, Mapping) or unit not in ("frames", "slices", "parts"):
        return ""
    return f" in {_number(counts.get(kind))} of {_number(found.get('of'))} {unit}"


def _kept_by(kind: str, number: int, words: str) -> str:
    """Options are for the first two sources; Python has the others, too."""
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
