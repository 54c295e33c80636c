"""Downloads a file, which gets its final name only when it is complete and checked.

During the download it is called NAME.part, and NAME.part.json records which version it is
(see `ddfm.storage.part`). After an interruption the next attempt, in this run or a later one,
resumes where the last one ended (HTTP Range), or starts again if the file on the server has
changed.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

from ddfm.errors import DdfmError, DownloadError, StorageError, disk_explained, one_line
from ddfm.priors.verify import verify
from ddfm.progress import progress_bar, stage
from ddfm.storage.inputs import json_object, with_home
from ddfm.storage.ours import check_ours
from ddfm.storage.part import Part
from ddfm.version import __version__

__all__ = ["cache_dir", "download", "gigabytes", "read_json"]

ATTEMPTS = 5  # consecutive attempts without progress before giving up
BACKOFF = 1.0  # seconds to wait after the first of them; doubles after each
TIMEOUT = 30.0  # seconds without data after which a connection counts as broken
CHUNK = 1 << 20  # bytes read at a time
MOST_JSON = 10_000_000  # most bytes of a JSON answer
MOST = 20_000_000_000  # most bytes of a file whose size is known neither to us nor to the server
MARKS = ("etag", "modified")  # what distinguishes versions of a file
# What reading an answer raises; ValueError if the server gives a piece of it a negative length.
BROKEN = (OSError, HTTPException, ValueError)
TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}


def cache_dir() -> Path:
    """Where downloads are kept: $DDFM_CACHE, or $XDG_CACHE_HOME/ddfm, or ~/.cache/ddfm."""
    if own := os.environ.get("DDFM_CACHE"):
        return with_home(own)
    return with_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "ddfm"


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects only to web addresses, and never from https to http."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        allowed = ("https://",) if req.full_url.startswith("https://") else ("https://", "http://")
        if not newurl.startswith(allowed):
            raise DownloadError(
                f"cannot download {req.full_url}: it leads to {newurl}, which is unsafe"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Interrupted(Exception):
    """A failure after which another attempt may succeed."""


class _Changed(_Interrupted):
    """The file on the server is another version than the part on this disk."""

    def __init__(self) -> None:
        super().__init__("the file changed on the server")


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    least: int = 0,
    known: Collection[str] = (),
) -> None:
    """Download `url` to `target`; after an error, only a .part file to resume from may be left.

    Args:
        url: the address.
        target: the file to write. An existing one is replaced only if ddfm wrote it, or if its
            sha256 is in `known`.
        sha256, size, least: what the file is checked against; see `verify`.
        known: checksums of files that may be replaced.
    """
    _check_address(url)
    check_ours(target, known)
    stage(f"downloading {url}")
    with disk_explained(f"write {target}"), Part(target) as part:
        for again in (True, False):
            in_pieces = _complete(url, part, sha256, size)
            try:
                verify(part.path, sha256, size, url, least)
                break
            except DdfmError:
                part.discard()
                # A resumed part may have mixed two versions, so try once more from the start.
                if not (in_pieces and again):
                    raise
        part.finish(known)


def read_json(url: str) -> dict[str, Any]:
    """Download a small JSON object."""
    _check_address(url)
    try:
        with _opened(url) as response:
            data = response.read(MOST_JSON + 1)
    except DdfmError:
        raise
    except (_Interrupted, *BROKEN) as error:
        raise DownloadError(f"cannot read {url}: {one_line(error)}") from None
    if len(data) > MOST_JSON:
        raise DownloadError(f"{url} answers with more than {gigabytes(MOST_JSON)}")
    return json_object(data.decode(errors="replace"), url)


def _check_address(url: str) -> None:
    if not url.startswith(("https://", "http://")):
        raise DownloadError(f"cannot download {url}: only http and https addresses are possible")


def gigabytes(size: int) -> str:
    """A readable size: 2.2 GB, 35 MB, 1.0 kB."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            number = size / factor
            return f"{number:.1f} {unit}" if number < 10 else f"{number:.0f} {unit}"
    return f"{size} bytes"


def _complete(url: str, part: Part, sha256: str | None, size: int | None) -> bool:
    """Make attempts until the file is complete; True if it was resumed at least once."""
    failures, furthest = 0, part.length
    while True:
        try:
            return _attempt(url, part, sha256, size)
        except _Interrupted as error:
            if isinstance(error, _Changed):
                part.discard()
            if part.length > furthest:
                failures, furthest = 0, part.length
            failures += 1
            if failures >= ATTEMPTS:
                kept = part.length
                hint = f"; run it again to resume after {gigabytes(kept)}" if kept else ""
                raise DownloadError(f"cannot download {url}: {error}{hint}") from None
            stage(f"trying again, since {error}")
            time.sleep(BACKOFF * 2 ** (failures - 1))


def _attempt(url: str, part: Part, sha256: str | None, size: int | None) -> bool:
    """Download in one connection; True if it resumed an earlier one."""
    known = _known(part, url) or {}
    # Without a checksum, ETag or date, two versions of the file could not be distinguished.
    start = part.length if known and (sha256 or known["etag"] or known["modified"]) else 0
    if start and start == known["length"]:
        return True
    with _opened(url, _headers(start, known)) as response:
        if response.headers.get_content_type() == "text/html":
            raise DownloadError(
                f"{url} answers with a web page, not with a file; it was not accepted"
            )
        offered = _version_of(response, url)
        if response.status != 206:
            start = 0
        elif not start or not _goes_on(response, start, known, offered):
            raise _Changed
        total = offered["length"] if offered["length"] is not None else size
        if size is not None and total != size:
            part.discard()
            raise DownloadError(
                f"{url} offers {total} bytes where {size} are expected: another file"
            )
        _check_room(part, (total or 0) - start)
        if not start:
            part.discard()
        part.begin(offered)
        _copy(response, part, start, total)
    return start > 0


def _headers(start: int, known: Mapping[str, Any]) -> dict[str, str]:
    """The headers of a request for a file from byte `start` on, if it is still the known one."""
    headers = {"Accept-Encoding": "identity"}
    if not start:
        return headers
    headers["Range"] = f"bytes={start}-"
    strong = known["etag"] if not known["etag"].startswith("W/") else ""
    if strong or known["modified"]:
        headers["If-Range"] = strong or known["modified"]
    return headers


@contextmanager
def _opened(url: str, headers: Mapping[str, str] | None = None) -> Iterator[Any]:
    """The response to a request; errors that may pass are raised as `_Interrupted`."""
    try:
        opener = urllib.request.build_opener(_SafeRedirects)
        all_headers = {"User-Agent": f"ddfm/{__version__}", **(headers or {})}
        response = opener.open(urllib.request.Request(url, headers=all_headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the part is longer than the file on the server
            raise _Changed from None
        answer = f"the server answered {error.code} {one_line(error.reason)}"
        if error.code in TRY_AGAIN:
            raise _Interrupted(answer) from None
        raise DownloadError(f"cannot download {url}: {answer}") from None
    except DdfmError:
        raise
    except (OSError, HTTPException) as error:  # URLError is an OSError
        raise _Interrupted(one_line(getattr(error, "reason", None) or error)) from None
    except ValueError as error:
        raise DownloadError(f"cannot download {url}: {one_line(error)}") from None
    with response:
        yield response


def _version_of(response: Any, url: str) -> dict[str, Any]:
    """What identifies a version of the file; `length` is that of the whole file."""
    length = response.headers.get("Content-Length")
    if response.status == 206:
        length = response.headers.get("Content-Range", "").rpartition("/")[2]
    return {
        "url": url,
        "etag": response.headers.get("ETag", ""),
        "modified": response.headers.get("Last-Modified", ""),
        "length": int(length) if re.fullmatch("[0-9]{1,18}", length or "") else None,
    }


def _goes_on(response: Any, start: int, known: dict[str, Any], offered: dict[str, Any]) -> bool:
    """Whether the response is the rest of the file that the part belongs to."""
    begins = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
    return begins and all(
        not (known[mark] and offered[mark]) or known[mark] == offered[mark]
        for mark in (*MARKS, "length")
    )


def _copy(response: Any, part: Part, start: int, total: int | None) -> None:
    done = start
    of_bar: dict[str, Any] = {"total": total, "initial": start, "unit": "B", "unit_scale": True}
    with progress_bar(None, desc=part.target.name, leave=True, **of_bar) as bar:
        part.go_on_after(start)
        while True:
            try:
                chunk = response.read(CHUNK)
            except BROKEN:
                chunk = b""
                if total is None:
                    raise _Interrupted(f"the connection broke after {done} bytes") from None
            if not chunk:
                break
            if total is None and done + len(chunk) > MOST:
                part.discard()
                raise DownloadError(
                    f"{part.target.name} is larger than {gigabytes(MOST)}, and its server does not "
                    "say how large; it was not accepted"
                )
            part.write(chunk)
            done += len(chunk)
            bar.update(len(chunk))
            if total is not None and done > total:
                break  # too long; checking the size reports it
    if total is not None and done < total:
        raise _Interrupted(f"the connection ended after {done} of {total} bytes")


def _check_room(part: Part, needed: int) -> None:
    folder = part.path.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(
            f"no room in {folder}: {gigabytes(needed)} needed, {gigabytes(free)} free; "
            "set DDFM_CACHE to a folder on another disk"
        )


def _known(part: Part, url: str) -> dict[str, Any]:
    """The version of the file that the part is of; {} if unknown or from another address."""
    known = part.version or {}
    whole = all(isinstance(known.get(mark), str) for mark in MARKS)
    whole = whole and isinstance(known.get("length", 0), int | type(None))
    return known if whole and "length" in known and known.get("url") == url else {}
