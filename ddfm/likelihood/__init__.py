"""Likelihoods: proximal steps with memory, one file each. They all share `GradientSolver`."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor

from ddfm.errors import DdfmError, unknown
from ddfm.likelihood.base import Likelihood
from ddfm.likelihood.paper import PaperLikelihood
from ddfm.likelihood.reference import ReferenceLikelihood

__all__ = [
    "LIKELIHOODS",
    "Likelihood",
    "PaperLikelihood",
    "ReferenceLikelihood",
    "make_likelihood",
]

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "paper": PaperLikelihood,
    "reference": ReferenceLikelihood,
}


def make_likelihood(name: str, sources: tuple[Tensor, Tensor], **options: Any) -> Likelihood:
    """The likelihood of this name for a batch of pairs (i, v), infrared first."""
    if name not in LIKELIHOODS:
        raise unknown("likelihood", name, LIKELIHOODS)
    cls = LIKELIHOODS[name]
    known = list(inspect.signature(cls).parameters)[2:]
    for option in options:
        if option not in known:
            raise unknown(f"option of the likelihood {name}", option, known)
    if len(sources) != 2:
        raise DdfmError(f"a likelihood needs two sources, not {len(sources)}")
    return cls(*sources, **options)
