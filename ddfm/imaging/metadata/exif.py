"""EXIF: the entries that a result takes over from a picture, and how they are written.

Entries about the scene, the camera and the time are kept unchanged. Entries about the file are
dropped, since they would not be true of the result: previews, sizes and positions in pixels, and
maker notes, whose internal offsets are valid only in their own file. Pictures are turned upright
when they are read, so the orientation is always 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ddfm.errors import InputError
from ddfm.imaging.formats.tags import (
    LONG,
    ORIENTATION,
    SHORT,
    UNDEFINED,
    Directory,
    Entry,
    Order,
    block,
    directory_in,
    in_block,
)
from ddfm.storage.ours import MARK

__all__ = ["Exif", "entries_for", "exif_block", "exif_in", "read_exif"]

MOST = 1 << 22  # most bytes of a block that is read
LARGEST = 60_000  # most bytes of the values that are kept: a JPEG has no room for more

PHOTO, GPS = 34665, 34853  # tags that point to the directories of the photograph and of GPS
SOFTWARE, VERSION, WIDTH, HEIGHT = 305, 36864, 40962, 40963
# Title, maker, model, resolution and its unit, time, artist, host, rating, Windows' own, copyright.
_IMAGE_TAGS = frozenset(
    (*(270, 271, 272, 282, 283, 296, 306, 315, 316, 18246, 18249), *range(40091, 40096), 33432)
)
# Without compression, maker notes, positions in pixels, sizes, and files that belong to it.
_PHOTO_TAGS = frozenset(
    {
        *(33434, 33437, 34850, 34852, 34855, 34856, *range(34864, 34870)),  # exposure
        *(VERSION, 36867, 36868, *range(36880, 36883), *range(37520, 37523)),  # time
        *range(37377, 37387),  # shutter, aperture, distance, light, flash, focal length
        37510,  # comment
        *range(37888, 37894),  # temperature, pressure, angle
        *(40960, 40961, 41483, 41484, *range(41486, 41489), 41493, 41495, *range(41728, 41731)),
        *range(41985, 41997),  # mode, zoom, scene
        *(42016, *range(42032, 42038), 42080, 42240),  # owner, serial numbers, lens
    }
)
_SIDES = ((282, 283), (41486, 41487))  # resolution across and down: of the picture, of the sensor
_OF_SENSOR = (41486, 41487, 41488)  # resolution of the sensor and its unit
_ON_ITS_SIDE = (5, 6, 7, 8)

_OF_PERSONS = {
    315: "Artist",
    33432: "Copyright",
    40093: "XPAuthor",
    42032: "CameraOwnerName",
    42033: "BodySerialNumber",
    42037: "LensSerialNumber",
    316: "HostComputer",
}


@dataclass(frozen=True)
class Exif:
    """The entries that are taken over.

    Attributes:
        image: title, camera, time, copyright.
        photo: exposure, lens, comments.
        gps: position.
    """

    image: Directory = field(default_factory=dict)
    photo: Directory = field(default_factory=dict)
    gps: Directory = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.image or self.photo or self.gps)

    def resampled(self) -> Exif:
        """The entries for a resampled picture: without the resolution of the sensor."""
        return replace(self, photo={k: v for k, v in self.photo.items() if k not in _OF_SENSOR})

    @property
    def personal(self) -> list[str]:
        """Names of the entries that may identify a person or a place."""
        tags = {tag for tag, entry in (self.image | self.photo).items() if entry.data.strip(b"\0 ")}
        names = [name for tag, name in _OF_PERSONS.items() if tag in tags]
        return (["GPS position"] if set(self.gps) - {0} else []) + names


def exif_in(data: bytes, orientation: int = 1) -> Exif:
    """The entries of an EXIF block that are taken over.

    Args:
        orientation: the orientation by which the picture was turned upright.
    """
    data = data.removeprefix(b"Exif\0\0")
    if len(data) > MOST:
        raise InputError("its EXIF is too large")
    opened = in_block(data)
    if opened is None:
        raise InputError("its EXIF is damaged")
    return read_exif(*opened, orientation)


def read_exif(
    read: Callable[[int, int], bytes],
    offset: int,
    order: Order,
    orientation: int = 1,
    *,
    big: bool = False,
) -> Exif:
    """The same from the directory of a TIFF page or an EXIF block; arguments as `directory_in`."""
    wanted = _IMAGE_TAGS | _PHOTO_TAGS | {PHOTO, GPS}
    first = directory_in(read, offset, order, wanted, big=big)

    def below(tag: int, wanted: frozenset[int]) -> Directory:
        numbers = first[tag].numbers if tag in first else ()
        return directory_in(read, int(numbers[0]), order, wanted, big=big) if numbers else {}

    image = {tag: entry for tag, entry in first.items() if tag in _IMAGE_TAGS}
    if 296 not in image or image[296].numbers == (1,):  # a resolution without a unit is no use
        image = {tag: entry for tag, entry in image.items() if tag not in (282, 283, 296)}
    # Some cameras put entries into the first directory that belong to the photograph's.
    photo = {tag: entry for tag, entry in first.items() if tag in _PHOTO_TAGS}
    photo |= below(PHOTO, _PHOTO_TAGS)
    if orientation in _ON_ITS_SIDE:
        image, photo = _turned(image), _turned(photo)
    found = Exif(image, photo, below(GPS, frozenset(range(32))))
    sizes = (len(e.data) for each in (image, photo, found.gps) for e in each.values())
    if sum(sizes) > LARGEST:
        raise InputError("its EXIF is too large")
    return found


def exif_block(exif: Exif, size: tuple[int, int]) -> bytes:
    """An EXIF block for a picture of this height and width, without the prefix "Exif"."""
    return block(*entries_for(exif, size))


def entries_for(exif: Exif, size: tuple[int, int]) -> tuple[Directory, dict[int, Directory]]:
    """The entries of the first directory for a picture of this size, and its sub-directories."""
    image = dict(exif.image)
    photo = dict(exif.photo)
    image[SOFTWARE] = Entry.of_text(MARK)
    if exif:
        image[ORIENTATION] = Entry.of(SHORT, 1)
        photo.setdefault(VERSION, Entry(UNDEFINED, b"0232"))
        photo |= {WIDTH: Entry.of(LONG, size[1]), HEIGHT: Entry.of(LONG, size[0])}
    return image, {PHOTO: photo, GPS: exif.gps}


def _turned(directory: Directory) -> Directory:
    """The entries with resolutions across and down exchanged, for a picture stored on its side."""
    other = {tag: back for pair in _SIDES for tag, back in (pair, pair[::-1])}
    return {other.get(tag, tag): entry for tag, entry in directory.items()}
