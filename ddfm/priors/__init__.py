"""Priors: denoisers with a noise schedule, and where they come from."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddfm.priors.load import load_prior
    from ddfm.priors.prior import Prior

__all__ = ["Prior", "load_prior"]

_FILES = {"Prior": "ddfm.priors.prior", "load_prior": "ddfm.priors.load"}


def __getattr__(name: str) -> Any:
    """Import on first use, so that the catalogue of priors can be read without torch."""
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_FILES[name]), name)
