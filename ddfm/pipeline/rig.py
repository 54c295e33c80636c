"""One transform for all pairs of a camera, estimated from some of them together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ddfm.fuser import Fuser
from ddfm.imaging.sources import read_sources
from ddfm.registration.pictures import SAMPLE, common_of

__all__ = ["aligned_once", "spread"]


def aligned_once(fuser: Fuser, groups: Iterable[Sequence[Any]]) -> Fuser:
    """A fuser that aligns every pair by the transform that these pairs have in common."""
    config = fuser.config
    # Two lenses of one camera differ by no more than a similarity. "auto" would leave single pairs
    # unaligned that are nearly registered.
    model = "similarity" if config.align == "once" else config.align
    pairs = (read_sources(group, alike=False) for group in groups)
    reference = config.reference(2)
    common = common_of(pairs, model, reference)
    return fuser.with_config(align="none", transform=common if reference else [None, common])


def spread(items: Sequence[Any]) -> list[Any]:
    """An evenly spaced sample of these, enough to estimate what they have in common."""
    step = max(1, len(items) // SAMPLE)
    return list(items[::step][:SAMPLE])
