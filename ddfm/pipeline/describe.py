"""What a file is that ddfm did not make, and what a fusion would correct in a picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ddfm.arguments import by_annotation
from ddfm.imaging.formats.dji import is_dji
from ddfm.imaging.formats.flir import has_photograph
from ddfm.imaging.formats.radiometric import is_radiometric
from ddfm.imaging.levels import used, with_levels
from ddfm.imaging.picture import Picture
from ddfm.imaging.reading import pages_in, read_source
from ddfm.imaging.renderings import in_false_colors
from ddfm.pipeline.describe_others import folder_at, video_at, volume_at
from ddfm.video.formats import is_video
from ddfm.volumes.files import is_volume

__all__ = ["describe"]


@by_annotation
def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file or folder is, for JSON; of a picture also what would be corrected in it.

    The first key is "picture", "volume", "video" or "folder"; the last three are described in
    `ddfm.pipeline.describe_others`.

    Of a file that holds several pictures ("pages"), it is about the first.
    "values" are the least and the greatest value, or, of a radiometric file, those that become
    black and white, in its "unit". "spread" are those that become black and white where a small
    part of 16 bits is used. "no_data" is the share of pixels without data, which are ignored, and
    "no_data_value" the one that marks them in a GeoTIFF. "coordinates" names its coordinate system.
    "photograph" tells whether a radiometric file is a pair by itself.
    "observed" is as in `Fusion.settings`, as far as one picture tells.
    """
    path = Path(path)
    if path.is_dir():
        return folder_at(path)
    if is_video(path):
        return video_at(path)
    return volume_at(path) if is_volume(path) else _picture_at(path)


def _picture_at(path: Path) -> dict[str, Any]:
    pages = pages_in(path)
    picture = read_source(path, page=0 if pages > 1 else None)
    height, width = picture.size
    thermal = ""
    photograph = False
    if is_radiometric(path):
        thermal = "DJI" if is_dji(path) else "FLIR"
        photograph = thermal == "FLIR" and has_photograph(path)
    elif in_false_colors(picture):
        thermal = "false colours"
    geo, place = picture.metadata.geo, picture.metadata.place
    from ddfm.pipeline.found import found_in_picture  # loads torch, which folders do not need

    return {
        "picture": str(path),
        "width": width,
        "height": height,
        "pages": pages,
        "dtype": str(picture.integers or picture.dtype),
        "color": picture.is_color,
        "alpha": picture.alpha is not None,
        "values": _values(picture),
        "unit": picture.unit,
        "spread": used(picture),
        "no_data": round(1 - float(picture.valid.mean()), 6),
        "no_data_value": geo.nodata if geo else None,
        "coordinates": place.called if place else None,
        "thermal": thermal,
        "photograph": photograph,
        "observed": found_in_picture(with_levels(picture)),
    }


def _values(picture: Picture) -> tuple[float, float]:
    if picture.range is not None:  # of floating point, or of a thermal camera
        return picture.range
    samples = picture.samples[picture.valid]
    low, high = float(samples.min()), float(samples.max())
    if picture.dtype.kind == "f" or picture.samples.dtype.kind == "u":
        return low, high
    white = np.iinfo(picture.dtype).max
    return round(low * white), round(high * white)
