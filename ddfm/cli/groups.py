"""Groups of options: those of one subject, taken out of all options of a command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import click
from click.core import ParameterSource

__all__ = ["given_in", "is_given", "refuse", "take"]

Group = TypeVar("Group")


def take(kind: type[Group], options: dict[str, Any]) -> Group:
    """Remove the options of a group, a dataclass, from all options, and return the group."""
    return kind(**{field.name: options.pop(field.name) for field in fields(kind)})  # type: ignore[arg-type]


def given_in(group: Any) -> dict[str, Any]:
    """The options of a group that are set, with their values: {"--dry-run": True}."""
    values = {field.name: getattr(group, field.name) for field in fields(group)}
    given = {name: value for name, value in values.items() if value not in (None, False, ())}
    return {f"--{name.replace('_', '-')}": value for name, value in given.items()}


def is_given(name: str) -> bool:
    """Whether a parameter of this command was given on the command line, not set by a default."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def refuse(options: Mapping[str, Any] | Sequence[str], kind: str) -> None:
    """Refuses options that apply only to another `kind` of sources."""
    if options:
        verb = "is" if len(options) == 1 else "are"
        raise click.UsageError(f"{' and '.join(options)} {verb} for {kind}")
