"""What made a picture, a volume or a film, as its own file says."""

from __future__ import annotations

import os
from pathlib import Path

from ddfm.arguments import by_annotation
from ddfm.imaging.formats.tables import TABLES
from ddfm.imaging.metadata.record import Record
from ddfm.imaging.metadata.record import read_record as of_picture
from ddfm.storage.inputs import existing_file
from ddfm.video.formats import is_video
from ddfm.volumes.files import is_volume

__all__ = ["read_record"]


@by_annotation
def read_record(path: str | os.PathLike[str]) -> Record | None:
    """What made a picture, a volume or a film, if it says so; pixels and voxels are not read."""
    path = Path(path)
    if is_video(path):
        from ddfm.video.files import record_in as of_film

        text = of_film(path)
    elif is_volume(path):
        from ddfm.volumes.files import record_in as of_volume

        text = of_volume(path)
    elif path.suffix.lower() in (*TABLES, ".fff"):  # which have no room for it
        existing_file(path)
        return None
    else:
        return of_picture(path)
    return None if text is None else Record.from_text(text, str(path))
