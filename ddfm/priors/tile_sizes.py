"""How large tiles are, and where they begin. In pure Python, so that importing it is fast."""

from __future__ import annotations

from ddfm.errors import InputError

__all__ = ["LARGEST_UNTILED", "OVERLAP", "TILE", "check_tile", "spans", "tile_for"]

LARGEST_UNTILED = 1024 * 1024  # pixels; the shipped network needs about 1 GB for these
TILE = 768  # default side of a tile in pixels
OVERLAP = 64  # pixels by which neighbouring tiles overlap


def check_tile(tile: int | None, overlap: int = OVERLAP) -> None:
    """Raise if tiles leave no room between two overlaps; 0 (no tiles) and None are valid."""
    if tile and tile < 2 * overlap:
        raise InputError(f"a tile must be at least {2 * overlap} pixels wide (0: none), not {tile}")


def tile_for(tile: int | None, size: tuple[int, int], own: int | None = None) -> int:
    """The side of tiles for an image of this size, or 0 if none are needed.

    Args:
        tile: the side that was given; None for the default.
        size: height and width of the image.
        own: the default of the network, if it has one.
    """
    if tile is None:
        tile = own or (TILE if size[0] * size[1] > LARGEST_UNTILED else 0)
    return tile if tile and max(size) > tile else 0


def spans(side: int, tile: int, overlap: int, grid: int) -> list[tuple[int, int]]:
    """Begin and end of each tile along one side: as few as possible, then as short as possible.

    Tiles begin on multiples of `grid`, if `side` is one, too.
    """
    if side <= tile:
        return [(0, side)]
    count = -(-(side - overlap) // (tile - overlap))
    step = -(-(side - overlap) // (count * grid)) * grid
    begins = [*range(0, (count - 1) * step, step), side - step - overlap]
    return [(begin, begin + step + overlap) for begin in begins]
