"""Finds the weights that come with ddfm."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

__all__ = ["shipped"]


def shipped(name: str) -> Path | None:
    """A file of the package ddfm.pretrained or of the checkout this runs from; None if missing."""
    package = find_spec("ddfm.pretrained")
    folders = [] if package is None else package.submodule_search_locations or []
    for folder in [*map(Path, folders), Path(__file__).parents[2] / "pretrained"]:
        if (path := folder / name).is_file():
            return path
    return None
