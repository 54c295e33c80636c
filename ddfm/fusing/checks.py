"""Checks of settings before any work is done, and settings that depend on the prior.

torch is imported only where it is needed, since plans for folders are checked without it.
"""

from __future__ import annotations

import os
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from ddfm.config import FusionConfig, ResolvedConfig, name_of
from ddfm.errors import InputError, unknown
from ddfm.numerics.device import fast_dtype
from ddfm.priors.respacing import timesteps
from ddfm.priors.tile_sizes import check_tile
from ddfm.storage.inputs import existing_file

if TYPE_CHECKING:
    import torch

__all__ = [
    "check_attribution",
    "check_early",
    "check_head",
    "check_number",
    "resolved_for",
    "usual_dtype",
]


def check_early(config: FusionConfig, head: Any) -> None:
    """Refuses settings that are known to be wrong before a prior is loaded."""
    check_head(config, head)
    if config.method == "dmfuse":
        from ddfm.dmfuse.fuse import OVERLAP
        from ddfm.numerics.tone import Tone

        check_tile(config.tile, OVERLAP)
        for name in Tone.others(config.options):
            raise unknown("option of dmfuse", name, [field.name for field in fields(Tone)])
        return
    from ddfm.diffusion.samplers import find_sampler

    find_sampler(config.resolved(config.usual_task).sampler)


def check_head(config: FusionConfig, head: str | os.PathLike[str] | None) -> None:
    """Refuses weights of dmfuse for another method, and a file of them that does not exist."""
    if head is not None and config.method != "dmfuse":
        raise InputError("head (--head) is for method dmfuse; set method (--method dmfuse), too")
    if head is not None:
        existing_file(head)


def check_number(number: int, config: FusionConfig) -> None:
    """Refuses a number of sources that the method or the likelihood does not take."""
    if config.method == "dmfuse" and number != 2:
        raise InputError(f"dmfuse fuses two images, infrared and visible, not {number}")
    if number != 2 and config.likelihood != "default":  # which takes any number
        from ddfm.likelihood import check_source_count

        check_source_count(number, config.likelihood)
    if config.balance and number != 2:
        raise InputError(f"balance (--balance) is between two sources, not {number}")


def check_attribution(config: FusionConfig) -> None:
    """Refuses methods and likelihoods that cannot attribute their result to sources."""
    from ddfm.likelihood import Likelihood, find_likelihood

    knows = getattr(find_likelihood(config.likelihood), "attribution", Likelihood.attribution)
    if config.method == "dmfuse" or knows is Likelihood.attribution:
        name = config.method if config.method == "dmfuse" else name_of(config.likelihood)
        raise InputError(f"{name} has no attribution: it cannot trace its result to the sources")


def resolved_for(config: FusionConfig, task: str, length: int) -> ResolvedConfig:
    """The resolved configuration for a task, checked for a prior with `length` timesteps."""
    full = config.resolved(task)
    if config.method == "dmfuse":
        return full
    if full.start is not None and not 0 <= full.start < length:
        raise InputError(f"start must be a timestep from 0 to {length - 1}, not {full.start}")
    available = length if full.start is None else full.start + 1
    if config.steps is None and isinstance(full.steps, int):
        full = replace(full, steps=min(full.steps, available))
    timesteps(available, full.steps)
    return full


def usual_dtype(config: FusionConfig, device: torch.device) -> torch.dtype:
    """The fast dtype for a loop with a warm start; else float32, as rounding would be visible."""
    import torch

    late = config.resolved(config.usual_task).start is not None
    return fast_dtype(device) if late and config.method == "ddfm" else torch.float32
