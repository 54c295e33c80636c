"""One transform for all pairs of a camera: found from some of them together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ddfm.fuser import Fuser
from ddfm.imaging.sources import read_sources
from ddfm.registration.pictures import SAMPLE, common_of

__all__ = ["aligned_once", "spread"]


def aligned_once(fuser: Fuser, groups: Iterable[Sequence[Any]]) -> Fuser:
    """A fuser that lays every pair by the transform that these pairs have in common."""
    config = fuser.config
    # Two lenses of one camera differ by no more; "auto" leaves single pairs that are nearly right.
    model = "similarity" if config.align == "once" else config.align
    pairs = (read_sources(group, alike=False) for group in groups)
    common = common_of(pairs, model, config.reference(2))
    return fuser.with_config(align="none", transform=common)


def spread(items: Sequence[Any]) -> list[Any]:
    """As many of these as say what they have in common, evenly spread."""
    step = max(1, len(items) // SAMPLE)
    return list(items[::step][:SAMPLE])
