"""Options for reading image files: which values are black and white, pages, temperatures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddfm.cli.groups import given_in, refuse
from ddfm.cli.options import all_of
from ddfm.cli.writing import WritingCommand, say

if TYPE_CHECKING:
    from ddfm.imaging.metadata.record import Record
    from ddfm.imaging.opening import Opening
    from ddfm.imaging.picture import Picture

__all__ = [
    "FOR_FILMS",
    "FileOptions",
    "RangeCommand",
    "celsius_option",
    "opening_options",
    "range_options",
    "say_equal",
    "say_levels",
    "say_results",
]

Levels = tuple[float, float]

NAMES = ("--range-a", "--range-b")
FOR_FILMS = (*NAMES, "--celsius")
# Options that take two numbers or one of these words.
_WORDS = {**dict.fromkeys(NAMES, ("full", "auto")), "--celsius": ("camera",)}


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
    help="FLIR: the temperatures in degrees Celsius that become black and white, or camera: "
    "those the camera was set to.  [default: by --percentiles]",
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
        help="FLIR, DJI: instead of --celsius, the percentages of pixels that are colder than "
        "black and than white.  [default: 1 99]",
    ),
    click.option(
        "--grid",
        metavar="visible|thermal",
        help="FLIR: the image whose pixel grid the result has.  [default: visible]",
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
        """Refuses options that do not suit the number of files."""
        if alone:
            for_several = (*NAMES, "--page")
            refuse([name for name in given_in(self) if name in for_several], "two images or more")
        elif self.grid is not None:
            refuse(["--grid"], "a single FLIR file, or a folder of them")


def say_equal(pictures: tuple[Picture, ...]) -> None:
    """Tells the user if two sources are the same image, which is usually a typing error."""
    import numpy as np

    def equal(a: np.ndarray, b: np.ndarray) -> bool:
        few = slice(None, None, 64)  # a few rows suffice to tell most images apart
        return np.array_equal(a[few], b[few]) and np.array_equal(a, b)

    for first, second in combinations(pictures, 2):
        if equal(first.samples, second.samples):
            names = dict.fromkeys((first.name, second.name))
            say(f"{' and '.join(names)}: these two sources are the same image", err=True)


def say_results(sources: Sequence[Path], pictures: Sequence[Picture]) -> None:
    """Tells the user of a source that is a fusion of others: `f*.png` may match an earlier result.

    Args:
        sources: the paths of the pictures, some of which may not be files.
    """
    from ddfm.errors import DdfmError
    from ddfm.imaging.metadata.record import read_record

    digests = {picture.sha256 for picture in pictures} - {None}
    for source in sources:
        record = None
        with suppress(DdfmError):  # a damaged record only hides how the picture was made
            record = read_record(source)
        of_these = [name for name, digest in record.sources if digest in digests] if record else []
        if of_these:
            say(
                f"{source}: this source is itself a fusion of {' and '.join(of_these)}; leave it "
                "out, unless you want to fuse it with them again",
                err=True,
            )


def say_levels(pictures: tuple[Picture, ...]) -> None:
    """Tells the user which images have their levels spread by default, or all clipped."""
    from ddfm.imaging.formats.dji import COUNTS
    from ddfm.imaging.levels import used

    for picture, option in zip(pictures, NAMES, strict=False):
        if picture.unit == COUNTS and picture.range is not None:
            black, white = picture.range
            say(
                f"{picture.name}: raw values of a DJI camera, black is {black:g}, white "
                f"{white:g}; only DJI's own Thermal SDK converts them to degrees",
                err=True,
            )
        if clipped := _all_clipped(picture):
            say(
                f"{picture.name}: {clipped}; choose another range "
                f"({'--celsius' if picture.unit == '°C' else option})",
                err=True,
            )
        levels = used(picture)
        if levels is not None:
            say(
                f"{picture.name}: its values, {levels[0]:g} to {levels[1]:g}, are a small part of "
                f"the 16-bit range and are spread over all of it; {option} full leaves them as "
                "they are",
                err=True,
            )


def _all_clipped(picture: Picture) -> str:
    """What a range does to a picture that lies beyond it; empty if it shows anything."""
    low, high = picture.range or (0, 0)
    if low == high:
        return ""
    valid = picture.pixels if picture.mask is None else picture.pixels[picture.mask]
    limits = f"{low:g} to {high:g} {picture.unit}".rstrip()
    for level, side, shade in ((0, "below", "black"), (1, "above", "white")):
        if (valid == level).all():
            return f"all of its values are {side} the range {limits}, so it is fused as {shade}"
    return ""
