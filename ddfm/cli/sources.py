"""What users are told about their sources: that they do not exist, or that something is odd."""

from __future__ import annotations

import difflib
import fnmatch
import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddfm.cli.opening import RANGES
from ddfm.cli.pipes import DASH
from ddfm.cli.writing import say
from ddfm.errors import DdfmError, InputError, StorageError, quoted

if TYPE_CHECKING:
    from ddfm.imaging.picture import Picture

__all__ = ["check_exist", "check_sources", "say_blank", "say_equal", "say_levels", "say_results"]


def check_exist(sources: Sequence[Path]) -> None:
    """Refuses sources that do not exist, with a hint at what was probably meant."""
    for number, source in enumerate(sources):
        if source != DASH and not source.exists():
            raise StorageError(
                f"cannot read {source}: there is no such file or folder{_meant(sources[number:])}"
            )


def check_sources(sources: Sequence[Path]) -> None:
    """Refuses sources that do not exist, and folders mixed with files."""
    check_exist(sources)
    folders = [source for source in sources if source.is_dir()]
    others = len(sources) - len(folders)
    if folders and others:
        raise InputError(
            f"cannot read {folders[0]}: it is a folder, not an image; folders are only fused with "
            f"folders, and {others} of the {len(sources)} sources "
            f"{'is no folder' if others == 1 else 'are no folders'}"
        )


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


def say_blank(pictures: tuple[Picture, ...]) -> None:
    """Tells the user of a source that is the same everywhere: a lens cap, or a wrong file."""
    for picture in pictures:
        valid = picture.samples if picture.mask is None else picture.samples[picture.mask]
        colors = valid.reshape(-1, valid.shape[-1])
        is_blank = len(colors) > 1 and (colors.min(axis=0) == colors.max(axis=0)).all()
        if is_blank and not _all_clipped(picture):  # which is told with the range
            say(f"{picture.name}: all pixels are the same, so it shows nothing", err=True)


def say_results(sources: Sequence[Path], pictures: Sequence[Picture]) -> None:
    """Tells the user of a source that is a fusion of others: `f*.png` may match an earlier result.

    Args:
        sources: the paths of the pictures, some of which may not be files.
    """
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


def say_levels(pictures: tuple[Picture, ...], ranges: Sequence[Any], *, together: bool) -> None:
    """Tells the user which images have their levels spread by default, crowded, or all clipped.

    Args:
        ranges: those that were asked for, as `Opening` has them.
        together: whether the images are exposures or a focus stack.
    """
    if together:
        _say_shared_levels([p for p in pictures if p.dtype == "uint16"])
    asked = [*ranges, *[None] * len(pictures)]
    for picture, option, given in zip(pictures, RANGES, asked, strict=False):
        _say_clipped(picture, option)
        by_default = given in (None, "auto")
        _say_small_part(picture, option, stretched=not together, by_default=by_default)


def _say_shared_levels(deep: Sequence[Picture]) -> None:
    """Tells of 16-bit images that are stretched together by default."""
    from ddfm.imaging.levels import used_together

    levels = used_together(deep)
    if levels is None or any(p.range is not None for p in deep):
        return
    whose = f"{deep[0].name} and the others: their" if len(deep) > 1 else f"{deep[0].name}: its"
    say(
        f"{whose} values, {levels[0]:g} to {levels[1]:g}, are a small part of the 16-bit range "
        "and are spread over all of it; --range-a full leaves them as they are",
        err=True,
    )


def _say_clipped(picture: Picture, option: str) -> None:
    """Tells of raw values, and of an image that its range leaves nothing of."""
    from ddfm.imaging.thermal.dji import COUNTS

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


def _say_small_part(picture: Picture, option: str, *, stretched: bool, by_default: bool) -> None:
    """Tells of an image whose values are a small part of its range.

    Args:
        stretched: whether a 16-bit image is stretched on its own.
        by_default: whether no range was asked for.
    """
    from ddfm.imaging.levels import crowded, used

    if stretched and (levels := used(picture)) is not None:
        say(
            f"{picture.name}: its values, {levels[0]:g} to {levels[1]:g}, are a small part of "
            f"the 16-bit range and are spread over all of it; {option} full leaves them as "
            "they are",
            err=True,
        )
    if by_default and (limits := crowded(picture)) is not None:
        low, high = (f"{limit:.9g}" for limit in limits)
        black, white = picture.range or limits
        say(
            f"{picture.name}: nearly all of its values, {low} to {high}, are a small part of "
            f"{black:g} to {white:g}, and get little contrast; {option} {low} {high} spreads "
            "them",
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


def _meant(sources: Sequence[Path]) -> str:
    """A hint at what to type in place of the first source, or nothing."""
    missing = sources[0]
    if str(missing).startswith(("http:", "https:")):
        return "; ddfm does not download sources, so download the file first"
    for count in range(2, len(sources) + 1):
        whole = " ".join(map(str, sources[:count]))
        if os.path.exists(whole):
            return f"; put a name with spaces in quotes: {quoted(whole)}"
    if missing.is_symlink():
        return f"; it is a link to {missing.readlink()}, which is missing or leads back to it"
    there = _beside(missing)
    if fnmatch.filter(there, missing.name):
        return "; without quotes, the shell replaces the pattern by the names that match it"
    near = difflib.get_close_matches(missing.name, there, n=1, cutoff=0.7)
    return f"; did you mean {quoted(str(missing.with_name(near[0])))}?" if near else ""


def _beside(path: Path) -> list[str]:
    """The names in the folder where the path would be."""
    try:
        return sorted(os.listdir(path.parent))
    except OSError:
        return []
