"""Levels of a rendering in false colours: how far along its palette each colour lies.

In a rainbow, brightness does not tell temperatures apart. But the colours of a palette lie on a
curve, which a picture shows: its frequent colours, each joined to the nearest, form paths. Gaps in
between are temperatures that hardly occur.
"""

from __future__ import annotations

import numpy as np

from ddfm.imaging.picture import LUMA

__all__ = ["levels_along_palette"]

CELLS = 8  # cells of colours along each of R, G and B
FREQUENT = 0.002  # least share of the pixels in a cell whose colour counts
GAP = 0.4  # greatest distance of neighbours on a path
STEPS = 256  # levels along the palette
DEPTH = 63  # levels of R, G and B by which pixels are told apart
MIXED = 0.15  # distance from the palette beyond which a colour is not one of it


def levels_along_palette(colors: np.ndarray) -> np.ndarray | None:
    """Levels (H, W) from 0, cold, to 1, hot, of colours (H, W, 3); None if there are too few."""
    from scipy.ndimage import median_filter
    from scipy.spatial import cKDTree

    flat = colors.reshape(-1, 3)
    points = _frequent(flat)
    if len(points) < 3:
        return None
    paths = sorted(_paths(points), key=lambda path: float(_hotness(path).mean()))
    curve = np.concatenate(paths)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    at = np.linspace(0, along[-1], STEPS)
    palette = np.stack([np.interp(at, along, channel) for channel in curve.T], axis=1)
    codes, pixel = np.unique(
        np.rint(flat * DEPTH) @ (DEPTH + 1) ** np.arange(3), return_inverse=True
    )
    seen = codes[:, None] // (DEPTH + 1) ** np.arange(3) % (DEPTH + 1) / DEPTH
    away, nearest = cKDTree(palette).query(seen)
    levels, away = (each[pixel].reshape(colors.shape[:2]) for each in (nearest, away))
    levels = (levels / (STEPS - 1)).astype(np.float32)
    # Compression mixes colours along edges; such mixtures may lie anywhere along the palette.
    return np.where(away > MIXED, median_filter(levels, 5), levels)


def _frequent(flat: np.ndarray) -> np.ndarray:
    """The mean colour (N, 3) of each cell that has enough pixels."""
    places = np.minimum((flat * CELLS).astype(int), CELLS - 1) @ (CELLS**2, CELLS, 1)
    _, cell, counts = np.unique(places, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(cell, channel) for channel in flat.T], axis=1)
    return (sums / counts[:, None])[counts >= FREQUENT * len(flat)]


def _paths(points: np.ndarray) -> list[np.ndarray]:
    """The longest path in each group of neighbouring colours, from cold to hot."""
    from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

    # Squared distances: small steps along the curve are preferred to a jump across it.
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    tree = minimum_spanning_tree(np.where(distances <= GAP, distances**2, 0))
    tree.data = np.sqrt(tree.data)
    number, group = connected_components(tree, directed=False)
    members = (np.flatnonzero(group == k) for k in range(number))
    return [_longest(tree[some][:, some], points[some]) for some in members]


def _longest(tree: object, points: np.ndarray) -> np.ndarray:
    """The points on the longest path in a tree, from cold to hot."""
    from scipy.sparse.csgraph import shortest_path

    lengths, before = shortest_path(tree, directed=False, return_predecessors=True)
    start, end = np.unravel_index(np.argmax(lengths), lengths.shape)
    path = [end]
    while path[-1] != start:
        path.append(before[start, path[-1]])
    found = points[path]
    hotness = _hotness(found)
    rises = float(((hotness - hotness.mean()) * np.arange(len(path))).sum()) >= 0
    return found if rises else found[::-1]


def _hotness(colors: np.ndarray) -> np.ndarray:
    """Grows from black to white, and from blue to red."""
    hotness: np.ndarray = colors @ np.asarray(LUMA) + (colors[:, 0] - colors[:, 2]) / 5
    return hotness
