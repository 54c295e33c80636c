"""The option --shard: which part of the work is done, where many processes share it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ddfm.storage.manifest import Shard

__all__ = ["shard_option"]

Command = TypeVar("Command", bound=Callable[..., Any])


def shard_option(what: str) -> Callable[[Command], Command]:
    """The option, with what is said of the parts in the help; its value is a `Shard`, or None."""
    return click.option("--shard", metavar="I/N", callback=_found, help=what)


def _found(_: click.Context, __: click.Parameter, text: str | None) -> Shard | None:
    from ddfm.pipeline.shards import find_shard

    return None if text is None else find_shard(text)
