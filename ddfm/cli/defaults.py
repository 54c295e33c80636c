"""Defaults of options that users set once, in a file `ddfm.toml` or in the environment.

    [fuse]
    task = "medical"
    overlay = "iron"

stands for `ddfm fuse --task medical --overlay iron`. The file lies in the folder where ddfm is
started, or $DDFM_CONFIG holds its path. In the environment, every option has the name
DDFM_COMMAND_OPTION (DDFM_FUSE_TASK). The command line overrides the environment, which overrides
the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ddfm.errors import InputError, short, unknown, warn

__all__ = ["PREFIX", "defaults_file", "read_defaults"]

NAME = "ddfm.toml"
PREFIX = "DDFM"  # of variables
OWN = {"volume": {"task": "medical"}}  # unlike images, volumes are medical unless specified


def read_defaults(group: click.Group) -> dict[str, dict[str, Any]]:
    """The defaults of each command of a group: {command: {parameter: value}}."""
    _check_environment(group)
    path = defaults_file()
    if "DDFM_CONFIG" not in os.environ and not path.is_file():
        return OWN
    from ddfm.storage.inputs import toml_table

    tables = toml_table(path)
    read = {name: _options(group, name, table, path) for name, table in tables.items()}
    return {name: OWN.get(name, {}) | read.get(name, {}) for name in (*OWN, *read)}


def defaults_file() -> Path:
    """The file of defaults, which need not exist."""
    return Path(os.environ.get("DDFM_CONFIG") or NAME)


def _check_environment(group: click.Group) -> None:
    """Warns of variables that are like those of a command, but set none of its options."""
    for name, command in group.commands.items():
        start = f"{PREFIX}_{name}_".replace("-", "_").upper()
        known = set(_variables(command, start))
        for variable in os.environ:
            if variable.startswith(start) and variable not in known:
                word = f"ignored: {unknown('variable', variable, known)}"
                warn(word)


def _variables(command: click.Command, start: str) -> Iterator[str]:
    """The variables that set options of a command, and of those below it."""
    yield from (f"{start}{parameter.name}".upper() for parameter in command.params)
    for name, below in getattr(command, "commands", {}).items():
        yield from _variables(below, f"{start}{name}_".replace("-", "_").upper())


def _options(group: click.Group, name: str, table: Any, path: Path) -> dict[str, Any]:
    """The options in the table of one command, by the names of its parameters."""
    command = group.commands.get(name)
    if command is None:
        raise InputError(f"{path}: {unknown('command', name, group.commands)}")
    if not isinstance(table, dict):
        raise InputError(f"{path}: [{name}] must be a table of options, such as task = 'medical'")
    known = {
        spelling.lstrip("-"): parameter.name
        for parameter in command.params
        for spelling in parameter.opts
        if spelling.startswith("--")
    }
    for option in table:
        if option not in known:
            raise InputError(f"{path}: {unknown(f'option of {name}', option, known)}")
    several = {parameter.name for parameter in command.params if parameter.multiple}
    named = {str(known[option]): value for option, value in table.items()}
    made = {k: [v] if k in several and isinstance(v, str) else v for k, v in named.items()}
    for parameter in command.params:
        if parameter.name in made:
            _check_kind(command, parameter, made[parameter.name], f"{path}: [{name}]")
    return made


def _check_kind(command: click.Command, parameter: click.Parameter, value: Any, where: str) -> None:
    """Raises if a value is of a kind, such as a list, that its option cannot be made from."""
    try:
        parameter.type_cast_value(click.Context(command), value)
    except click.ClickException:
        return  # click reports it if the command is used
    except (AttributeError, OverflowError, TypeError, ValueError):
        option, flag = parameter.opts[0].lstrip("-"), getattr(parameter, "is_flag", False)
        way = "true or false" if flag else "the value as on the command line, in quotes"
        raise InputError(f"{where} {option} = {short(value)}: write {way}") from None
