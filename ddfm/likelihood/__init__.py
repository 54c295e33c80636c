"""Likelihoods: proximal steps with memory, one file each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from ddfm.errors import InputError, unknown
from ddfm.extensions import find_part
from ddfm.likelihood.base import Likelihood
from ddfm.likelihood.evidence import EvidenceLikelihood
from ddfm.likelihood.paper import PaperLikelihood
from ddfm.likelihood.reference import ReferenceLikelihood

__all__ = [
    "LIKELIHOODS",
    "EvidenceLikelihood",
    "Likelihood",
    "PaperLikelihood",
    "ReferenceLikelihood",
    "check_source_count",
    "find_likelihood",
    "make_likelihood",
]

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "default": EvidenceLikelihood,
    "paper": PaperLikelihood,
    "reference": ReferenceLikelihood,
}


def find_likelihood(likelihood: str | Callable[..., Any]) -> Callable[..., Any]:
    """What makes a likelihood: ours or another package's by its name, or the caller's own."""
    if isinstance(likelihood, str):
        return find_part("likelihood", likelihood, LIKELIHOODS)
    return likelihood


def make_likelihood(
    likelihood: str | Callable[..., Any], sources: Sequence[Tensor], **options: Any
) -> Likelihood:
    """A likelihood for a batch of pairs (or more sources), infrared first."""
    check_source_count(len(sources), likelihood)
    make = find_likelihood(likelihood)
    name = _name(likelihood)
    parameters = inspect.signature(make).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise unknown(f"option of the likelihood {name}", option, known)
    made = make(*sources, **options)
    if not isinstance(made, Likelihood):
        raise InputError(
            f"the likelihood {name} made a {type(made).__name__}; it must be a ddfm.Likelihood"
        )
    return made


def check_source_count(number: int, likelihood: str | Callable[..., Any]) -> None:
    """Refuses more sources than the likelihood takes."""
    make = find_likelihood(likelihood)
    parameters = inspect.signature(make).parameters.values()
    if number != 2 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise InputError(f"the likelihood {_name(likelihood)} needs two sources, not {number}")


def _name(likelihood: str | Callable[..., Any]) -> str:
    if isinstance(likelihood, str):
        return likelihood
    return str(getattr(likelihood, "__name__", likelihood))
