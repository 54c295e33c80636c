"""Parts from other packages, by the entry points `ddfm.likelihoods`, `ddfm.samplers`, ...

A package with these lines in its metadata

    [project.entry-points."ddfm.likelihoods"]
    poisson = "their_package.poisson:PoissonLikelihood"

makes `likelihood="poisson"` work, in Python and on the command line. Its code is imported only when
the name is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ddfm.errors import InputError, unknown

__all__ = ["brought", "find_part"]


def find_part(kind: str, name: str, ours: Mapping[str, Any]) -> Any:
    """The part of this kind and name; ours take precedence.

    The kinds are "likelihood", "sampler", "prior" and "metric".
    """
    if name in ours:
        return ours[name]
    others = brought(kind)
    if name not in others:
        raise unknown(kind, name, [*ours, *others])
    try:
        return others[name].load()
    except Exception as error:
        where = others[name].value
        raise InputError(f"the {kind} {name} ({where}) cannot be imported: {error}") from error


def brought(kind: str) -> dict[str, EntryPoint]:
    """The parts of a kind that installed packages provide, by name."""
    return {entry.name: entry for entry in entry_points(group=f"ddfm.{kind}s")}
