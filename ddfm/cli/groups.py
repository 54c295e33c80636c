"""Groups of options: those of one subject, taken out of all options of a command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import click
from click.core import ParameterSource

__all__ = ["is_said", "refuse", "said_of", "take"]

Group = TypeVar("Group")


def take(kind: type[Group], said: dict[str, Any]) -> Group:
    """Remove the options of a group, a dataclass, from all options, and return the group."""
    return kind(**{field.name: said.pop(field.name) for field in fields(kind)})  # type: ignore[arg-type]


def said_of(group: Any) -> dict[str, Any]:
    """The options of a group that are set, with their values: {"--dry-run": True}."""
    values = {field.name: getattr(group, field.name) for field in fields(group)}
    said = {name: value for name, value in values.items() if value not in (None, False, ())}
    return {f"--{name.replace('_', '-')}": value for name, value in said.items()}


def is_said(name: str) -> bool:
    """Whether a parameter of this command was given on the command line, not set by a default."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def refuse(said: Mapping[str, Any] | Sequence[str], kind: str) -> None:
    """Refuses options that apply only to another `kind` of sources."""
    if said:
        verb = "is" if len(said) == 1 else "are"
        raise click.UsageError(f"{' and '.join(said)} {verb} for {kind}")
