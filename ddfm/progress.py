"""Progress bars: one on a terminal, none in a pipe, unless the caller says which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["progress_bar"]


def progress_bar(progress: bool | None, /, *args: Any, **kwargs: Any) -> tqdm[Any]:
    """A bar of tqdm, whose arguments follow; it is gone when it is done.

    Args:
        progress: whether it shows; None for a terminal only.
    """
    from tqdm import tqdm

    kwargs = {"leave": False, "disable": None if progress is None else not progress} | kwargs
    return tqdm(*args, **kwargs)
