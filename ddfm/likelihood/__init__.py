"""The likelihoods, one file each, and how they are made by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from ddfm.arguments import check_known
from ddfm.errors import InputError
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
    """The class or function that makes a likelihood, found by name or passed by the caller.

    A name may be one of ours or one that another package provides.
    """
    if isinstance(likelihood, str):
        return find_part("likelihood", likelihood, LIKELIHOODS)
    return likelihood


def make_likelihood(
    likelihood: str | Callable[..., Any], sources: Sequence[Tensor], **options: Any
) -> Likelihood:
    """A likelihood for a batch of pairs, or of more sources; infrared comes first."""
    check_source_count(len(sources), likelihood)
    name = _name(likelihood)
    known = [p.name for p in _parameters(likelihood) if p.kind is p.KEYWORD_ONLY]
    check_known(f"option of the likelihood {name}", options, known)
    made = find_likelihood(likelihood)(*sources, **options)
    if not isinstance(made, Likelihood):
        raise InputError(
            f"the likelihood {name} made a {type(made).__name__}; it must be a ddfm.Likelihood"
        )
    return made


def check_source_count(number: int, likelihood: str | Callable[..., Any]) -> None:
    """Raises InputError if the likelihood does not take this number of sources."""
    parameters = _parameters(likelihood)
    if number != 2 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise InputError(f"the likelihood {_name(likelihood)} needs two sources, not {number}")


def _parameters(likelihood: str | Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of what makes a likelihood; raises if it cannot make any."""
    make = find_likelihood(likelihood)
    if missing := sorted(getattr(make, "__abstractmethods__", ())):
        raise InputError(
            f"the likelihood {_name(likelihood)} does not define {', '.join(missing)}; subclasses "
            "of ddfm.Likelihood do"
        )
    if isinstance(make, type) and not issubclass(make, Likelihood):
        raise InputError(f"the likelihood {_name(likelihood)} is no subclass of ddfm.Likelihood")
    return list(inspect.signature(make).parameters.values())


def _name(likelihood: str | Callable[..., Any]) -> str:
    if isinstance(likelihood, str):
        return likelihood
    return str(getattr(likelihood, "__name__", likelihood))
