"""Whether a progress bar is shown."""

from __future__ import annotations

__all__ = ["hidden"]


def hidden(progress: bool | None) -> bool | None:
    """tqdm's `disable`. progress is None for a bar on a terminal, and none in a pipe."""
    return None if progress is None else not progress
