"""Options for reading image files: which values are black and white, pages, temperatures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ddfm.cli.groups import given_in, refuse
from ddfm.cli.options import all_of
from ddfm.cli.writing import WritingCommand
from ddfm.errors import InputError

if TYPE_CHECKING:
    from ddfm.imaging.metadata.record import Record
    from ddfm.imaging.opening import Opening

__all__ = [
    "FOR_FILMS",
    "RANGES",
    "FileOptions",
    "RangeCommand",
    "celsius_option",
    "opening_options",
    "range_options",
]

Levels = tuple[float, float]

RANGES = ("--range-a", "--range-b")
FOR_FILMS = (*RANGES, "--celsius")
# Options that take two numbers or one of these words.
_WORDS = {**dict.fromkeys(RANGES, ("full", "auto")), "--celsius": ("camera",)}


class RangeCommand(WritingCommand):
    """A command whose options of `_WORDS` take one word or two numbers, which click cannot."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self.joined(args))

    @staticmethod
    def joined(args: list[str]) -> list[str]:
        """The words of a command line, with the two numbers after an option joined into one."""
        joined: list[str] = []
        rest = iter(args)
        for word in rest:
            joined.append(word)
            if word in _WORDS:
                first = next(rest, None)
                second = next(rest, None) if first is not None and _is_number(first) else None
                joined += [" ".join(part for part in (first, second) if part is not None)]
        return joined


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _parsed(_: click.Context, option: click.Parameter, value: str | None) -> Any:
    name = option.opts[0]
    if value is None or value in _WORDS[name]:
        return value
    parts = value.strip("[]()").replace(",", " ").split()
    if len(parts) == 2 and all(map(_is_number, parts)):
        return float(parts[0]), float(parts[1])
    *others, last = ("LOW HIGH", *_WORDS[name])
    raise click.UsageError(f"{name} takes {', '.join(others)} or {last}, not {value!r}")


range_options = all_of(
    click.option(
        "--range-a",
        metavar="LOW HIGH|full|auto",
        callback=_parsed,
        help="The values of A that become black and white, such as 7000 9000; full: the whole "
        "range of its bit depth; auto: the whole range, or, if a 16-bit image uses less than a "
        "fifth of it, the part in use.  [default: auto]",
    ),
    click.option(
        "--range-b", metavar="LOW HIGH|full|auto", callback=_parsed, help="As --range-a, for B."
    ),
)
celsius_option = click.option(
    "--celsius",
    metavar="LOW HIGH|camera",
    callback=_parsed,
    help="FLIR, InfiRay: the temperatures in degrees Celsius that become black and white, or "
    "camera: those a FLIR camera was set to.  [default: by --percentiles]",
)
opening_options = all_of(
    range_options,
    click.option(
        "--page",
        type=int,
        metavar="NUMBER",
        help="The image to read, counted from 0, in files that hold several (TIFF, GIF, animated "
        "PNG and WebP, AVIF, HEIC).  [default: the first]",
    ),
    celsius_option,
    click.option(
        "--percentiles",
        nargs=2,
        type=float,
        metavar="LOW HIGH",
        help="FLIR, InfiRay, DJI: instead of --celsius, the percentages of pixels that are colder "
        "than black and than white.  [default: 1 99]",
    ),
    click.option(
        "--grid",
        metavar="visible|thermal",
        help="FLIR, InfiRay: the image whose pixel grid the result has.  [default: visible]",
    ),
)


@dataclass(frozen=True)
class FileOptions:
    """The values of these options."""

    range_a: str | Levels | None
    range_b: str | Levels | None
    page: int | None
    celsius: str | Levels | None
    percentiles: Levels | None
    grid: str | None

    def opening(self, *, alone: bool, longest: int | None, record: Record | None) -> Opening:
        """How to read the files: by these options, else as in the record, if there is one.

        Args:
            alone: whether there is only one radiometric file, or one folder of them.
            longest: the pixels that the longest side is reduced to; None keeps the size.
            record: of the result in --like.
        """
        from dataclasses import replace
        from itertools import zip_longest

        from ddfm.imaging.opening import Opening

        self._check(alone)
        before = Opening()
        if record is not None:
            from ddfm.pipeline.again import opening

            before = opening(record)
        if self.celsius is not None or self.percentiles is not None:
            # Either option replaces both of the record.
            before = replace(before, celsius=None, percentiles=None)
        given: dict[str, Any] = {
            "celsius": self.celsius,
            "percentiles": self.percentiles,
            "grid": self.grid,
            "page": self.page,
            "longest": longest,
        }
        if self.range_a or self.range_b:
            pairs = zip_longest((self.range_a, self.range_b), before.ranges)
            given["ranges"] = tuple(new or old for new, old in pairs)
        return replace(before, **{k: v for k, v in given.items() if v is not None})

    def _check(self, alone: bool) -> None:
        """Refuses options that exclude each other, or do not suit the number of files."""
        if self.celsius is not None and self.percentiles is not None:
            raise InputError("--celsius and --percentiles both choose the range; give one of them")
        if alone:
            for_several = (*RANGES, "--page")
            refuse([name for name in given_in(self) if name in for_several], "two images or more")
        elif self.grid is not None:
            refuse(["--grid"], "a single radiometric file, or a folder of them")
