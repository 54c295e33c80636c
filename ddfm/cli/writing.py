"""Commands that write files, and never write to their inputs.

A command that writes is a `WritingCommand`, and each of its options that names an output has the
type `OutputPath`. Every other path that it is given is protected; files that ddfm did not write
are replaced only with `--overwrite`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ddfm.cli.sections import write_options
from ddfm.cli.status import clear_status
from ddfm.errors import StorageError, printable
from ddfm.storage.ours import overwriting, protecting

__all__ = ["DashOrPath", "OutputPath", "WritingCommand", "say", "say_done"]


class DashOrPath(click.Path):
    """A path, or a dash for standard input or output; `./-` is a file of that name."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        path = super().convert(value, param, ctx)
        # A relative path would lose its "./".
        return path.absolute() if path == Path("-") and str(value) != "-" else path


class OutputPath(DashOrPath):
    """The path of a file or folder that the command writes; a dash may be standard output."""

    def __init__(self, dash: bool = False) -> None:
        super().__init__()
        self.dash = dash

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if str(value) == "-" and not self.dash:
            self.fail("standard output (-) is for an image by ddfm fuse; name a file", param, ctx)
        return super().convert(value, param, ctx)


class WritingCommand(click.Command):
    """A command that changes neither its inputs nor files that ddfm did not write."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--overwrite"],
                is_flag=True,
                help="Also replace files that ddfm did not write; sources are never replaced.",
            )
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_options(self, ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        self._check_apart(ctx)
        allowed = ctx.params.pop("overwrite")
        with overwriting(allowed), protecting(*self._given(ctx)):
            return super().invoke(ctx)

    def _check_apart(self, ctx: click.Context) -> None:
        """Refuses two outputs in one file, of which the last would remain.

        Folders, whose names have no suffix, may hold several kinds of output.
        """
        named: dict[Path, str] = {}
        for parameter in self.params:
            path = ctx.params.get(parameter.name or "")
            if not isinstance(parameter.type, OutputPath) or path is None or not path.suffix:
                continue
            other = named.setdefault(_place(path), parameter.opts[-1])
            if other != parameter.opts[-1]:
                raise click.UsageError(
                    f"{other} and {parameter.opts[-1]} name the same file, {path}; name one for "
                    "each"
                )

    def _given(self, ctx: click.Context) -> Iterator[Any]:
        """The values of all parameters that may be paths of inputs, and the files in folders."""
        values: dict[bool, list[Any]] = {True: [], False: []}
        for parameter in self.params:
            value = ctx.params.get(parameter.name or "")
            several = value if isinstance(value, tuple) else (value,)
            values[isinstance(parameter.type, OutputPath)] += several
        written = {_place(value) for value in values[True] if value is not None}
        for value in values[False]:
            yield value
            # An output folder that is also a source may hold results of an earlier run.
            if isinstance(value, Path) and value.is_dir() and value.resolve() not in written:
                yield from value.iterdir()


def _place(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError:  # Python before 3.13
        raise StorageError(f"cannot write {path}: it is a link that leads back to itself") from None


def say(message: object, *, err: bool = False) -> None:
    """Prints a line, and makes control characters from file names or servers visible."""
    clear_status()
    click.echo(printable(message), err=err)


def say_done(output: Path, size: str, seconds: float) -> None:
    """Prints a last line about a result on a terminal, with the time taken."""
    if sys.stderr.isatty():
        say(f"{output}: {size}, {seconds:.1f} s", err=True)
