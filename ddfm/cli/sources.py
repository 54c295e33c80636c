"""Sources as the user typed them: whether they exist, and if not, what was probably meant."""

from __future__ import annotations

import difflib
import fnmatch
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from ddfm.cli.pipes import DASH
from ddfm.errors import InputError, StorageError

__all__ = ["check_exist", "check_sources"]


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


def _meant(sources: Sequence[Path]) -> str:
    """A hint at what to type in place of the first source, or nothing."""
    missing = sources[0]
    if str(missing).startswith(("http:", "https:")):
        return "; ddfm does not download sources, so download the file first"
    for count in range(2, len(sources) + 1):
        whole = " ".join(map(str, sources[:count]))
        if os.path.exists(whole):
            return f"; put a name with spaces in quotes: {shlex.quote(whole)}"
    if missing.is_symlink():
        return f"; it is a link to {missing.readlink()}, which is missing or leads back to it"
    there = _beside(missing)
    if fnmatch.filter(there, missing.name):
        return "; without quotes, the shell replaces the pattern by the names that match it"
    near = difflib.get_close_matches(missing.name, there, n=1, cutoff=0.7)
    return f"; did you mean {shlex.quote(str(missing.with_name(near[0])))}?" if near else ""


def _beside(path: Path) -> list[str]:
    """The names in the folder where the path would be."""
    try:
        return sorted(os.listdir(path.parent))
    except OSError:
        return []
