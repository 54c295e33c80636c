"""Which files of two folders belong together, by their names alone. Nothing is guessed.

1. Equal stems are a pair: `0001.jpg` and `0001.png`.
2. Of the rest, a word that names the kind of image is left out at the beginning or the end of the
   stem, where `_`, `-`, `.` or a space sets it off: `x_ir.png` and `x_vis.png`, `PET-07.png` and
   `MRI-07.png` are pairs, `x` and `07`.
3. A pattern replaces both rules. It has one name for each folder, with a colon between; `{}`
   stands for what the names of a pair share, `*` for anything: `{}_thermal.png:{}_rgb.jpg`,
   `A{}.*:B{}.*`.

A pair has the name that its files share, and the result is called by it. Where one name fits
several files of a folder, they are listed as ambiguous; a file without a partner, as unpaired.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ddfm.errors import DdfmError
from ddfm.imaging.files import SUFFIXES

__all__ = ["WORDS", "Pair", "Pairing", "both_in_one", "find_pairs", "image_files"]

# What a camera, a scanner or a data set calls its kind of image.
WORDS = (
    "ir infrared lwir mwir swir nir thermal temp flir fir "
    "vis vi visible rgb color colour photo visual gray grey "
    "mri mr t1 t2 pd flair ct pet spect "
    "over under oe ue overexposed underexposed near far"
).split()

_WORD = "|".join(sorted(WORDS, key=len, reverse=True))
_AT_END = re.compile(rf"(.+?)[_\-. ]+(?:{_WORD})", re.IGNORECASE | re.DOTALL)
_AT_BEGIN = re.compile(rf"(?:{_WORD})[_\-. ]+(.+)", re.IGNORECASE | re.DOTALL)

Key = Callable[[Path], "str | None"]


@dataclass(frozen=True)
class Pair:
    """Two files of one scene, or one that holds both images, and what they share of their names."""

    name: str
    a: Path
    b: Path

    def __str__(self) -> str:
        files = dict.fromkeys((self.a, self.b))  # which may be one
        return f"{self.name}: {' + '.join(map(str, files))}"


@dataclass(frozen=True)
class Pairing:
    """Which files of two folders belong together.

    Attributes:
        pairs: sorted by name.
        ambiguous: files that share a name with several others, by that name.
        unpaired: files without a partner.
    """

    pairs: list[Pair] = field(default_factory=list)
    ambiguous: dict[str, list[Path]] = field(default_factory=dict)
    unpaired: list[Path] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [str(pair) for pair in self.pairs]
        lines += self.leftovers()
        counts = [f"{len(self.pairs)} pairs"]
        counts += [f"{len(self.ambiguous)} ambiguous names"] if self.ambiguous else []
        counts += [f"{len(self.unpaired)} files without a partner"] if self.unpaired else []
        return "\n".join([*lines, ", ".join(counts)])

    def leftovers(self) -> list[str]:
        """A line for every file that is in no pair."""
        lines = [
            f"ambiguous, {name}: {', '.join(map(str, files))}"
            for name, files in self.ambiguous.items()
        ]
        return lines + [f"unpaired: {path}" for path in self.unpaired]


def find_pairs(
    a: str | os.PathLike[str], b: str | os.PathLike[str], pattern: str | None = None
) -> Pairing:
    """The pairs among the images of two folders, by the rules of this module.

    Args:
        a, b: the folders. With a pattern they may be one and the same.
        pattern: names in a and b, such as "{}_thermal.png:{}_rgb.jpg".
    """
    a, b = Path(a), Path(b)
    if pattern is not None:
        first, second = _keys_of(pattern)
        # A pattern names its files, and what else lies in the folder is none of its business.
        files = [p for p in _files(a) if first(p)], [p for p in _files(b) if second(p)]
        pairing, _ = _match(*files, first, second)
        return _within_one_folder(pairing, pattern) if a.resolve() == b.resolve() else pairing
    if a.resolve() == b.resolve():
        raise DdfmError(
            f"{a} is both folders; a pattern such as '{{}}_ir.png:{{}}_vis.png' "
            "tells first and second images of one folder apart"
        )
    by_stem, rest = _match(image_files(a), image_files(b), _stem, _stem)
    taken = {pair.name for pair in by_stem.pairs}
    by_word, _ = _match(*rest, _bare_stem, _bare_stem, taken)
    return Pairing(
        sorted(by_stem.pairs + by_word.pairs, key=lambda pair: pair.name),
        by_stem.ambiguous | by_word.ambiguous,
        by_word.unpaired,
    )


def _within_one_folder(pairing: Pairing, pattern: str) -> Pairing:
    """A file that fits both names of the pattern, `x_rgb.png` a mere `{}.png`, is listed once."""
    for pair in pairing.pairs:
        if pair.a.name == pair.b.name:
            raise DdfmError(
                f"the pattern {pattern!r} makes {pair.a} a pair with itself; "
                "its two names must tell first and second images of one folder apart"
            )
    placed = {path.name for pair in pairing.pairs for path in (pair.a, pair.b)}
    placed |= {path.name for files in pairing.ambiguous.values() for path in files}
    left = {path.name: path for path in pairing.unpaired if path.name not in placed}
    return replace(pairing, unpaired=list(left.values()))


def both_in_one(files: Iterable[Path]) -> Pairing:
    """Pairs of files that hold both images each, called by their stems."""
    groups = _grouped(files, _stem)
    pairs = [Pair(name, *some * 2) for name, some in sorted(groups.items()) if len(some) == 1]
    return Pairing(pairs, {name: some for name, some in groups.items() if len(some) > 1})


def image_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The files of a folder that are images by their suffix, sorted by name."""
    return [path for path in _files(Path(folder)) if path.suffix.lower() in SUFFIXES]


def _files(folder: Path) -> list[Path]:
    """Hidden files are left out: what a system or an unfinished run has left is not meant."""
    try:
        if not folder.is_dir():
            raise DdfmError(f"there is no folder {folder}")
        names = (path for path in folder.iterdir() if not path.name.startswith("."))
        return sorted(path for path in names if path.is_file())
    except OSError as error:
        raise DdfmError(f"cannot read the folder {folder}: {error.strerror or error}") from None


def _match(
    a: Iterable[Path], b: Iterable[Path], key_a: Key, key_b: Key, taken: Iterable[str] = ()
) -> tuple[Pairing, tuple[list[Path], list[Path]]]:
    """Pairs of equal keys, and the files of either side whose key the other side does not have."""
    sides = _grouped(a, key_a), _grouped(b, key_b)
    pairs, ambiguous = [], {}
    for key in sorted(sides[0].keys() & sides[1].keys()):
        files = sides[0][key], sides[1][key]
        if len(files[0]) == len(files[1]) == 1 and key not in taken:
            pairs.append(Pair(key, files[0][0], files[1][0]))
        else:
            ambiguous[key] = files[0] + files[1]
    met = sides[0].keys() & sides[1].keys()
    rest = tuple(
        sorted(path for key, paths in side.items() if key not in met for path in paths)
        for side in sides
    )
    return Pairing(pairs, ambiguous, rest[0] + rest[1]), rest


def _grouped(files: Iterable[Path], key: Key) -> dict[str, list[Path]]:
    groups = defaultdict(list)
    for path in files:
        groups[key(path)].append(path)
    return dict(groups)


def _stem(path: Path) -> str:
    return path.stem


def _bare_stem(path: Path) -> str:
    match = _AT_END.fullmatch(path.stem) or _AT_BEGIN.fullmatch(path.stem)
    return match[1] if match else path.stem


def _keys_of(pattern: str) -> tuple[Key, Key]:
    """What a pattern makes of file names: the text at its {}, or None where it does not fit."""
    parts = pattern.split(":")
    if len(parts) != 2 or any(part.count("{}") != 1 for part in parts):
        raise DdfmError(
            f"cannot read the pattern {pattern!r}: it is two names with a colon between, one {{}} "
            "in each, such as '{}_thermal.png:{}_rgb.jpg'"
        )
    return _key_of(parts[0]), _key_of(parts[1])


def _key_of(part: str) -> Key:
    text = re.escape(part).replace(re.escape("{}"), "(.+)").replace(re.escape("*"), ".*")
    expression = re.compile(text, re.DOTALL)

    def key(path: Path) -> str | None:
        match = expression.fullmatch(path.name)
        return match[1] if match else None

    return key
