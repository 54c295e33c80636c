"""Priors by name: their files in the cache, how to download and check them, their description.

`get` downloads the files of an entry into the cache, `check` verifies the files there. If no
checksum is published, the catalogue has none. Then `get` requires one, or trust in the server, and
writes the checksum of the downloaded file (NAME.sha256, for `sha256sum -c`), so that `check`
detects later damage.
"""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from ddfm.errors import DdfmError, DownloadError, HostError, InputError, unknown
from ddfm.extensions import brought
from ddfm.priors.download import cache_dir, download, gigabytes
from ddfm.priors.entries import ENTRIES, Entry, File, find, known
from ddfm.priors.hub import is_of_hub, place_of
from ddfm.priors.verify import verify
from ddfm.storage.checksum import sha256_of
from ddfm.storage.files import write_text
from ddfm.storage.inputs import with_home
from ddfm.storage.ours import MARK, check_ours
from ddfm.storage.shipped import shipped

__all__ = [
    "check",
    "check_prior",
    "describe",
    "get",
    "listing",
    "path_of",
    "table",
]

NOT_INSTALLED = (
    "the weights of the prior default are not installed; reinstall ddfm, or use another prior, "
    "for example gaussian"
)


def path_of(name: str) -> Path | None:
    """Path of a prior's weights: a file, or the folder of a diffusers model.

    None if the prior has no weights, or if any of its files is missing.
    """
    entry = find(name)
    if entry.name == "default":
        return shipped("default.safetensors")
    if not entry.files or not all(_place(entry, file).is_file() for file in entry.files):
        return None
    first = _place(entry, entry.files[0])
    return first.parent if entry.folder else first


def get(
    name: str, url: str | None = None, *, sha256: str | None = None, trust: bool = False
) -> Path:
    """Download the missing or damaged files of a prior, and return the path of its weights.

    Args:
        name: the prior's name in the catalogue.
        url: a mirror: the address of the file, or of the folder if there are several.
        sha256: checksum of the weights, if none is published.
        trust: whether to accept weights without any checksum.
    """
    entry = find(name)
    if not entry.files:
        path = _shipped(entry)
        if path is None:
            raise InputError(f"nothing to download: the prior {entry.name} is part of ddfm")
        return path
    if sha256 is not None and re.fullmatch("[0-9a-fA-F]{64}", sha256) is None:
        raise InputError(f"a sha256 is 64 hexadecimal digits, not {sha256!r}")
    for file in entry.files:
        address = file.url
        if url is not None:
            address = f"{url.rstrip('/')}/{file.name}" if entry.folder else url
        digest = file.sha256 or (None if _is_settings(file) else sha256)
        _get_file(entry, file, address, digest, trust)
    path = path_of(name)
    assert path is not None
    return path


def _get_file(entry: Entry, file: File, address: str, digest: str | None, trust: bool) -> None:
    """Download one file of a prior, with a receipt of its checksum, unless it is there intact."""
    place = _place(entry, file)
    if _is_sound(entry, place, file, digest):
        return
    if digest is None and not trust and not _is_settings(file):
        raise InputError(
            f"no checksum of {file.name} has been published; give one that you know with "
            f"--sha256, or trust the server: ddfm priors get {entry.name} --trust"
        )
    least = _least(entry, file)
    check_ours(_receipt(place))
    # Only a file with a receipt was downloaded here, and may be replaced.
    ours = (sha256_of(place),) if place.is_file() and _noted(place) else ()
    try:
        download(address, place, sha256=digest, size=file.size, least=least, known=ours)
    except DownloadError as error:
        raise DownloadError(f"{error}; you may also save this file as {place} yourself") from None
    write_text(_receipt(place), f"# {MARK}\n{sha256_of(place)}  {place.name}\n")


def check(name: str) -> str:
    """A line on how the files of a prior were found intact; raises DdfmError if they are not."""
    entry = find(name)
    if not entry.files:
        path = _shipped(entry)
        if path is not None:
            verify(path, None, None)
        return f"{entry.name}: part of ddfm" + (f", {path}" if path else "")
    path = path_of(name)
    if path is None:
        raise HostError(
            f"the prior {entry.name} is not in {cache_dir()}; download it with "
            f"`ddfm priors get {entry.name}`"
        )
    against = set()
    for file in entry.files:
        place = _place(entry, file)
        verify(place, file.sha256 or _noted(place), file.size, least=_least(entry, file))
        if file.sha256 is None:
            verify(place, None, None)  # checks that its content fits its suffix
        against.add(_checksum_kind(place, file))
    weakest = min(against, key=("complete", "noted", "published").index)
    says = {
        "published": "matches the published checksum",
        "noted": "is unchanged since its download, on trust (no published checksum)",
        "complete": "seems complete (no published checksum)",
    }
    return f"{entry.name}: {path} {says[weakest]}"


def table() -> list[dict[str, Any]]:
    """The content of `listing`, a dict for each prior."""
    ours = [
        {
            "name": entry.name,
            "channels": entry.channels,
            "size": _size(entry),
            "status": _status(entry),
            "description": entry.description,
        }
        for entry in ENTRIES.values()
    ]
    others = [
        {
            "name": name,
            "channels": None,
            "size": "-",
            "status": "of a package",
            "description": _of_package(part),
        }
        for name, part in sorted(brought("prior").items())
        if name not in ENTRIES
    ]
    return ours + others


def _of_package(part: EntryPoint) -> str:
    return f"{part.value}, which an installed package provides"


def listing() -> str:
    """All priors, one per line: name, channels, size, status and description."""
    rows: list[tuple[str, ...]] = [("NAME", "CHANNELS", "SIZE", "STATUS", "DESCRIPTION")]
    rows += [tuple("-" if v is None else str(v) for v in row.values()) for row in table()]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[4]])
        for row in rows
    )


def describe(name: str) -> str:
    """The catalogue's entry of a prior, as lines of text."""
    if known(name) is None and (part := brought("prior").get(name)) is not None:
        return f"{name}\n  {'description'.ljust(12)}{_of_package(part)}"
    entry = find(name)
    rows = [
        ("description", entry.description),
        ("channels", f"{entry.channels} ({'luminance' if entry.channels == 1 else 'RGB'})"),
        ("licence", entry.licence),
    ]
    if entry.source:
        rows.append(("source", entry.source))
    if entry.parameters:
        rows.append(("parameters", f"{entry.parameters:,}"))
    if entry.config:
        rows.append(("settings", ", ".join(f"{k}={v}" for k, v in entry.config.items())))
    if entry.folder:
        rows.append(("settings", "in the model's own config.json and scheduler_config.json"))
    for file in entry.files:
        rows.append(("file", file.name))
        rows.append(("  url", file.url))
        rows.append(("  size", f"{file.size:,} bytes" if file.size else "not published"))
        rows.append(("  sha256", file.sha256 or "not verified: no published checksum"))
    path = path_of(name)
    rows.append(("status", f"{_status(entry)}: {path}" if path else _status(entry)))
    return "\n".join([entry.name, *(f"  {key.ljust(12)}{value}" for key, value in rows)])


def _shipped(entry: Entry) -> Path | None:
    """Path of the weights of a prior that is part of ddfm; None if it has no weights."""
    path = path_of(entry.name)
    if entry.name == "default" and path is None:
        raise HostError(NOT_INSTALLED)
    return path


def _place(entry: Entry, file: File) -> Path:
    return cache_dir() / "priors" / entry.name / file.name


def _receipt(place: Path) -> Path:
    return place.with_name(place.name + ".sha256")


def _noted(place: Path) -> str | None:
    try:
        found = re.search("^[0-9a-f]{64}(?=  )", _receipt(place).read_text("utf-8"), re.MULTILINE)
    except (OSError, ValueError):
        return None
    return found and found[0]


def _is_sound(entry: Entry, place: Path, file: File, sha256: str | None) -> bool:
    if not place.is_file():
        return False
    try:
        verify(place, sha256 or _noted(place), file.size, least=_least(entry, file))
    except DdfmError:
        return False
    return True


def _is_settings(file: File) -> bool:
    return file.name.endswith(".json")


def _least(entry: Entry, file: File) -> int:
    """The least bytes that a file can have: for weights, two per parameter (half precision)."""
    return 1 if _is_settings(file) else 2 * (entry.parameters or 0)


def _checksum_kind(place: Path, file: File) -> str:
    if file.sha256:
        return "published"
    return "noted" if _noted(place) else "complete"


def _size(entry: Entry) -> str:
    """The published size, or else an estimate: four bytes per parameter."""
    if entry.files and all(file.size for file in entry.files):
        return gigabytes(sum(file.size or 0 for file in entry.files))
    if entry.parameters:
        return "~" + gigabytes(4 * entry.parameters)
    path = path_of(entry.name)
    return gigabytes(path.stat().st_size) if path else "-"


def _status(entry: Entry) -> str:
    if entry.name == "default":
        return "part of ddfm" if path_of(entry.name) else "not installed"
    if not entry.files:
        return "part of ddfm"
    return "in the cache" if path_of(entry.name) else "to download"


def check_prior(text: str) -> None:
    """Raise if `text` is neither the name of a prior nor an existing path. Needs no torch."""
    if is_of_hub(text):
        place_of(text)
        return
    path = with_home(text)
    if known(text) or path.exists() or text in brought("prior"):
        return
    if path.suffix or len(path.parts) > 1:
        raise InputError(f"cannot read the weights {path}: there is no such file")
    raise unknown("prior", text, [*ENTRIES, *brought("prior")])
