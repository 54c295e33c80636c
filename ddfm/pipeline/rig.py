"""One transform of each source for all pairs or stacks of a rig, estimated from some of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ddfm.fuser import Fuser
from ddfm.imaging.sources import read_sources
from ddfm.registration.register import SAMPLE, common_of, motion_of
from ddfm.registration.transform import Transform

__all__ = ["aligned_once", "common_motion", "spread"]


def aligned_once(fuser: Fuser, groups: Iterable[Sequence[Any]], number: int = 2) -> Fuser:
    """A fuser that aligns every group of sources by the transforms that these have in common.

    Args:
        number: how many sources each group has.
    """
    config = fuser.config
    # Two lenses of one camera differ by no more than a similarity. "auto" would leave single pairs
    # unaligned that are nearly registered.
    model = "similarity" if config.align == "once" else config.align
    pictures = (read_sources(group, alike=False) for group in groups)
    found = common_of(pictures, model, config.reference(number))
    # A single transform moves the first of two sources onto the second.
    alone = number == 2 and found[1] is None
    return fuser.with_config(transform=found[0] if alone else found)


def common_motion(fuser: Fuser) -> list[str]:
    """How the transforms that a fuser has found for all move each source: a line for each."""
    transform = fuser.config.found_transform()
    if transform is None or fuser.config.align == "none":
        return []
    of_each = [transform, None] if isinstance(transform, Transform) else transform
    onto = of_each.index(None)
    return [
        f"source {k + 1}: aligned to source {onto + 1} by one transform for all ({motion_of(one)})"
        for k, one in enumerate(of_each)
        if one is not None
    ]


def spread(items: Sequence[Any]) -> list[Any]:
    """An evenly spaced sample of these, enough to estimate what they have in common."""
    step = max(1, len(items) // SAMPLE)
    return list(items[::step][:SAMPLE])
