"""The catalogue of priors, and downloads from a server with all known faults."""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
import shutil
import sys
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ddfm import extensions
from ddfm.errors import DdfmError, StorageError
from ddfm.fuser import Fuser
from ddfm.pipeline import again
from ddfm.priors import catalog, download, entries, load_prior
from ddfm.storage.ours import MARK

BODY = b"\x80\x02" + random.Random(0).randbytes(199_998)  # begins as a file of weights does
OTHER = b"\x80\x02" + random.Random(1).randbytes(199_998)


class Server:
    """Serves `body` under every path; each request takes the next entry of `script`.

    An entry is a dict: `cut` (close after so many bytes), `status` (an error), `length` (a false
    Content-Length), `ranges` (False: Range is ignored), `etag` (False: no mark of the version),
    `body` (from now on another file), `type` (a Content-Type), `to` (a redirect),
    `raw` (the whole answer).
    """

    def __init__(self) -> None:
        self.body = BODY
        self.script: list[dict] = []
        self.requests: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *args) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/weights.pt"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(dict(handler.headers))
        step = self.script.pop(0) if self.script else {}
        self.body = step.get("body", self.body)
        if "status" in step:
            handler.send_error(step["status"])
            return
        if "raw" in step:
            handler.wfile.write(step["raw"])
            handler.close_connection = True
            return
        if "to" in step:
            handler.send_response(302)
            handler.send_header("Location", step["to"])
            handler.end_headers()
            return
        etag = f'"{hashlib.md5(self.body).hexdigest()}"'
        start = 0
        wanted = handler.headers.get("Range")
        same = handler.headers.get("If-Range", etag) == etag
        if wanted and step.get("ranges", True) and same:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(self.body):
                handler.send_error(416)
                return
            handler.send_response(206)
            length = len(self.body)
            handler.send_header("Content-Range", f"bytes {start}-{length - 1}/{length}")
        else:
            handler.send_response(200)
        rest = self.body[start:]
        handler.send_header("Content-Length", str(step.get("length", len(rest))))
        if "type" in step:
            handler.send_header("Content-Type", step["type"])
        if step.get("etag", True):
            handler.send_header("ETag", etag)
        handler.end_headers()
        handler.wfile.write(rest[: step.get("cut", len(rest))])
        handler.close_connection = True

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DDFM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "BACKOFF", 0.0)
    monkeypatch.setattr(download, "CHUNK", 4096)


def add_entry(monkeypatch, server, *, sha256: bool = True, size: bool = True) -> Path:
    """A catalogue entry `test` on the server; returns where its file belongs."""
    file = entries.File(
        "weights.pt",
        server.url,
        hashlib.sha256(BODY).hexdigest() if sha256 else None,
        len(BODY) if size else None,
    )
    entry = entries.Entry("test", "a test", 3, "MIT", files=(file,))
    monkeypatch.setitem(entries.ENTRIES, "test", entry)
    return download.cache_dir() / "priors" / "test" / "weights.pt"


def test_get_downloads_the_file_only_once(server, monkeypatch):
    place = add_entry(monkeypatch, server)
    assert catalog.path_of("test") is None
    assert catalog.get("test", trust=True) == place
    assert place.read_bytes() == BODY
    assert catalog.get("test", trust=True) == place
    assert len(server.requests) == 1
    assert sorted(p.name for p in place.parent.iterdir()) == ["weights.pt", "weights.pt.sha256"]
    assert catalog.check("test").endswith("matches the published checksum")


def test_a_cut_connection_is_resumed_where_it_ended(server, monkeypatch):
    place = add_entry(monkeypatch, server)
    server.script = [{"cut": 50_000}, {"status": 503}, {"cut": 60_000}]
    catalog.get("test", trust=True)
    assert place.read_bytes() == BODY
    ranges = [request.get("Range") for request in server.requests]
    assert ranges == [None, "bytes=50000-", "bytes=50000-", "bytes=110000-"]


def test_a_later_run_resumes_the_part_of_an_earlier_one(server, monkeypatch):
    place = add_entry(monkeypatch, server)
    server.script = [{"cut": 80_000}] + [{"status": 503}] * 20
    with pytest.raises(DdfmError, match="503.*run it again to resume after 80 kB"):
        catalog.get("test", trust=True)
    assert not place.exists()
    server.script = []
    server.requests.clear()
    catalog.get("test", trust=True)
    assert place.read_bytes() == BODY
    assert [request.get("Range") for request in server.requests] == ["bytes=80000-"]


def test_a_part_that_was_complete_already_is_not_downloaded_again(server, monkeypatch):
    place = add_entry(monkeypatch, server)
    server.script = [{"cut": 80_000}] + [{"status": 503}] * 20
    with pytest.raises(DdfmError):
        catalog.get("test", trust=True)
    place.with_name("weights.pt.part").write_bytes(BODY)
    server.requests.clear()
    assert catalog.get("test", trust=True).read_bytes() == BODY
    assert server.requests == []


def test_a_file_without_a_stated_size_may_not_fill_the_disk(server, monkeypatch):
    """Anything that goes on for ever, as a server may."""
    place = add_entry(monkeypatch, server, sha256=False, size=False)
    answer = b"HTTP/1.0 200 OK\r\n\r\nPK\x03\x04" + bytes(60_000)
    monkeypatch.setattr(download, "MOST", 50_000)
    server.script = [{"raw": answer}] * 9
    with pytest.raises(DdfmError, match="weights.pt is larger than 50 kB, and its server"):
        catalog.get("test", trust=True)
    assert len(server.requests) == 1 and not list(place.parent.iterdir())
    monkeypatch.setattr(download, "MOST", len(BODY))
    server.script = [{"raw": b"HTTP/1.0 200 OK\r\n\r\n" + BODY}]
    assert catalog.get("test", trust=True).read_bytes() == BODY


@pytest.mark.parametrize("etag", [True, False])
@pytest.mark.parametrize("sha256", [True, False])
def test_a_file_that_changes_meanwhile_is_downloaded_again(server, monkeypatch, etag, sha256):
    """The new version has the same length; pieces of both must never be in one file."""
    place = add_entry(monkeypatch, server, sha256=False)
    if sha256:
        wanted = entries.File("weights.pt", server.url, hashlib.sha256(OTHER).hexdigest(), None)
        entry = entries.Entry("test", "a test", 3, "MIT", files=(wanted,))
        monkeypatch.setitem(entries.ENTRIES, "test", entry)
    server.script = [{"cut": 50_000, "etag": etag}, {"body": OTHER, "etag": etag}, {"etag": etag}]
    catalog.get("test", trust=True)
    assert place.read_bytes() == OTHER


def test_a_change_that_the_server_hides_is_detected_by_the_etag(server, monkeypatch):
    """The server answers 206 with another ETag, despite the If-Range header."""
    place = add_entry(monkeypatch, server, sha256=False, size=False)
    original = server.answer

    def ignores_if_range(handler):
        del handler.headers["If-Range"]
        original(handler)

    server.answer = ignores_if_range
    server.script = [{"cut": 50_000}, {"body": OTHER}]
    catalog.get("test", trust=True)
    assert place.read_bytes() == OTHER


def test_a_file_that_shrinks_meanwhile_is_downloaded_again(server, monkeypatch):
    place = add_entry(monkeypatch, server, sha256=False, size=False)
    short = OTHER[:20_000]
    server.script = [{"cut": 50_000, "etag": True}, {"body": short, "status": 416}]
    catalog.get("test", trust=True)
    assert place.read_bytes() == short


def test_a_server_that_ignores_ranges_is_read_from_the_start(server, monkeypatch):
    place = add_entry(monkeypatch, server)
    server.script = [{"cut": 50_000}, {"ranges": False}]
    catalog.get("test", trust=True)
    assert place.read_bytes() == BODY


def test_a_server_that_ignores_ranges_and_always_disconnects_is_given_up(server, monkeypatch):
    place = add_entry(monkeypatch, server)
    server.script = [{"cut": 50_000, "ranges": False}] * 50
    with pytest.raises(DdfmError, match="ended after 50000 of 200000 bytes"):
        catalog.get("test", trust=True)
    assert not place.exists()
    assert len(server.requests) < 10


@pytest.mark.parametrize("sha256", [True, False])
def test_wrong_bytes_are_refused_and_not_kept(server, monkeypatch, sha256):
    place = add_entry(monkeypatch, server, sha256=sha256)
    if sha256:
        server.body, message = OTHER, "has the sha256 .* is expected"
    else:
        server.body, message = OTHER + b"x", "offers 200001 bytes where 200000 are expected"
    with pytest.raises(DdfmError, match=message):
        catalog.get("test", trust=True)
    assert list(place.parent.iterdir()) == []


@pytest.mark.parametrize("size", [True, False])
def test_a_length_that_is_too_long_is_refused(server, monkeypatch, size):
    place = add_entry(monkeypatch, server, sha256=False, size=size)
    server.script = [{"length": len(BODY) + 1000, "ranges": False}] * 50
    with pytest.raises(DdfmError, match="201000 bytes"):
        catalog.get("test", trust=True)
    assert not place.exists()


@pytest.mark.parametrize("sha256", [True, False])
def test_a_length_that_is_too_short_is_refused(server, monkeypatch, sha256):
    place = add_entry(monkeypatch, server, sha256=sha256, size=not sha256)
    server.script = [{"length": 1000}] * 50
    with pytest.raises(DdfmError, match="sha256|offers 1000 bytes"):
        catalog.get("test", trust=True)
    assert not place.exists()


def test_a_truncated_archive_is_refused_even_without_a_checksum(server, monkeypatch):
    place = add_entry(monkeypatch, server, sha256=False, size=False)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("data", BODY)
    server.body = archive.getvalue()
    server.script = [{"length": 1000}]
    with pytest.raises(DdfmError, match="not complete"):
        catalog.get("test", trust=True)
    assert not place.exists()
    assert catalog.get("test", trust=True).read_bytes() == archive.getvalue()


def test_errors_of_the_server_are_one_clear_line(server, monkeypatch):
    add_entry(monkeypatch, server)
    server.script = [{"status": 404}]
    with pytest.raises(DdfmError, match="answered 404 Not Found") as caught:
        catalog.get("test", trust=True)
    assert "\n" not in str(caught.value)
    assert len(server.requests) == 1
    server.close()
    with pytest.raises(DdfmError, match="cannot download .*refused.*you may also save") as caught:
        catalog.get("test", trust=True)
    by_hand = Path(re.search("save this file as (.*) yourself", str(caught.value))[1])
    by_hand.parent.mkdir(parents=True, exist_ok=True)
    by_hand.write_bytes(BODY)
    assert catalog.get("test", trust=True) == by_hand


def test_a_mirror_takes_the_place_of_the_address(server, monkeypatch):
    place = add_entry(monkeypatch, server)
    file = entries.File(
        "weights.pt", "https://example.invalid/w.pt", hashlib.sha256(BODY).hexdigest()
    )
    entry = entries.Entry("test", "a test", 3, "MIT", files=(file,))
    monkeypatch.setitem(entries.ENTRIES, "test", entry)
    assert catalog.get("test", url=server.url) == place
    with pytest.raises(DdfmError, match="only http and https"):
        place.unlink()
        catalog.get("test", url="file:///etc/passwd")


def test_a_folder_of_files_is_downloaded_completely(server, monkeypatch):
    base = server.url.rpartition("/")[0]
    files = tuple(entries.File(name, f"{base}/{name}") for name in ("config.json", "w.bin"))
    entry = entries.Entry("test", "a test", 3, "MIT", files=files, folder=True)
    monkeypatch.setitem(entries.ENTRIES, "test", entry)
    server.script = [{"body": b'{"sides": 3}'}, {"body": BODY}]
    path = catalog.get("test", trust=True)
    assert path.is_dir() and (path / "config.json").read_bytes() == b'{"sides": 3}'
    assert (path / "w.bin").read_bytes() == BODY
    assert "no published checksum" in catalog.check("test")


def test_without_a_published_checksum_one_must_be_given(server, monkeypatch):
    place = add_entry(monkeypatch, server, sha256=False, size=False)
    with pytest.raises(DdfmError, match="--sha256.*ddfm priors get test --trust"):
        catalog.get("test")
    assert server.requests == []
    digest = hashlib.sha256(BODY).hexdigest()
    with pytest.raises(DdfmError, match="64 hexadecimal digits"):
        catalog.get("test", sha256="abc")
    with pytest.raises(DdfmError, match="it was not accepted"):
        catalog.get("test", sha256="0" * 64)
    assert catalog.get("test", sha256=digest) == place
    assert catalog.get("test") == place  # it is there, and nothing is asked any more
    assert "on trust" in catalog.check("test")


@pytest.mark.parametrize(
    "step, words",
    [
        ({"body": b"<html>please log in</html>" * 5000}, "not a file of weights"),
        ({"type": "text/html; charset=utf-8"}, "answers with a web page"),
        ({"body": BODY[:1000]}, "1000 bytes where at least 100,000 are expected"),
    ],
)
def test_other_files_than_weights_are_refused_even_with_trust(server, monkeypatch, step, words):
    place = add_entry(monkeypatch, server, sha256=False, size=False)
    entry = replace(entries.ENTRIES["test"], parameters=50_000)
    monkeypatch.setitem(entries.ENTRIES, "test", entry)
    server.script = [step]
    with pytest.raises(DdfmError, match=words):
        catalog.get("test", trust=True)
    assert not place.exists()
    # Who has such a file from before is told so.
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"<html>please log in</html>")
    with pytest.raises(DdfmError, match="26 bytes where at least"):
        catalog.check("test")


def test_redirects_from_https_to_http_are_refused(server, monkeypatch):
    add_entry(monkeypatch, server)
    server.script = [{"to": "ftp://127.0.0.1/weights.pt"}]
    with pytest.raises(DdfmError, match="it leads to ftp://127.0.0.1/weights.pt, which is unsafe"):
        catalog.get("test")
    server.script = [{"to": server.url}]
    assert catalog.get("test").read_bytes() == BODY


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"to": "/"}, "the server answered 302 .* infinite loop"),
        ({"raw": b"HTTP/1.0 404 " + b"x" * 9000 + b"\r\n\r\n"}, r"answered 404 x+\.\.\.$"),
        ({"raw": b"a\rb\n\r\n" * 300}, "cannot download .*a b"),
        (
            {"raw": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc"},
            "the connection broke after 0 bytes",
        ),
    ],
)
def test_answers_of_any_kind_end_in_one_short_line(server, tmp_path, step, words):
    server.script = [step] * 40
    with pytest.raises(DdfmError, match=words) as refused:
        download.download(server.url, tmp_path / "w.json")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400
    with pytest.raises(DdfmError) as refused:
        download.read_json(server.url)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400


@pytest.mark.parametrize("note", ['{"url": 3}', '{"length": "x", "etag": 1}', "{}"])
def test_an_incomplete_note_starts_the_download_again(server, monkeypatch, note):
    place = add_entry(monkeypatch, server)
    place.parent.mkdir(parents=True)
    place.with_name("weights.pt.part").write_bytes(OTHER[:1000])
    told = json.loads(note) | {"software": MARK}
    place.with_name("weights.pt.part.json").write_text(json.dumps(told))
    assert catalog.get("test").read_bytes() == BODY


@pytest.mark.parametrize("note", [None, "[" * 100_000, '{"url": 3}', "[]"])
def test_an_unknown_part_is_not_replaced(server, monkeypatch, note):
    place = add_entry(monkeypatch, server)
    place.parent.mkdir(parents=True)
    place.with_name("weights.pt.part").write_bytes(OTHER[:1000])
    if note is not None:
        place.with_name("weights.pt.part.json").write_text(note)
    with pytest.raises(DdfmError, match="weights.pt.part: it exists already"):
        catalog.get("test")
    assert place.with_name("weights.pt.part").read_bytes() == OTHER[:1000]
    assert not place.exists() and server.requests == []


@pytest.mark.parametrize("name", ["weights.pt", "weights.pt.part", "weights.pt.sha256"])
@pytest.mark.parametrize("kind", ["a file", "a hard link", "a symbolic link"])
def test_a_file_of_the_user_in_the_cache_is_kept(server, monkeypatch, tmp_path, name, kind):
    place = add_entry(monkeypatch, server)
    place.parent.mkdir(parents=True)
    mine, there = tmp_path / "mine", place.with_name(name)
    mine.write_bytes(OTHER)
    if kind == "a file":
        there.write_bytes(OTHER)
    else:
        there.hardlink_to(mine) if kind == "a hard link" else there.symlink_to(mine)
    with pytest.raises(StorageError, match=f"cannot write .*{name}: it (is|exists)"):
        catalog.get("test")
    assert mine.read_bytes() == there.read_bytes() == OTHER and server.requests == []


def test_an_invalid_content_length_is_ignored(server, monkeypatch):
    add_entry(monkeypatch, server)
    server.script = [{"length": "\u00b2"}]
    assert catalog.get("test").read_bytes() == BODY


def test_check_finds_damage(server, monkeypatch):
    place = add_entry(monkeypatch, server, sha256=False)
    with pytest.raises(DdfmError, match="ddfm priors get test"):
        catalog.check("test")
    catalog.get("test", trust=True)
    assert "unchanged since its download" in catalog.check("test")
    place.write_bytes(OTHER)
    with pytest.raises(DdfmError, match="sha256"):
        catalog.check("test")
    assert catalog.get("test", trust=True).read_bytes() == BODY  # get mends it


def test_no_room_and_no_permission_are_reported(server, monkeypatch, tmp_path):
    add_entry(monkeypatch, server)
    usage = type(shutil.disk_usage("/"))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6, 100))
        with pytest.raises(DdfmError, match="200 kB needed, 100 bytes free"):
            catalog.get("test", trust=True)
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("DDFM_CACHE", str(tmp_path / "file"))
    with pytest.raises(DdfmError, match="cannot make the folder"):
        catalog.get("test", trust=True)


def test_two_processes_do_not_write_one_part(server, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    place = add_entry(monkeypatch, server)
    place.parent.mkdir(parents=True)
    with open(place.with_name("weights.pt.part"), "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DdfmError, match="another process"):
            catalog.get("test", trust=True)
    assert catalog.get("test", trust=True) == place


def test_there_is_no_progress_bar_outside_of_a_terminal(server, monkeypatch, capfd):
    add_entry(monkeypatch, server)
    catalog.get("test", trust=True)
    assert capfd.readouterr() == ("", "")


def test_a_truncated_safetensors_file_is_detected(tmp_path):
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    whole = len(header).to_bytes(8, "little") + header + bytes(8)
    path = tmp_path / "w.safetensors"
    path.write_bytes(whole)
    download.verify(path, None, None)
    for cut in (whole[:-1], whole[:20], whole[:4], b""):
        path.write_bytes(cut)
        with pytest.raises(DdfmError, match="not complete"):
            download.verify(path, None, None)


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DDFM_CACHE", str(tmp_path))
    assert download.cache_dir() == tmp_path
    monkeypatch.delenv("DDFM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert download.cache_dir() == tmp_path / "x" / "ddfm"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert download.cache_dir() == Path.home() / ".cache" / "ddfm"


def test_every_entry_is_complete_and_can_be_described():
    shown = catalog.listing()
    for name in entries.ENTRIES:
        entry = entries.find(name)
        assert name in shown
        assert entry.licence in catalog.describe(name)
        assert entry.channels in (1, 3)
        for file in entry.files:
            assert file.url.startswith("https://")
            assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32
            assert file.sha256 or "no published checksum" in catalog.describe(name)
    assert entries.find("256x256_diffusion_uncond") is entries.find("openai-256")
    assert entries.find("google/ddpm-cat-256") is entries.find("ddpm-cat-256")


def test_priors_of_installed_packages_are_listed(monkeypatch):
    part = EntryPoint("theirs", "their_package:prior", "ddfm.priors")
    monkeypatch.setattr(catalog, "brought", lambda kind: {"theirs": part})
    last = catalog.listing().splitlines()[-1]
    assert last.split()[:3] == ["theirs", "-", "-"] and "their_package:prior" in last
    assert catalog.table()[-1]["channels"] is None
    assert "their_package:prior, which an installed package provides" in catalog.describe("theirs")


def test_a_prior_of_a_package_has_the_name_by_which_it_is_loaded_again(monkeypatch, tmp_path):
    told = {"kind": "x0", "channels": 1, "schedule": "linear", "T": 1000}
    own = load_prior(lambda x, t: 0.9 * x, name="own", **told)
    package = ModuleType("their_package")
    package.prior = lambda: own
    monkeypatch.setitem(sys.modules, "their_package", package)
    part = EntryPoint("theirs", "their_package:prior", "ddfm.priors")
    for module in (extensions, catalog, again):
        monkeypatch.setattr(module, "brought", lambda kind: {"theirs": part})
    assert load_prior("theirs").name == "theirs" and own.name == "own"
    pair = np.random.default_rng(0).integers(0, 256, (2, 16, 16), np.uint8)
    first = Fuser("theirs", likelihood="paper", steps=2, device="cpu")(*pair)
    first.save(tmp_path / "a.png")
    told = again.keywords(again.existing_record(tmp_path / "a.png"))
    assert told["prior"] == "theirs"
    assert np.array_equal(Fuser(**told, device="cpu")(*pair).image, first.image)


def test_an_unknown_name_causes_a_suggestion():
    with pytest.raises(DdfmError, match="openai-256"):
        catalog.get("openai-265")


def test_priors_without_files_are_not_downloaded():
    with pytest.raises(DdfmError, match="nothing to download"):
        catalog.get("gaussian")
    assert "part of ddfm" in catalog.check("gaussian")
