"""Which files are videos. Nothing heavy is imported: the command line asks this first."""

from __future__ import annotations

from pathlib import Path

__all__ = ["READ", "WRITTEN", "is_video"]

# Names of FFmpeg for what is read, and its suffixes. Other formats that FFmpeg knows are lists of
# further files and addresses, which it would open.
READ = {
    "mov": (".mp4", ".m4v", ".mov"),
    "matroska": (".mkv", ".webm"),
    "avi": (".avi",),
    "mpegts": (".ts",),
    "mpeg": (".mpg", ".mpeg"),
    "asf": (".wmv",),
    "flv": (".flv",),
    "mxf": (".mxf",),
    "ogg": (".ogv",),
}
WRITTEN = (".mp4", ".mov", ".mkv")


def is_video(path: Path) -> bool:
    """By its name."""
    return any(path.suffix.lower() in suffixes for suffixes in READ.values())
