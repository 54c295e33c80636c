"""Priors: denoisers with a noise schedule, and where they come from."""

from __future__ import annotations

from ddfm.priors.load import load_prior
from ddfm.priors.prior import Prior

__all__ = ["Prior", "load_prior"]
