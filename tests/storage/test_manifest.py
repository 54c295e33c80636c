"""Manifests: which results they recognise, which files they leave alone, what survives a kill."""

from __future__ import annotations

import errno
import json
import os
import tracemalloc
from pathlib import Path

import pytest

from ddfm.errors import DdfmError
from ddfm.storage import atomic
from ddfm.storage.atomic import atomic_folder, atomic_path
from ddfm.storage.checksum import KnownData, KnownFile, sha256_of
from ddfm.storage.manifest import NAME, Manifest, Shard, entries_in, keep_others

fcntl = pytest.importorskip("fcntl")

HERE = f".partial-manifest-{atomic._host()}-"  # temporary names of this host


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != NAME and p.is_file()}


def lines(folder: Path, name: str = NAME) -> list[dict]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def add(manifest: Manifest, name: str, data: bytes, **entry: object) -> None:
    with manifest.adding(name, entry) as temporary:
        temporary.write_bytes(data)


# --- the rule of resuming -------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path) -> tuple[Manifest, Path]:
    """A manifest with one result of one source."""
    source = tmp_path / "source.png"
    source.write_bytes(b"source")
    with Manifest(tmp_path / "out") as manifest:
        noted = [{"name": "source.png"} | KnownFile(source).noted()]
        add(manifest, "x.png", b"result", sources=noted, settings={"steps": 2})
        yield manifest, source


def found(made, settings: tuple[dict, ...] = ({"steps": 2},), verify: bool = False) -> bool:
    manifest, source = made
    return manifest.find("x.png", [KnownFile(source)], settings, verify=verify) is not None


def test_a_result_is_found_by_its_settings_and_its_sources(made, tmp_path):
    assert found(made)
    assert found(made, ({"steps": 3}, {"steps": 2}))
    for other in ({"steps": 3}, {}, {"steps": 2, "seed": 1}):
        assert not found(made, (other,))
    manifest, source = made
    settings = [{"steps": 2}]
    assert manifest.find("x.png", [KnownFile(source)] * 2, settings) is None
    assert manifest.find("y.png", [KnownFile(source)], settings) is None
    renamed = source.rename(tmp_path / "renamed.png")
    assert manifest.find("x.png", [KnownFile(renamed)], settings) is None


def test_equal_size_and_time_are_enough_unless_contents_are_verified(made, monkeypatch):
    manifest, source = made
    monkeypatch.setattr("ddfm.storage.checksum.sha256_of", lambda path: pytest.fail(f"read {path}"))
    assert found(made)
    monkeypatch.undo()
    for path, data in ((source, b"SOURCE"), (manifest.folder / "x.png", b"RESULT")):
        before, times = path.read_bytes(), path.stat()
        path.write_bytes(data)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert found(made) and not found(made, verify=True)
        path.write_bytes(before)
        assert found(made, verify=True)


def test_contents_decide_where_times_differ(made):
    manifest, source = made
    for path in (source, manifest.folder / "x.png"):
        data = path.read_bytes()
        os.utime(path, (1, 1))
        assert found(made)
        path.write_bytes(data[::-1])
        assert not found(made)
        path.write_bytes(data)


@pytest.mark.parametrize(
    "damage", [{"sources": None}, {"sources": [1]}, {"sources": [{}]}, {"sources": [{"size": {}}]},
               {"settings": [1]}, {"sha256": 7, "mtime_ns": "x"}],
)  # fmt: skip
def test_results_with_damaged_lines_are_made_again(made, damage):
    made[0].note("x.png", damage)
    assert not found(made)


def test_sources_in_memory_are_recognised_by_content():
    data = KnownData("a", b"one", b"two")
    assert data.is_as_noted(data.noted())
    assert data.is_as_noted(KnownData("b", b"onetwo").noted())
    for other in (KnownData("a", b"one").noted(), {}, None, 3):
        assert not data.is_as_noted(other)


def test_names_of_any_kind_are_found(tmp_path):
    names = ["plain.png", 'quoted".png', "back\\slash.png", "straße 東.png", "{}.png", " .png"]
    for turn in (b"a", b"b"):
        with Manifest(tmp_path) as manifest:
            for name in names:
                add(manifest, name, turn + name.encode(), settings=turn.decode())
    with Manifest(tmp_path) as manifest:
        assert sorted(manifest.entries) == sorted(names) and len(manifest.entries) == len(names)
        for name in names:
            assert manifest.get(name)["settings"] == "b" and len(manifest.known(name)) == 2


def test_the_line_before_a_truncated_one_is_used(tmp_path):
    with Manifest(tmp_path) as manifest:
        add(manifest, "x.png", b"x", settings={"steps": {"a": 2}})
    whole = (tmp_path / NAME).read_bytes()
    for cut in (whole[: whole.rindex(b"}}")] + b"}\n", whole[:-9], whole[:60] + b"\n"):
        (tmp_path / NAME).write_bytes(whole + cut)
        with Manifest(tmp_path) as manifest:
            assert manifest.get("x.png")["settings"] == {"steps": {"a": 2}}
            assert len(manifest.known("x.png")) == 1


def test_a_limit_of_file_size_is_distinguished_from_a_full_disk(tmp_path):
    """A partly written line is removed, and the error is that of the system."""
    resource = pytest.importorskip("resource")
    with Manifest(tmp_path) as manifest:
        add(manifest, "a.png", b"a")
        whole = (tmp_path / NAME).read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 40, limits[1]))
        try:
            with pytest.raises(DdfmError, match="File too large"):
                add(manifest, "b.png", b"b")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert (tmp_path / NAME).read_bytes() == whole
        add(manifest, "b.png", b"b")
    assert [line["output"] for line in lines(tmp_path)] == ["a.png", "b.png"]


def test_only_the_place_of_a_line_is_kept_in_memory(tmp_path):
    """A million lines of 1.5 kB each would not fit into memory."""
    entry = {"settings": {"x" * 1000: 1}, "sha256": "0" * 64, "size": 1, "mtime_ns": 1}
    lines = (
        json.dumps({"output": f"{k}.png"} | {name: entry[name] for name in ORDER} | entry) + "\n"
        for k in range(2000)
    )
    (tmp_path / NAME).write_text("".join(lines))
    tracemalloc.start()
    try:
        with Manifest(tmp_path) as manifest:
            kept, _ = tracemalloc.get_traced_memory()
            assert kept / 2000 < 400, "bytes of a line"
            assert manifest.entries["1999.png"]["settings"] == entry["settings"]
    finally:
        tracemalloc.stop()


ORDER = ("sha256", "size", "mtime_ns")


# --- whose files these are ------------------------------------------------------------------------


def test_only_one_run_at_a_time(tmp_path):
    with Manifest(tmp_path), pytest.raises(DdfmError, match="another run is writing"):
        Manifest(tmp_path)
    Manifest(tmp_path).__exit__()


FOREIGN = [b"mine", b"\n\n", b'{"name": "x"}\n', b'{"output": "said"}\n', b"\x89PNG\r\n"]


@pytest.mark.parametrize("data", FOREIGN)
@pytest.mark.parametrize("how", ["file", "hard link", "symbolic link"])
def test_a_file_of_somebody_else_is_not_used_as_a_manifest(tmp_path, data, how):
    out, theirs = tmp_path / "out", tmp_path / "theirs"
    out.mkdir()
    theirs.write_bytes(data)
    if how == "file":
        theirs = theirs.rename(out / NAME)
    elif how == "hard link":
        os.link(theirs, out / NAME)
    else:
        (out / NAME).symlink_to(theirs)
    with pytest.raises(DdfmError, match="cannot use .*; move it away, or name another") as caught:
        Manifest(out)
    assert "\n" not in str(caught.value)
    assert theirs.read_bytes() == data and len(list(out.iterdir())) == 1


def test_other_than_regular_files_are_not_opened(tmp_path):
    for name, make in (("folder", Path.mkdir), ("pipe", os.mkfifo)):
        (tmp_path / name).mkdir()
        make(tmp_path / name / NAME)
        with pytest.raises(DdfmError, match="cannot"):
            Manifest(tmp_path / name)
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / NAME).symlink_to("/dev/zero")
    with pytest.raises(DdfmError, match="symbolic link"):
        Manifest(tmp_path / "link")


def test_a_manifest_truncated_in_its_first_line_is_ours(tmp_path):
    line = b'{"output": "x.png", "sha256": "0"}\n'
    for length in range(len(line)):
        (tmp_path / NAME).write_bytes(line[:length])
        with Manifest(tmp_path) as manifest:
            assert manifest.entries == {}
            add(manifest, "y.png", b"y")
        with Manifest(tmp_path) as manifest:
            assert manifest.get("y.png") is not None and manifest.get("x.png") is None
        (tmp_path / "y.png").unlink()


def test_a_truncated_or_changed_manifest_is_used_as_far_as_valid(tmp_path):
    (tmp_path / "x.png").write_bytes(b"x")
    good = json.dumps({"output": "x.png"} | KnownFile(tmp_path / "x.png").noted())
    outside = json.dumps({"output": "../x.png", "sha256": "0"})
    deep = '{"output": ' + "[" * 100_000
    (tmp_path / NAME).write_text(f"{good}\nnonsense\n[1]\n{outside}\n{deep}\n{good[:20]}")
    with Manifest(tmp_path) as manifest:
        assert set(manifest.entries) == {"x.png"} and manifest.get("x.png") is not None
        add(manifest, "y.png", b"y", seconds=1)
    last = json.loads((tmp_path / NAME).read_text().splitlines()[-1])
    time = (tmp_path / "y.png").stat().st_mtime_ns
    digest = sha256_of(tmp_path / "y.png")
    assert last == {"output": "y.png", "sha256": digest, "size": 1, "mtime_ns": time, "seconds": 1}
    with Manifest(tmp_path) as manifest:
        assert set(manifest.entries) == {"x.png", "y.png"}


# --- kills ----------------------------------------------------------------------------------------


def test_a_file_that_a_killed_run_did_not_move_is_moved(tmp_path, monkeypatch):
    with Manifest(tmp_path) as manifest:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, "replace", _killed)
            patch.setattr(Path, "unlink", lambda self, **_: None)
            add(manifest, "x.png", b"x")
    (tmp_path / f"{HERE}half.png").write_bytes(b"half")
    assert not (tmp_path / "x.png").exists()
    with Manifest(tmp_path) as manifest:
        assert manifest.get("x.png") is not None
    assert contents(tmp_path) == {"x.png": b"x"}
    assert (tmp_path / "x.png").stat().st_mode & 0o77 == 0o66 & ~_mask()


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_one_of_two_equal_files_was_not_moved(tmp_path):
    with Manifest(tmp_path) as manifest:
        for name in ("x.png", "y.png", "z.png"):
            add(manifest, name, b"black")
    (tmp_path / "y.png").rename(tmp_path / f"{HERE}y.png")
    with Manifest(tmp_path) as manifest:
        assert manifest.get("y.png") is not None
    assert contents(tmp_path) == dict.fromkeys(("x.png", "y.png", "z.png"), b"black")


def test_unfinished_files_of_other_runs_are_not_moved(tmp_path):
    with atomic_path(tmp_path / "film.mp4") as film, atomic_folder(tmp_path / "series") as series:
        film.write_bytes(b"half a film")
        (series / "0001.dcm").write_bytes(b"a slice")
        (tmp_path / f"{HERE}folder").mkdir()
        (tmp_path / f"{HERE}link").symlink_to(film)
        (tmp_path / ".partial-manifest-another_host-1.png").write_bytes(b"being written")
        with Manifest(tmp_path) as manifest:
            add(manifest, "x.png", b"x")
    assert (tmp_path / "film.mp4").read_bytes() == b"half a film"
    assert [path.name for path in (tmp_path / "series").iterdir()] == ["0001.dcm"]
    assert (tmp_path / ".partial-manifest-another_host-1.png").exists()
    assert (tmp_path / f"{HERE}folder").exists() and (tmp_path / f"{HERE}link").is_symlink()


def test_opening_a_manifest_reads_no_file_without_need(tmp_path, monkeypatch):
    with Manifest(tmp_path) as manifest:
        add(manifest, "x.png", b"x")
    for module in ("manifest", "checksum"):
        monkeypatch.setattr(
            f"ddfm.storage.{module}.sha256_of", lambda path: pytest.fail(f"read {path}")
        )
    with Manifest(tmp_path) as manifest:
        assert manifest.get("x.png") is not None


def test_two_runs_where_the_file_system_has_no_locks(tmp_path, monkeypatch):
    """Such as some network file systems; a second run used to remove the files of the first."""

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with Manifest(tmp_path) as first, first.adding("x.png", {}) as temporary:
        temporary.write_bytes(b"x")
        with Manifest(tmp_path) as second:
            add(second, "y.png", b"y")
    assert contents(tmp_path) == {"x.png": b"x", "y.png": b"y"}
    with Manifest(tmp_path) as manifest:
        assert manifest.get("x.png") is not None and manifest.get("y.png") is not None
        killed = tmp_path / f"{HERE}killed.png"
        killed.write_bytes(b"half")
    Manifest(tmp_path).__exit__()
    assert killed.exists(), "nobody can tell whether its run lives"
    os.utime(killed, (1, 1))
    Manifest(tmp_path).__exit__()
    assert not killed.exists()


# --- shards ---------------------------------------------------------------------------------------


def test_every_file_belongs_to_exactly_one_shard():
    names = [f"{k:03d}.png" for k in range(300)]
    for count in (1, 2, 7):
        shards = [Shard(k, count) for k in range(1, count + 1)]
        assert [sum(shard.has(name) for shard in shards) for name in names] == [1] * 300
        assert min(sum(map(shard.has, names)) for shard in shards) > 200 / count


def test_shards_write_at_the_same_time_and_see_each_others_results(tmp_path):
    with Manifest(tmp_path) as manifest:
        add(manifest, "before.png", b"before")
    with Manifest(tmp_path, Shard(1, 2)) as one, Manifest(tmp_path, Shard(2, 2)) as two:
        add(one, "1.png", b"1")
        add(two, "2.png", b"2")
        with pytest.raises(DdfmError, match="another run"):
            Manifest(tmp_path)
        with pytest.raises(DdfmError, match="another run"):
            Manifest(tmp_path, Shard(2, 2))
    assert [entry["output"] for entry in lines(tmp_path, "ddfm-manifest-1-of-2.jsonl")] == ["1.png"]
    with Manifest(tmp_path, Shard(5, 8)) as other:
        assert set(other.entries) == {"before.png", "1.png", "2.png"}
        keep_others(tmp_path, ["1.png", "2.png"], other.entries)
    with Manifest(tmp_path) as whole, pytest.raises(DdfmError, match="another run"):
        assert whole.get("1.png") is not None
        Manifest(tmp_path, Shard(1, 2))


def test_the_newest_line_of_a_file_in_any_manifest_is_used(tmp_path):
    with Manifest(tmp_path, Shard(1, 2)) as one:
        add(one, "x.png", b"first", settings=1)
    with Manifest(tmp_path) as whole:
        add(whole, "x.png", b"second", settings=2)
    with Manifest(tmp_path, Shard(2, 2)) as two:
        assert two.get("x.png")["settings"] == 2
        add(two, "x.png", b"third", settings=3)
    with Manifest(tmp_path) as whole:
        assert whole.get("x.png")["settings"] == 3


@pytest.mark.parametrize("first", [None, Shard(2, 3)])
def test_the_line_whose_result_is_there_is_used_though_another_clock_was_ahead(tmp_path, first):
    with Manifest(tmp_path, first) as manifest, manifest.adding("x.png", {"seed": 1}) as temporary:
        temporary.write_bytes(b"old")
        os.utime(temporary, (4e9, 4e9))  # on a machine whose clock is far ahead
    with Manifest(tmp_path, Shard(1, 2)) as manifest:
        add(manifest, "x.png", b"new", seed=2)
    for _ in range(2):
        assert next(entries_in(tmp_path))["seed"] == 2
        with Manifest(tmp_path) as manifest:
            assert manifest.get("x.png")["seed"] == 2
            manifest.merge()
            assert manifest.get("x.png")["seed"] == 2
    assert [line["seed"] for line in lines(tmp_path)] == [1, 2][first is not None :]


def test_the_last_line_of_a_manifest_is_used_though_the_clock_was_set_back(tmp_path):
    with Manifest(tmp_path) as manifest, manifest.adding("x.png", {"settings": 1}) as temporary:
        temporary.write_bytes(b"first")
        os.utime(temporary, (4e9, 4e9))  # by a clock that is far ahead
    with Manifest(tmp_path) as manifest:
        add(manifest, "x.png", b"second", settings=2)
    with Manifest(tmp_path) as manifest:
        assert manifest.get("x.png")["settings"] == 2
        assert [entry["settings"] for entry in manifest.entries.every("x.png")] == [2, 1]


def test_shards_are_merged(tmp_path):
    for k in (1, 2, 3):
        with Manifest(tmp_path, Shard(k, 3)) as shard:
            add(shard, f"{k}.png", b"%d" % k)
    with Manifest(tmp_path) as manifest:
        manifest.merge()
        manifest.merge()
    assert [entry["output"] for entry in lines(tmp_path)] == ["1.png", "2.png", "3.png"]
    assert [path.name for path in tmp_path.glob("ddfm-*")] == [NAME]
    with Manifest(tmp_path) as manifest:
        assert all(manifest.get(f"{k}.png") for k in (1, 2, 3))
