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
# Least correlation of the place along it with how hot a colour looks. Rainbows have 0.7, and a
# photograph in which a part shows temperatures, as some cameras make it, has 0.55.
RISES = 0.65
DEPTH = 63  # levels of R, G and B by which pixels are told apart
AT_ONCE = 1 << 17  # pixels whose surroundings are in memory at a time
MIXED = 0.15  # distance from the palette beyond which a colour is not one of it


def levels_along_palette(colors: np.ndarray) -> np.ndarray | None:
    """Levels (H, W) from 0, cold, to 1, hot, of colours (H, W, 3); None if they show no palette.

    The coldest and the hottest colour of this picture become 0 and 1.
    """
    from scipy.spatial import cKDTree

    flat = colors.reshape(-1, 3)
    points = _frequent(flat)
    if len(points) < 3:
        return None
    palette = _palette_of(points)
    if np.corrcoef(np.arange(STEPS), _hotness(palette))[0, 1] < RISES:
        return None
    codes = np.rint(flat * DEPTH).astype(np.int32) @ np.array([(DEPTH + 1) ** 2, DEPTH + 1, 1])
    seen = np.flatnonzero(np.bincount(codes))
    rgb = np.stack(np.unravel_index(seen, (DEPTH + 1,) * 3), axis=1) / DEPTH
    away, nearest = cKDTree(palette).query(rgb)
    is_mixed, level = np.zeros((DEPTH + 1) ** 3, bool), np.zeros((DEPTH + 1) ** 3, np.uint8)
    is_mixed[seen], level[seen] = away > MIXED, nearest
    levels = level[codes].reshape(colors.shape[:2])
    # Compression mixes colours along edges; such mixtures may lie anywhere along the palette.
    mixed = np.nonzero(is_mixed[codes].reshape(levels.shape))
    levels[mixed] = _medians_around(levels, mixed)
    return levels.astype(np.float32) / (STEPS - 1)


def _medians_around(levels: np.ndarray, pixels: tuple[np.ndarray, ...]) -> np.ndarray:
    """The median of 5 x 5 levels around each of these pixels."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(levels, 2, mode="edge"), (5, 5))
    found = np.empty(len(pixels[0]), levels.dtype)
    for some in np.array_split(np.arange(len(found)), 1 + len(found) // AT_ONCE):
        y, x = (each[some] for each in pixels)
        found[some] = np.partition(around[y, x].reshape(len(some), 25), 12, axis=1)[:, 12]
    return found


def _frequent(flat: np.ndarray) -> np.ndarray:
    """The mean colour (N, 3) of each cell that has enough pixels."""
    places = np.minimum((flat * CELLS).astype(int), CELLS - 1) @ (CELLS**2, CELLS, 1)
    counts = np.bincount(places)
    sums = np.stack([np.bincount(places, channel) for channel in flat.T], axis=1)
    enough = counts >= max(1, FREQUENT * len(flat))
    return sums[enough] / counts[enough, None]


def _palette_of(points: np.ndarray) -> np.ndarray:
    """Colours (STEPS, 3) at equal distances along the curve through these points, cold to hot."""
    paths = sorted(_paths(points), key=lambda path: float(_hotness(path).mean()))
    curve = np.concatenate(paths)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    at = np.linspace(0, along[-1], STEPS)
    return np.stack([np.interp(at, along, channel) for channel in curve.T], axis=1)


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
