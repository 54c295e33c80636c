"""The metadata that a result takes over from a picture: EXIF, XMP and geographic position.

Each source is read with its metadata; the result of a fusion gets those of one source. Entries that
would not be true of the result are dropped on reading (`exif`, `xmp`), and positions are updated
when the pixel grid changes (`geo`). Metadata that cannot be read are left out, with a warning, and
the picture is read all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ddfm.errors import InputError
from ddfm.imaging.metadata import xmp as packets
from ddfm.imaging.metadata.exif import Exif
from ddfm.imaging.metadata.geo import Geo

__all__ = ["NOTHING", "Metadata", "gathered", "note_of_kept"]

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Metadata:
    """The metadata of a picture that its result takes over.

    Attributes:
        exif: the EXIF entries that are taken over.
        xmp: a packet with the properties that are taken over.
        geo: the geographic position.
        lost: a line for each part that is not taken over, with the reason.
        unplaced: the same for positions, which matter only if nothing else gives one.
        source: the name of the source, in the metadata of a result.
        placed_by: the name of the picture that the position is from, if it is another one.
    """

    exif: Exif = field(default_factory=Exif)
    xmp: bytes | None = None
    geo: Geo | None = None
    lost: tuple[str, ...] = ()
    unplaced: tuple[str, ...] = ()
    source: str = ""
    placed_by: str = ""

    @property
    def place(self) -> Geo | None:
        """The geographic position, unless it is only a no-data value."""
        return self.geo if self.geo and self.geo.is_placed else None

    @property
    def personal(self) -> tuple[str, ...]:
        """Names of the entries that may identify a person or a place."""
        names = self.exif.personal + (packets.personal(self.xmp) if self.xmp else [])
        names += ["coordinates"] if self.place else []
        return tuple(dict.fromkeys(names))

    @property
    def notes(self) -> tuple[str, ...]:
        """A line for each picture that such entries are from, in the metadata of a result."""
        place = ["coordinates"] if self.place and self.placed_by not in ("", self.source) else []
        own = [name for name in self.personal if name not in place]
        found = ((own, self.source), (place, self.placed_by))
        return tuple(note_of_kept(names, source) for names, source in found if names)

    def cropped(self, top: int, left: int) -> Metadata:
        """The metadata of the part of the picture that begins at row `top`, column `left`."""
        return self if self.geo is None else replace(self, geo=self.geo.cropped(top, left))

    def resized(self, of: tuple[int, int], to: tuple[int, int]) -> Metadata:
        """The metadata of the same field, border to border, at another height and width."""
        geo = None if self.geo is None else self.geo.resized(of, to)
        return replace(self, exif=self.exif.resampled(), geo=geo)

    def laid_on(self, other: Metadata, name: str) -> Metadata:
        """The metadata of the picture when it is resampled onto the grid of another one.

        Args:
            name: the name of the other one.
        """
        word = (
            "its coordinates are left out, since it was moved onto a grid that has none; align_to "
            "(--align-to) chooses the grid"
        )
        unplaced = self.unplaced + ((word,) if self.place and not other.place else ())
        whole = replace(self, exif=self.exif.resampled(), unplaced=unplaced)
        return replace(whole, geo=other.geo, placed_by=other.placed_by or name)

    def placed_like(self, other: Metadata, name: str) -> Metadata:
        """The metadata with the position of another picture on the same grid.

        The no-data value stays, since it marks pixels of its own picture.
        """
        nodata = self.geo.nodata if self.geo else None
        geo = other.place and replace(other.place, nodata=nodata)
        return replace(self, geo=geo, placed_by=other.placed_by or name)


NOTHING = Metadata()


def note_of_kept(kept: Iterable[str], source: str = "the sources") -> str:
    """A line that names the metadata in a result that may identify a person or a place."""
    return f"kept from {source}: {', '.join(kept)}; strip=True (--strip) leaves it out"


def gathered(
    exif: Callable[[], Exif],
    xmp: Callable[[], bytes | None],
    geo: Callable[[], Geo | None] = lambda: None,
) -> Metadata:
    """The metadata that these readers find; if one of them fails, the others are still used."""
    lost: list[str] = []
    found = (_tried(exif, "EXIF", lost), _tried(xmp, "XMP", lost), _tried(geo, "coordinates", lost))
    return Metadata(found[0] or Exif(), found[1], found[2], tuple(lost))


def _tried(find: Callable[[], T], kind: str, lost: list[str]) -> T | None:
    try:
        return find()
    except InputError as error:
        lost.append(f"{error}, and left out")
    except Exception:  # decoders may raise anything on damaged files; the picture may be intact
        lost.append(f"its {kind} is damaged, and left out")
    return None
