"""Likelihoods: proximal steps with memory, one file each."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ddfm.errors import DdfmError, unknown
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
    "make_likelihood",
]

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "default": EvidenceLikelihood,
    "paper": PaperLikelihood,
    "reference": ReferenceLikelihood,
}


def make_likelihood(name: str, sources: Sequence[Tensor], **options: Any) -> Likelihood:
    """The likelihood of this name for a batch of pairs (or more sources), infrared first."""
    check_source_count(len(sources), name)
    cls = LIKELIHOODS[name]
    parameters = inspect.signature(cls).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise unknown(f"option of the likelihood {name}", option, known)
    return cls(*sources, **options)


def check_source_count(number: int, name: str) -> None:
    """Refuses more sources than the likelihood of this name takes."""
    if name not in LIKELIHOODS:
        raise unknown("likelihood", name, LIKELIHOODS)
    parameters = inspect.signature(LIKELIHOODS[name]).parameters.values()
    if number != 2 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise DdfmError(f"the likelihood {name} needs two sources, not {number}")
