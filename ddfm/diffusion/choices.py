"""What can be chosen about the loop, by name. Nothing heavy is imported."""

from __future__ import annotations

from ddfm.extensions import find_part

__all__ = ["SAMPLERS", "check_sampler"]

SAMPLERS = ("ddim", "ddpm", "dpm-solver")


def check_sampler(name: str) -> str:
    """The name itself, or an error that says which samplers there are, other packages' included."""
    find_part("sampler", name, dict.fromkeys(SAMPLERS))
    return name
