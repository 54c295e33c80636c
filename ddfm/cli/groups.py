"""Groups of options: what was said of one subject, out of all that was said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import click
from click.core import ParameterSource

__all__ = ["is_said", "refuse", "said_of", "take"]

Group = TypeVar("Group")


def take(kind: type[Group], said: dict[str, Any]) -> Group:
    """The options of a group, a dataclass, which are no longer among the others then."""
    return kind(**{field.name: said.pop(field.name) for field in fields(kind)})  # type: ignore[arg-type]


def said_of(group: Any) -> dict[str, Any]:
    """Options and what was said, for each that was said."""
    values = {field.name: getattr(group, field.name) for field in fields(group)}
    said = {name: value for name, value in values.items() if value not in (None, False, ())}
    return {f"--{name.replace('_', '-')}": value for name, value in said.items()}


def is_said(name: str) -> bool:
    """Whether a parameter of this command was given on the command line, and not by default."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def refuse(said: Mapping[str, Any] | Sequence[str], kind: str) -> None:
    """Refuses options that are for another kind of sources."""
    if said:
        verb = "is" if len(said) == 1 else "are"
        raise click.UsageError(f"{' and '.join(said)} {verb} for {kind}")
