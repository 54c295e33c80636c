"""World files: six lines of text beside a picture that give its position. They are not read."""

from __future__ import annotations

from pathlib import Path

__all__ = ["unread_world"]


def unread_world(path: Path) -> tuple[str, ...]:
    """What to do about the world file of a picture, in words; nothing if it has none."""
    kind = path.suffix[1:].lower()
    short = f"{kind[:1]}{kind[-1:]}w"
    for suffix in (short, short.upper(), f"{kind}w", "wld"):
        if (beside := path.with_suffix(f".{suffix}")).is_file():
            into = f"gdal_translate IN{path.suffix} OUT.tif writes it into a GeoTIFF"
            return (f"its world file {beside.name} is not read; {into}",)
    return ()
