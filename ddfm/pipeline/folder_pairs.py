"""Which files of folders are fused with each other, and what their results are called."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ddfm.errors import InputError
from ddfm.imaging.formats.jpeg import is_cut_off
from ddfm.imaging.pairing import (
    SUBFOLDER,
    Pair,
    Pairing,
    both_in_one,
    counted,
    find_pairs,
    image_files,
    other_files,
)
from ddfm.imaging.thermal.radiometric import has_photograph, is_radiometric
from ddfm.imaging.writing import output_suffix
from ddfm.storage.manifest import Shard

__all__ = ["names_of_results", "pairs_in_files", "pairs_of_folders"]

MEASURED = "radiometric data of a FLIR or InfiRay camera in it"
NO_PHOTOGRAPH = "no photograph in it; put the photographs into a second folder"


def pairs_of_folders(folders: Sequence[str | os.PathLike[str]], pattern: str | None) -> Pairing:
    """The pairs of two or more folders; raises if there are none."""
    pairing = find_pairs(*folders, pattern=pattern)
    if not pairing.pairs:
        if pattern is not None:
            raise InputError(_why_none(pattern, pairing))
        left_out = (line for line in pairing.leftovers() if line.startswith("left out"))
        raise InputError("; ".join([_why_no_name(folders), *left_out]))
    return pairing


def _why_no_name(folders: Sequence[str | os.PathLike[str]]) -> str:
    """Why no pair is found by the names of files."""
    empty = next((folder for folder in folders if not image_files(folder)), None)
    if empty is not None:
        return f"{empty} holds no image, so there is no pair"
    others = " and ".join(str(folder) for folder in folders[1:])
    return (
        f"no image of {folders[0]} has a partner in {others} by its name; give a pattern such as "
        "'{}_thermal.png:{}_rgb.jpg' to pair them, or rename the files of a pair alike"
    )


def _why_none(pattern: str, pairing: Pairing) -> str:
    """Why a pattern makes no pair that can be fused."""
    if pairing.ambiguous:
        why = "; ".join(pairing.leftovers()[: len(pairing.ambiguous)])
    elif pairing.unpaired:
        first, count = pairing.unpaired[0], counted(len(pairing.unpaired), "file")
        why = (
            f"of {count} that fit it, such as {first}, no two have the same text at {{}}; rename "
            "the files of a pair alike"
        )
    else:
        why = "no file fits it"
    return f"the pattern {pattern!r} makes no pair: {why}"


def pairs_in_files(folder: str | os.PathLike[str]) -> Pairing:
    """The files of a folder that hold both images each; raises if there are none."""
    why = {path: _why_no_pair(path) for path in image_files(folder)}
    others = {path: reason for path, reason in why.items() if reason} | other_files(folder)
    pairing = replace(both_in_one(path for path in why if not why[path]), others=others)
    if not pairing.pairs:
        what = MEASURED
        if NO_PHOTOGRAPH in why.values():
            what = "a photograph next to its temperatures"
        raise InputError(
            f"no file of {folder} has {what}; for other images, give two folders, or the same "
            "folder twice with a pattern such as '{}_T.JPG:{}_V.JPG' (DJI)"
            + "".join(f"; {line}" for line in pairing.leftovers() if SUBFOLDER in line)
        )
    return pairing


def _why_no_pair(path: Path) -> str:
    """Why a file does not hold a pair; empty if it does, or if it is cut off before that shows.

    Links to nothing count as cut off.
    """
    if not path.exists():
        return ""
    if has_photograph(path):
        return ""
    if is_radiometric(path):
        return NO_PHOTOGRAPH
    return "" if is_cut_off(path) else f"no {MEASURED}"


def names_of_results(
    pairs: Iterable[Pair], suffix: str | None, shard: Shard | None
) -> dict[Pair, str]:
    """The pairs of a shard, or all, with the file names of their results.

    Args:
        suffix: the suffix of the names; None is ".png", or ".tif" for pairs of TIFF files.
    """
    names = {pair: pair.name + _suffix(pair, suffix) for pair in pairs}
    return {pair: name for pair, name in names.items() if shard is None or shard.has(name)}


def _suffix(pair: Pair, suffix: str | None) -> str:
    if suffix is not None:
        return output_suffix(suffix)
    tiffs = all(path.suffix.lower() in (".tif", ".tiff") for path in pair.files)
    return ".tif" if tiffs else ".png"
