"""What a file or folder is that ddfm did not make, and what a fusion would correct in it.

What is found is for JSON. torch is loaded only for pictures and volumes, not for folders.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ddfm.arguments import by_annotation
from ddfm.errors import InputError, disk_explained
from ddfm.imaging.levels import crowded, used, with_levels
from ddfm.imaging.picture import Picture
from ddfm.imaging.reading import is_image, pages_in, read_source
from ddfm.imaging.thermal.radiometric import has_photograph, maker_of
from ddfm.imaging.thermal.renderings import in_false_colors
from ddfm.imaging.unreadable import explained, is_dicom
from ddfm.storage.manifest import is_manifest
from ddfm.video.files import VideoReader, open_whole
from ddfm.video.formats import is_video
from ddfm.volumes.dicom import series_in
from ddfm.volumes.files import holds_volume, is_volume, read_volume, suffix_of, volume_count
from ddfm.volumes.intensity import is_ct, scaled, scaled_by
from ddfm.volumes.volume import PLANES, Volume, axes_of, find_axis

__all__ = ["describe"]

MOST_FILES = 10_000  # files of a folder that are searched for a DICOM file
_KINDS = {".hdr": "Analyze", ".img": "Analyze", ".mgh": "MGH", ".mgz": "MGH", ".nrrd": "NRRD"}
_KINDS |= {".nhdr": "NRRD", ".mha": "MetaImage", ".mhd": "MetaImage", ".nii": "NIfTI"}
_UNIT = re.compile(r"[A-Za-z0-9/%]{1,16}")  # anything else in a header is no unit


@by_annotation
def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file or folder is, for JSON; of a picture also what would be corrected in it.

    The first key is "picture", "volume", "video" or "folder".
    """
    path = Path(path)
    if path.is_dir():
        return _folder_at(path)
    if is_video(path):
        return _video_at(path)
    return _volume_at(path) if holds_volume(path) else _picture_at(path)


def _picture_at(path: Path) -> dict[str, Any]:
    """What a picture is; of a file that holds several ("pages"), it is about the first.

    "values" are the least and the greatest value, or, of a radiometric file, those that become
    black and white, in its "unit". "spread" are those that become black and white where a small
    part of 16 bits is used, "crowded" the limits of nearly all floating-point values where these
    are a small part of their range. "no_data" is the share of pixels without data, which are
    ignored, and "no_data_value" the one that marks them in a GeoTIFF. "coordinates" names its
    coordinate system. "photograph" tells whether a radiometric file is a pair by itself.
    "observed" is as in `Fusion.settings`, as far as one picture tells.
    """
    pages = pages_in(path)
    picture = read_source(path, page=0 if pages > 1 else None)
    height, width = picture.size
    thermal = maker_of(path) or ("false colours" if in_false_colors(picture) else "")
    geo, place = picture.metadata.geo, picture.metadata.place
    from ddfm.pipeline.found import found_in_picture  # loads torch

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
        "crowded": crowded(picture),
        "no_data": round(1 - float(picture.valid.mean()), 6),
        "no_data_value": geo.nodata if geo else None,
        "coordinates": place.called if place else None,
        "thermal": thermal,
        "photograph": has_photograph(path),
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


def _folder_at(path: Path) -> dict[str, Any]:
    """What a folder holds: a DICOM series, several of them, or files of other kinds.

    "files" counts the files that ddfm reads by their suffix, "others" the rest, without hidden
    ones, and "first" is the name of the first picture. "photograph" tells whether that is a
    radiometric file that is a pair by itself, and "results" whether ddfm filled the folder.
    """
    with disk_explained(f"read the folder {path}"):
        if any(map(is_dicom, islice(_files(path.rglob("*")), MOST_FILES))):
            series = series_in(path)
            if len(series) == 1:
                return _volume_at(path)
            if series:
                return {"folder": str(path), "series": [list(one) for one in series]}
        files = sorted(_files(path.iterdir()))
    kinds = Counter((_kind(file), suffix_of(file)) for file in files)
    pictures = [file.name for file in files if _kind(file) == "picture"]
    return {
        "folder": str(path),
        "files": {
            kind: {suffix: number for (k, suffix), number in kinds.most_common() if k == kind}
            for kind in ("picture", "video", "volume")
        },
        "others": sum(number for (kind, _), number in kinds.items() if not kind),
        "first": pictures[0] if pictures else None,
        "photograph": any(has_photograph(path / f) for f in pictures[:1]),
        "results": any(is_manifest(file.name) for file in files),
    }


def _files(paths: Iterable[Path]) -> Iterable[Path]:
    return (path for path in paths if path.is_file() and not path.name.startswith("."))


def _kind(file: Path) -> str:
    """The kind of a file by its suffix; empty for files that ddfm does not read."""
    if is_image(file):
        return "picture"
    return "video" if is_video(file) else "volume" if is_volume(file) else ""


def _volume_at(path: Path) -> dict[str, Any]:
    """What a volume is; of a file that holds several ("volumes"), it is about the first.

    Three volumes of bytes are one in colour, as for `ddfm volume`.

    "axes" are the letters of the sides that the indices proceed to. "black_and_white" are the
    values that become black and white, as "scaled_by" tells. "window" has level and width that the
    file itself suggests, or is None. "observed" is what `ddfm volume` would correct in some slices.
    """
    try:
        volume, count = read_volume(path), 1
    except InputError:
        count = volume_count(path)
        if count == 1:
            raise
        volume = read_volume(path, volume=0)
    with explained(str(path)):  # pydicom decodes elements when they are first used
        return _about(volume, count, path)


def _about(volume: Volume, count: int, path: Path) -> dict[str, Any]:
    from ddfm.pipeline.found import found_in_volume  # loads torch

    axis = find_axis(volume)
    low, high = (float(value) for value in (volume.values.min(), volume.values.max()))
    levels, limits = scaled(volume)
    unit = "HU" if is_ct(volume) else _unit(volume)
    return {
        "volume": str(path),
        "format": _format(volume, path),
        "volumes": count,
        "modality": volume.modality,
        "shape": list(volume.shape),
        "spacing": [round(float(side), 4) for side in volume.spacing],
        "axes": axes_of(volume),
        "slices": next(plane for plane in PLANES if find_axis(volume, plane) == axis),
        "number_of_slices": volume.shape[axis],
        "dtype": volume.stored_as,
        "color": volume.is_color,
        "values": [low, high],
        "unit": unit,
        "black_and_white": [float(value) for value in limits],
        "scaled_by": scaled_by(volume),
        "window": _window(volume.source),
        "burned_in": volume.burned_in,
        "observed": found_in_volume(replace(volume, values=levels)),
    }


def _format(volume: Volume, path: Path) -> str:
    """The name of the format; a pair .hdr and .img may be of NIfTI, which has a magic number."""
    named = _KINDS.get(suffix_of(path).removesuffix(".gz"), "DICOM")
    return "NIfTI" if named == "Analyze" and "magic" in volume.source else named


def _unit(volume: Volume) -> str:
    """The unit of a PET, such as BQML."""
    found = str(volume.source.get("Units", "")) if volume.modality == "PT" else ""
    return found if _UNIT.fullmatch(found) else ""


def _window(header: Any) -> list[float] | None:
    """Level and width that the header of a DICOM or NIfTI file suggests, if it does."""
    try:
        if hasattr(header, "get_data_dtype"):  # a header of nibabel
            low, high = float(header["cal_min"]), float(header["cal_max"])
            level, width = (low + high) / 2, high - low
        else:
            found = header.WindowCenter, header.WindowWidth  # there may be several
            level, width = (float(np.atleast_1d(np.array(one, float))[0]) for one in found)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None
    return [level, width] if np.isfinite([level, width]).all() and width > 0 else None


def _video_at(path: Path) -> dict[str, Any]:
    """What a video is; only its first frame is decoded. "exact" tells whether it counts "frames".

    "sound" is None, or has the codec, the sampling rate and the number of channels.
    """
    reader = VideoReader(path)
    with closing(reader.stamped()) as frames:
        _, picture = next(frames, (None, None))
    if picture is None:
        raise InputError(f"{path} has no frame that can be read")
    with explained(str(path)), open_whole(path) as film:
        stream = film.streams.video[0]
        height, width = picture.size
        layout = stream.codec_context.format
        usual = 8 * picture.dtype.itemsize
        seconds = (film.duration or 0) / 1e6 or (reader.count or 0) / reader.rate
        return {
            "video": str(path),
            "format": str(film.format.long_name),
            "codec": str(stream.codec_context.name),
            "width": width,
            "height": height,
            "bits": usual if layout is None else max(part.bits for part in layout.components),
            "color": picture.is_color,
            "rate": reader.rate,
            "frames": reader.count,
            "exact": reader.exact,
            "seconds": round(seconds, 3) or None,
            "sound": _sound(film),
        }


def _sound(film: Any) -> dict[str, Any] | None:
    if not film.streams.audio:
        return None
    of_sound = film.streams.audio[0].codec_context
    if of_sound is None:
        return {"codec": "unknown", "rate": None, "channels": None}
    about = {"rate": int(of_sound.sample_rate), "channels": int(of_sound.channels)}
    return {"codec": str(of_sound.name)} | about
