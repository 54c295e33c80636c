"""How large tiles are, and where they begin. Whole numbers only; nothing heavy is imported."""

from __future__ import annotations

from ddfm.errors import InputError

__all__ = ["LARGEST_UNTILED", "OVERLAP", "TILE", "check_tile", "spans", "tile_for"]

LARGEST_UNTILED = 1024 * 1024  # pixels; the shipped network needs about 1 GB for so many
TILE = 768
OVERLAP = 64


def check_tile(tile: int | None, overlap: int = OVERLAP) -> None:
    """Refuses tiles that leave no room between two overlaps; 0 (none) and None are fine."""
    if tile and tile < 2 * overlap:
        raise InputError(f"a tile must be at least {2 * overlap} pixels wide (0: none), not {tile}")


def tile_for(tile: int | None, size: tuple[int, int], own: int | None = None) -> int:
    """The side of tiles for an image of this size: as asked for, or 0 where none are needed.

    Where nobody asks, it is what the network has of its `own`, or the usual one.
    """
    if tile is None:
        tile = own or (TILE if size[0] * size[1] > LARGEST_UNTILED else 0)
    return tile if tile and max(size) > tile else 0


def spans(side: int, tile: int, overlap: int, grid: int) -> list[tuple[int, int]]:
    """Tiles along one side: as few as will do, as short as so few can be, on the grid."""
    if side <= tile:
        return [(0, side)]
    count = -(-(side - overlap) // (tile - overlap))
    step = -(-(side - overlap) // (count * grid)) * grid
    begins = [*range(0, (count - 1) * step, step), side - step - overlap]
    return [(begin, begin + step + overlap) for begin in begins]
