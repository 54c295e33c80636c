"""Where the weights are that come with ddfm."""

from __future__ import annotations

from pathlib import Path

__all__ = ["shipped"]


def shipped(name: str) -> Path | None:
    """A file of the package ddfm.pretrained, or of the checkout that we run from; None if gone."""
    try:
        import ddfm.pretrained as package

        folders = [Path(folder) for folder in package.__path__]
    except ImportError:
        folders = []
    for folder in [*folders, Path(__file__).parents[2] / "pretrained"]:
        if (path := folder / name).is_file():
            return path
    return None
