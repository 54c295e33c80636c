"""The names of the samplers, without importing torch."""

from __future__ import annotations

from ddfm.extensions import find_part

__all__ = ["SAMPLERS", "check_sampler"]

SAMPLERS = ("ddim", "ddpm", "dpm-solver")


def check_sampler(name: str) -> str:
    """Returns the name of a sampler, or raises an error that lists all, also of other packages."""
    find_part("sampler", name, dict.fromkeys(SAMPLERS))
    return name
