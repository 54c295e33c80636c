"""The record of how a picture, a volume or a film was made, which is in its file."""

from __future__ import annotations

import os
from pathlib import Path

from ddfm.arguments import by_annotation
from ddfm.errors import InputError
from ddfm.imaging.formats.tables import TABLES
from ddfm.imaging.metadata.record import Record
from ddfm.imaging.metadata.record import read_record as of_picture
from ddfm.imaging.pairing import natural
from ddfm.restoration.corrections import summed_up
from ddfm.storage.checksum import digest_of
from ddfm.storage.inputs import existing_file
from ddfm.storage.manifest import entries_in
from ddfm.video.formats import is_video
from ddfm.volumes.files import holds_volume

__all__ = ["read_record"]

OF_FILM = ("temporal_denoising", "warm")  # settings of a film that a `Fuser` does not have
GIVEN = ("range_a", "range_b", "celsius", "rate", "delay")  # further ones, if they were given


@by_annotation
def read_record(path: str | os.PathLike[str]) -> Record | None:
    """The record of how a picture, a volume or a film was made, or None; reads no pixels."""
    path = Path(path)
    if path.is_dir() and (record := _of_frames(path)) is not None:
        return record
    if is_video(path):
        from ddfm.video.files import record_in as of_film

        text = of_film(path)
    elif holds_volume(path):
        from ddfm.volumes.files import record_in as of_volume

        text = of_volume(path)
    elif path.suffix.lower() in (*TABLES, ".fff", ".irg"):  # these formats cannot hold a record
        existing_file(path)
        return None
    else:
        return of_picture(path)
    return None if text is None else Record.from_text(text, str(path))


def _of_frames(folder: Path) -> Record | None:
    """The record of a film in a folder of frames, from its manifest; None if it has none.

    Each source is named after its first and last file, and identified by the digests of all.
    """
    entries = list(entries_in(folder))
    settings = entries[0].get("settings") if entries else None
    if not isinstance(settings, dict) or not settings.keys() >= {"ddfm", *OF_FILM}:
        return None
    of_film = {name: settings[name] for name in (*OF_FILM, *GIVEN) if name in settings}
    of_fuser = {k: v for k, v in settings.items() if k not in (*OF_FILM, *GIVEN, "frames")}
    try:
        files = zip(*(entry["sources"] for entry in entries), strict=True)
        sources = [_all_of_one(list(of_one)) for of_one in files]
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{folder}: its manifest is damaged: it does not name the sources of all frames"
        ) from None
    observed = summed_up((entry.get("observed") for entry in entries), "frames")
    return Record.of(of_fuser, sources, {"film": of_film}, observed)


def _all_of_one(files: list[dict[str, str]]) -> tuple[str, str]:
    """The name and the digest of one source, from its files in all frames."""
    digests = [str(file["sha256"]) for file in files]
    alone = len(set(digests)) == 1  # the source is a video, the same for all frames
    names = sorted({str(file["name"]) for file in files}, key=natural)
    name = " to ".join(dict.fromkeys((names[0], names[-1])))
    return name, digest_of(digests[:1] if alone else digests)
