"""Finds the pairs (or groups of more images) in a folder, and their task by subfolder names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ddfm.errors import InputError, StorageError
from ddfm.imaging.pairing import Pair, Pairing, find_pairs

__all__ = ["KINDS", "Dataset", "find_dataset"]

IR, VISIBLE = ("ir", "infrared", "thermal"), ("vi", "vis", "visible", "rgb")
MRI = ("mri", "mr")

# Names of the first and of the second subfolder, and the task of such pairs.
KINDS = (
    (IR, VISIBLE, "ir-visible"),
    (("ct",), MRI, "medical"),
    (("pet",), MRI, "medical"),
    (("spect",), MRI, "medical"),
    (("over", "oe", "overexposed"), ("under", "ue", "underexposed"), "multi-exposure"),
)


@dataclass(frozen=True)
class Dataset:
    """The pairs of a folder.

    Attributes:
        name: the name of the folder.
        task: the task for all pairs, or "auto".
        subfolders: the names of the subfolders with first sources, second sources, ...
        pairs: the pairs to fuse.
        problems: a line for every file that is in no pair, by its name; empty if only some pairs
            of the set were asked for.
    """

    name: str
    task: str
    subfolders: tuple[str, ...]
    pairs: list[Pair]
    problems: dict[str, str]


def find_dataset(
    folder: str | os.PathLike[str],
    subfolders: tuple[str, ...] | None = None,
    task: str = "auto",
    limit: int | None = None,
    only: Sequence[str] | None = None,
) -> Dataset:
    """The pairs of a folder: files with the same name in two or more subfolders.

    Args:
        folder: the folder that holds the subfolders.
        subfolders: their names, if they are not among `KINDS`.
        task: as for `Fuser`; "auto" derives it from the names of the subfolders, if known.
        limit: the most pairs to keep; None keeps all.
        only: names of pairs to keep; names of pairs of other sets are ignored.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise StorageError(f"there is no folder {folder}")
    names = _subfolders(folder) if subfolders is None else tuple(subfolders)
    ends = names[0], names[-1]  # over, normal, under are exposures, too
    found = next((kind for *words, kind in KINDS if _fits(ends, words)), "auto")
    pairing = find_pairs(*(folder / name for name in names))
    if not pairing.pairs:
        others = " and ".join(str(folder / name) for name in names[1:])
        raise InputError(
            f"no image of {folder / names[0]} has a partner of the same name in {others}"
        )
    return Dataset(
        folder.resolve().name,
        found if task == "auto" else task,
        names,
        [p for p in pairing.pairs if only is None or p.name in only][:limit],
        _problems(pairing, len(names)) if limit is None and only is None else {},
    )


def _problems(pairing: Pairing, number: int) -> dict[str, str]:
    """A line for every file that is in no pair, by its name; `number` is that of the folders."""
    missing = "has no partner" if number == 2 else "has no partner in every other folder"
    problems = {f"{p.parent.name}/{p.name}": f"{p} {missing}" for p in pairing.unpaired}
    for name, files in pairing.ambiguous.items():
        problems[name] = f"several files have this name: {', '.join(map(str, files))}"
    for path, why in pairing.others.items():
        problems[f"{path.parent.name}/{path.name}"] = f"{path} is left out: {why}"
    return problems


def _subfolders(folder: Path) -> tuple[str, str]:
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    fits = [
        (a, b)
        for first, second, _ in KINDS
        for a in names
        for b in names
        if _fits((a, b), (first, second))
    ]
    if len(fits) == 1:
        return fits[0]
    known = ", ".join(f"{first[0]} + {second[0]}" for first, second, _ in KINDS)
    raise InputError(
        f"{folder}: it is unclear which two of its subfolders ({', '.join(names) or 'none'}) hold "
        f"the pairs; known names are {known}; specify others with --subfolders A,B"
    )


def _fits(names: tuple[str, str], words: Sequence[tuple[str, ...]]) -> bool:
    return all(name.lower() in some for name, some in zip(names, words, strict=True))
