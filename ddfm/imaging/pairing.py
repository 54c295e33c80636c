"""Pairs the files of two or more folders by their names alone. Nothing is guessed.

1. Files with equal stems are a pair: `0001.jpg` and `0001.png`. Accented letters are equal however
   Unicode composes them.
2. In the stems of the rest, a word for the kind of image is ignored at the beginning or the end, if
   `_`, `-`, `.` or a space separates it: `x_ir.png` and `x_vis.png` are a pair named `x`,
   `PET-07.png` and `MRI-07.png` one named `07`; so is the letter of DJI's names: `DJI_0001_T.JPG`
   and `DJI_0001_W.JPG` are a pair named `DJI_0001`.
3. A pattern replaces both rules. It has one name for each folder, separated by colons; `{}` stands
   for what the names of a pair share, `*` for anything: `{}_thermal.png:{}_rgb.jpg`,
   `A{}.*:B{}.*`.

A pair has one file from each folder, and is named by what the names of its files share; so is its
result. If several files of one folder have the same name in this sense, they are listed as
ambiguous; files without a partner are listed as unpaired.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from ddfm.errors import InputError, StorageError, disk_explained
from ddfm.imaging.formats.tables import TABLES
from ddfm.imaging.reading import is_image
from ddfm.imaging.unreadable import advice_for, is_dicom
from ddfm.storage.manifest import has_manifest

__all__ = [
    "SUBFOLDER",
    "WORDS",
    "Pair",
    "Pairing",
    "both_in_one",
    "counted",
    "find_pairs",
    "image_files",
    "listed",
    "natural",
    "other_files",
    "result_of",
    "results_in",
]

# Words by which cameras, scanners and data sets mark the kind of image in a file's name.
WORDS = (
    "ir infrared lwir mwir swir nir thermal temp flir fir "
    "vis vi visible rgb color colour photo visual gray grey "
    "mri mr t1 t2 pd flair ct pet spect "
    "over under oe ue overexposed underexposed near middle far"
).split()

_WORD = "|".join(sorted(WORDS, key=len, reverse=True))
_AT_END = re.compile(rf"(.+?)[_\-. ]+(?:{_WORD})", re.IGNORECASE | re.DOTALL)
_AT_BEGIN = re.compile(rf"(?:{_WORD})[_\-. ]+(.+)", re.IGNORECASE | re.DOTALL)
_OF_DJI = re.compile(r"(DJI_.+)_[TVWZ]", re.IGNORECASE | re.DOTALL)  # thermal, visible, wide, zoom

SUBFOLDER = "a folder; give it by itself"  # why it is left out
SHOWN = 3  # how many files that have something in common are listed by name

Key = Callable[[Path], "str | None"]


@dataclass(frozen=True)
class Pair:
    """The files of one scene, and what their names have in common.

    Usually two files; more if there are more folders; one if it holds both images.
    """

    name: str
    files: tuple[Path, ...]

    def __str__(self) -> str:
        return f"{self.name}: {' + '.join(map(str, self.files))}"


@dataclass(frozen=True)
class Pairing:
    """Which files of the folders belong together.

    Attributes:
        pairs: sorted by name.
        ambiguous: by name, the files that share it, where a folder has several of them.
        unpaired: files without a partner.
        others: files that cannot be read as images, and why not; also folders that hold images.
    """

    pairs: list[Pair] = field(default_factory=list)
    ambiguous: dict[str, list[Path]] = field(default_factory=dict)
    unpaired: list[Path] = field(default_factory=list)
    others: dict[Path, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [str(pair) for pair in self.pairs]
        lines += self.leftovers()
        return "\n".join([*lines, ", ".join([counted(len(self.pairs), "pair"), *self.counts()])])

    def counts(self) -> list[str]:
        """Phrases with the number of files that are in no pair, and why."""
        counts = [counted(len(self.ambiguous), "ambiguous name")] if self.ambiguous else []
        if self.unpaired:
            counts.append(counted(len(self.unpaired), "file") + " without a partner")
        folders = sum(why == SUBFOLDER for why in self.others.values())
        left = {"file": len(self.others) - folders, "folder": folders}
        if self.others:
            words = [counted(number, what) for what, number in left.items() if number]
            counts.append(" and ".join(words) + " left out")
        return counts

    def leftovers(self) -> list[str]:
        """A line for every file that is in no pair."""
        lines = [
            f"ambiguous, {name}: {', '.join(map(str, files))}"
            for name, files in self.ambiguous.items()
        ]
        lines += [f"unpaired: {path}" for path in self.unpaired]
        return lines + self._left_out()

    def _left_out(self) -> list[str]:
        """A line for each reason for which files were left out."""
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for path, why in self.others.items():
            groups[why].append(str(path))
        lines = []
        for why, paths in groups.items():
            lines.append(f"left out, {why}: {listed(paths)}")
        return lines


def listed(names: Sequence[str]) -> str:
    """Names of files that have something in common; of many, the first ones."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def find_pairs(*folders: str | os.PathLike[str], pattern: str | None = None) -> Pairing:
    """The pairs among the images of two or more folders, by the rules of this module.

    Args:
        folders: in the order of the sources. With a pattern, they may be the same folder.
        pattern: a name for each folder, such as "{}_thermal.png:{}_rgb.jpg".
    """
    paths = [Path(folder) for folder in folders]
    if pattern is not None:
        keys = _keys_of(pattern, len(paths))
        # A pattern specifies its files, so other files in the folder are not reported.
        files = [[p for p in _files(path) if key(p)] for path, key in zip(paths, keys, strict=True)]
        return _each_once(_match(files, keys)[0], pattern)
    for path in paths:
        if sum(path.resolve() == other.resolve() for other in paths) > 1:
            raise InputError(
                f"{path} is {'both' if len(paths) == 2 else 'two of the'} folders; give a pattern, "
                "such as '{}_ir.png:{}_vis.png', that distinguishes the images of one folder"
            )
    by_stem, rest = _match([image_files(path) for path in paths], [_stem] * len(paths))
    taken = {pair.name for pair in by_stem.pairs}
    by_word, _ = _match(rest, [_bare_stem] * len(paths), taken)
    return Pairing(
        sorted(by_stem.pairs + by_word.pairs, key=lambda pair: pair.name),
        by_stem.ambiguous | by_word.ambiguous,
        by_word.unpaired,
        _others(paths),
    )


def _each_once(pairing: Pairing, pattern: str) -> Pairing:
    """List each file once, even if it fits two names of the pattern.

    For example, `x_rgb.png` fits both names of `{}_rgb.png:{}.png`.
    """
    for pair in pairing.pairs:
        if len(set(map(_place, pair.files))) < len(pair.files):
            raise InputError(
                f"the pattern {pattern!r} makes {pair.files[0]} a pair with itself; "
                "its names must distinguish the images of one folder"
            )
    groups = [pair.files for pair in pairing.pairs] + list(pairing.ambiguous.values())
    placed = {_place(path) for files in groups for path in files}
    left = {_place(path): path for path in pairing.unpaired}
    return replace(pairing, unpaired=[path for at, path in left.items() if at not in placed])


def _place(path: Path) -> Path:
    """The file's canonical path: the same for every path to it; a link is a file of its own."""
    return path.parent.resolve() / path.name


def both_in_one(files: Iterable[Path]) -> Pairing:
    """Pairs made of one file each, which holds both images; named by the files' stems."""
    groups = _grouped(files, _stem)
    pairs = [Pair(name, tuple(some)) for name, some in sorted(groups.items()) if len(some) == 1]
    return Pairing(pairs, {name: some for name, some in groups.items() if len(some) > 1})


def image_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The files of a folder that are images by their suffix, sorted by name."""
    return [path for path in _files(Path(folder)) if is_image(path)]


def results_in(folder: str | os.PathLike[str]) -> dict[str, list[Path]]:
    """The images of a folder of results, by the name of the pair."""
    return _grouped(image_files(folder), _stem)


def result_of(name: str, results: Mapping[str, list[Path]], folder: str | os.PathLike[str]) -> Path:
    """The result of a pair, among `results_in(folder)`."""
    files = results.get(name, [])
    if not files:
        raise InputError(f"{folder} holds no result named {name}")
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise InputError(f"{folder} holds several results named {name}: {names}; leave one")
    return files[0]


def other_files(folder: str | os.PathLike[str]) -> dict[Path, str]:
    """The files of a folder that are not images by their suffix, and what each is instead.

    Folders in it that hold images are among them, except results of ddfm.
    """
    found = (path for path in _files(Path(folder)) if not is_image(path))
    others = {path: advice_for(path.name) or _no_image(path) for path in found}
    return others | dict.fromkeys(_folders_of_images(Path(folder)), SUBFOLDER)


def _others(folders: Sequence[Path]) -> dict[Path, str]:
    """`other_files` of several folders, except these folders, of which one may hold another."""
    given = {folder.resolve() for folder in folders}
    others = (pair for folder in folders for pair in other_files(folder).items())
    return {path: why for path, why in others if path.resolve() not in given}


def _no_image(path: Path) -> str:
    if path.suffix.lower() in TABLES:
        return "tables are read only if named, as a source or by a --pattern"
    return advice_for("a.dcm") if is_dicom(path) else "not an image by its suffix"


def _files(folder: Path) -> list[Path]:
    """All files except hidden ones, which the system or unfinished runs leave behind.

    Links to nothing are among them, so that they fail when they are read, and are not left out.
    """
    with disk_explained(f"read the folder {folder}"):
        if not folder.is_dir():
            raise StorageError(f"there is no folder {folder}")
        (folder / "..").stat()  # raises if its files can be listed, but not read
        shown = [entry for entry in _entries(folder) if not entry.name.startswith(".")]
        return sorted(path for entry in shown if _is_file(entry, path := folder / entry.name))


def _is_file(entry: os.DirEntry[str], path: Path) -> bool:
    try:
        return entry.is_file() or not path.exists()
    except OSError:  # a link to itself, or to what would be in a file
        return path.is_file()


def _folders_of_images(folder: Path) -> list[Path]:
    """The folders directly in a folder that hold images themselves and no manifest of ddfm."""
    found = []
    for entry in sorted(_entries(folder), key=lambda entry: entry.name):
        with suppress(OSError):  # of a folder that may not be read
            if entry.is_dir() and not entry.name.startswith("."):
                path = folder / entry.name
                holds = not has_manifest(path) and any(map(is_image, _files(path)))
                found += [path] if holds else []
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder; each knows its kind without another request to the disk."""
    with os.scandir(folder) as entries:
        return list(entries)


def _match(
    folders: Iterable[Iterable[Path]], keys: Iterable[Key], taken: Iterable[str] = ()
) -> tuple[Pairing, list[list[Path]]]:
    """Pair files with equal keys; also return each folder's files whose key another one lacks."""
    groups = [_grouped(files, key) for files, key in zip(folders, keys, strict=True)]
    met = set.intersection(*(set(group) for group in groups))
    pairs, ambiguous = [], {}
    for key in sorted(met):
        if key not in taken and all(len(group[key]) == 1 for group in groups):
            pairs.append(Pair(key, tuple(group[key][0] for group in groups)))
        else:
            ambiguous[key] = [path for group in groups for path in group[key]]
    rest = [
        sorted(path for key, paths in group.items() if key not in met for path in paths)
        for group in groups
    ]
    return Pairing(pairs, ambiguous, [path for paths in rest for path in paths]), rest


def _grouped(files: Iterable[Path], key: Key) -> dict[str, list[Path]]:
    groups: defaultdict[str, list[Path]] = defaultdict(list)
    for path in files:
        if (found := key(path)) is not None:
            groups[found].append(path)
    return dict(groups)


def _composed(name: str) -> str:
    """The name with one character for each accented letter; macOS may write two."""
    return unicodedata.normalize("NFC", name)


def _stem(path: Path) -> str:
    return _composed(path.stem)


def _bare_stem(path: Path) -> str:
    ways = (_AT_END, _AT_BEGIN, _OF_DJI)
    match = next(filter(None, (way.fullmatch(_stem(path)) for way in ways)), None)
    return match[1] if match else _stem(path)


def _keys_of(pattern: str, count: int) -> list[Key]:
    """A function for each name of a pattern: the text at its {}, or None if a file does not fit."""
    parts = pattern.split(":")
    if len(parts) != count or any(part.count("{}") != 1 for part in parts):
        number = {2: "two", 3: "three"}.get(count, str(count))
        raise InputError(
            f"cannot read the pattern {pattern!r}: it must be {number} names separated by colons, "
            "with one {} in each, such as '{}_thermal.png:{}_rgb.jpg'"
        )
    return [_key_of(part) for part in parts]


def _key_of(part: str) -> Key:
    text = re.escape(_composed(part)).replace(re.escape("{}"), "(.+)").replace(re.escape("*"), ".*")
    expression = re.compile(text, re.DOTALL)

    def key(path: Path) -> str | None:
        match = expression.fullmatch(_composed(path.name))
        return match[1] if match else None

    return key


def counted(number: int, what: str) -> str:
    """ "1 pair", or "2 pairs"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts frame 2 before frame 10."""
    parts = re.findall(r"\d+|\D+", name)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]
