"""Options that are two numbers or a word: --range-a LOW HIGH, --range-a full."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ddfm.cli.writing import WritingCommand

__all__ = ["RangeCommand", "range_options"]

NAMES = ("--range-a", "--range-b")


class RangeCommand(WritingCommand):
    """A command that takes one or two words behind these options, as click itself cannot."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        joined: list[str] = []
        rest = iter(args)
        for word in rest:
            joined.append(word)
            if word in NAMES:
                first = next(rest, None)
                second = next(rest, None) if first is not None and _is_number(first) else None
                joined += [" ".join(part for part in (first, second) if part is not None)]
        return super().parse_args(ctx, joined)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _parsed(_: click.Context, option: click.Parameter, value: str | None) -> Any:
    if value is None or value in ("full", "auto"):
        return value
    parts = value.replace(",", " ").split()
    if len(parts) == 2 and all(map(_is_number, parts)):
        return float(parts[0]), float(parts[1])
    raise click.UsageError(f"{option.opts[0]} takes LOW HIGH, full or auto, not {value!r}")


def range_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--range-a and --range-b."""
    helps = (
        "What is black and white in A, in its own values, such as 7000 9000; full is all of its "
        "depth.  [default: auto; of 16 bits that use less than a fifth, that part]",
        "Of B, as --range-a.",
    )
    for name, text in reversed(list(zip(NAMES, helps, strict=True))):
        option = click.option(name, metavar="LOW HIGH|full|auto", callback=_parsed, help=text)
        command = option(command)
    return command
