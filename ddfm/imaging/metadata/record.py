"""The record of how a picture was made, stored in it: version, settings, weights and sources.

It is JSON in one property of an XMP packet, and identical for identical settings and sources: it
has no time, no path and nothing about the user except the names of the sources' files.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from PIL import Image

from ddfm.arguments import by_annotation
from ddfm.errors import InputError
from ddfm.imaging.formats import jpeg2000
from ddfm.imaging.formats.pil import READABLE, packet_of
from ddfm.imaging.formats.plugins import opened_by
from ddfm.imaging.formats.tiff_pages import XMP, is_tiff, page_tags
from ddfm.imaging.metadata import xmp
from ddfm.imaging.unreadable import explained
from ddfm.storage.inputs import BoundedFile, existing_file, json_object

__all__ = ["Record", "is_record", "read_record"]

FORMAT = "ddfm record 1"
MOST = 1 << 18  # most characters of a record that is read
_DIGITS = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Record:
    """How a picture was made.

    Attributes:
        settings: all that the result depends on except its sources: "ddfm" is the version,
            "weights" the sha256 of the prior's weights, if it has any, and the others are keywords
            of `ddfm.Fuser`.
        sources: the name of each file and the sha256 of its content; None if it was not a file.
        opening: the options for reading the sources; see `ddfm.imaging.opening`.
        observed: what was detected in each source and corrected, if anything was.
    """

    settings: Mapping[str, Any]
    sources: Sequence[tuple[str, str | None]] = ()
    opening: Mapping[str, Any] = field(default_factory=dict)
    observed: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of(
        cls,
        settings: Mapping[str, Any],
        sources: Sequence[tuple[str, str | None]],
        opening: Mapping[str, Any],
        observed: Sequence[Mapping[str, Any]] = (),
    ) -> Record:
        """A record in which every path of a file or folder is reduced to its last part."""
        named = [(_basename(name), digest) for name, digest in sources]
        return cls(_basename(dict(settings)), named, opening, _basename(list(observed)))

    @property
    def text(self) -> str:
        """The JSON that is stored in the picture; it begins with the format."""
        return json.dumps(self.plain(), separators=(",", ":"), sort_keys=True, allow_nan=False)

    @property
    def is_trained(self) -> bool:
        """Whether a trained model may have contributed to the pixels.

        In the default likelihood, the prior only removes noise and JPEG artefacts, which are listed
        in `observed`.
        """
        if self.settings.get("prior") == "gaussian":
            return False
        ours = (self.settings.get("method"), self.settings.get("likelihood")) == ("ddfm", "default")
        return not ours or any({"noise", "jpeg"} & found.keys() for found in self.observed)

    def plain(self) -> dict[str, Any]:
        """The record as a dict, ready for JSON."""
        sources = [{"name": name, "sha256": digest} for name, digest in self.sources]
        record = {"format": FORMAT, "settings": dict(self.settings), "sources": sources}
        record |= {"opening": dict(self.opening)} if self.opening else {}
        return record | ({"observed": list(self.observed)} if self.observed else {})

    @classmethod
    def from_text(cls, text: str, name: str) -> Record:
        """Parse what `text` gave; checks it, since anybody may have written it."""
        where = f"{name}: its record"
        if len(text) > MOST:
            raise InputError(f"{where} is too large")
        found = json_object(text, where)
        sources = found.get("sources")
        settings: Any = found.get("settings")
        opening: Any = found.get("opening", {})
        observed: Any = found.get("observed", [])
        if found.get("format") != FORMAT:
            raise InputError(f"{where} has a format that this version of ddfm does not know")
        sound = isinstance(settings, dict) and isinstance(opening, dict)
        if not sound or not isinstance(settings.get("ddfm"), str):
            raise InputError(f"{where} is damaged: it has no settings")
        if not isinstance(sources, list) or not all(map(_is_source, sources)):
            raise InputError(f"{where} is damaged: it has no list of sources")
        if not isinstance(observed, list) or not all(isinstance(one, dict) for one in observed):
            raise InputError(f"{where} is damaged: its findings about the sources are not a list")
        return cls(settings, [(one["name"], one["sha256"]) for one in sources], opening, observed)


def is_record(text: str) -> bool:
    """Whether a text is a record of ddfm, by its beginning; other programs may have written it."""
    return text.startswith('{"format":"ddfm record ')


@by_annotation
def read_record(path: str | os.PathLike[str]) -> Record | None:
    """Read the record of how a picture was made; None if it has none. Pixels are not read."""
    path = existing_file(path)
    with explained(str(path)):
        packet = _packet_in(path)
    if packet is None:
        return None
    try:
        text = xmp.record_in(packet)
    except InputError as error:
        if xmp.OURS.encode() not in packet:
            return None  # damaged by another program, like any metadata: no record was in it
        raise InputError(f"{path}: {error}") from None
    return None if text is None else Record.from_text(text, str(path))


def _packet_in(path: Path) -> bytes | None:
    """The XMP packet in a file of any format, if it has one; of a TIFF, that of the first page."""
    with open(path, "rb") as opened:
        head = opened.read(4096)
    if is_tiff(head):
        entry = page_tags(path, 0, {XMP}).get(XMP)
        return None if entry is None else entry.data
    if jpeg2000.is_boxed(head):
        return jpeg2000.uuid_boxes(path).get(jpeg2000.XMP)
    formats = READABLE + opened_by(path, head, str(path))
    with BoundedFile(path) as file, Image.open(file, formats=formats) as image:
        return packet_of(image)


def _is_source(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return False
    digest = entry.get("sha256", 0)
    return digest is None or (isinstance(digest, str) and bool(_DIGITS.fullmatch(digest)))


def _basename(value: Any) -> Any:
    """A setting with every path in it reduced to its last part."""
    if isinstance(value, dict):
        return {key: _basename(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_basename(one) for one in value]
    return PurePath(value).name if isinstance(value, str) and os.sep in value else value
