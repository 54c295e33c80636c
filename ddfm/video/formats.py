"""Which files are videos. Importing it is fast, since the command line checks this first."""

from __future__ import annotations

from pathlib import Path

__all__ = ["READ", "WRITTEN", "is_video"]

# FFmpeg's names of the formats that are read, and their suffixes. Some other formats of FFmpeg are
# lists of files and addresses, which it would open.
READ = {
    "mov": (".mp4", ".m4v", ".mov", ".3gp"),
    "matroska": (".mkv", ".webm"),
    "avi": (".avi",),
    "mpegts": (".ts", ".mts", ".m2ts"),
    "mpeg": (".mpg", ".mpeg"),
    "asf": (".wmv",),
    "flv": (".flv",),
    "mxf": (".mxf",),
    "ogg": (".ogv",),
}
WRITTEN = (".mp4", ".mov", ".mkv")


def is_video(path: Path) -> bool:
    """Whether a file is a video, by its suffix."""
    return any(path.suffix.lower() in suffixes for suffixes in READ.values())
