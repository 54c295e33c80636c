"""The names of the samplers, without importing torch."""

from __future__ import annotations

from ddfm.extensions import find_part

__all__ = ["SAMPLERS", "check_sampler"]

SAMPLERS = ("ddim", "ddpm", "dpm-solver")


def check_sampler(name: str) -> None:
    """Raises an error that lists all samplers, also of other packages, if this is none."""
    find_part("sampler", name, dict.fromkeys(SAMPLERS))
