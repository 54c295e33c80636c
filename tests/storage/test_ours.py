"""The rule of all writers: never replace a source or a file of others."""

from __future__ import annotations

import ast
import os
import threading
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image, ImageCms

import ddfm
from ddfm.errors import StorageError
from ddfm.imaging.picture import Picture
from ddfm.imaging.writing import write_image
from ddfm.storage.atomic import atomic_folder, atomic_path
from ddfm.storage.files import remove, write_bytes, write_json, write_text, write_weights
from ddfm.storage.noted import check_noted, write_noted
from ddfm.storage.ours import MARK, check_ours, overwriting, protecting
from ddfm.storage.outputs import check_writable, keep_sources
from places import ROOT

REFUSED = "it exists already, and nothing in it shows that ddfm wrote it; name another output"

# --- there is one door --------------------------------------------------------------------------

ALWAYS = {
    *("write_text", "write_bytes", "unlink", "rmdir", "rename", "renames", "rmtree", "mkdtemp"),
    *("mkstemp", "NamedTemporaryFile", "TemporaryDirectory", "symlink_to", "hardlink_to", "touch"),
    *("copyfile", "copytree", "copy2", "move", "removedirs", "truncate", "tofile", "savez"),
}
# These write to whatever they are given, which must be a temporary path, or no file at all.
GIVEN = {"save", "save_as", "save_file", "imwrite", "open_memmap"}
TEMPORARY = {"temporary", "file", "buffer"}


def writes(tree: ast.AST) -> list[int]:
    """The lines of a module that write or remove files."""
    imported = {
        name.asname or name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ddfm.storage")
        for name in node.names
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call.lineno for call in calls if _writes(call, imported)]


def _writes(call: ast.Call, imported: set[str]) -> bool:
    """Whether a call writes or removes a file, and is none of `ddfm.storage` or to a temporary."""
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    owned = getattr(owner, "id", getattr(owner, "attr", ""))
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    names = {n.id for a in call.args for n in ast.walk(a) if isinstance(n, ast.Name)}
    temporary = bool(names & TEMPORARY)
    if name == "open":
        return bool(set(_mode(call)) & set("wxa+")) and not temporary
    if owned in ("os", "shutil") and name in ("replace", "remove", "link", "symlink"):
        return True
    if name in GIVEN:
        ours = owned in ("fusion", "transform", "uncertainty", "deviation", "attribution")
        return bool(call.args) and not temporary and not ours
    return name in ALWAYS and name not in imported and owned not in ("temporary", "part")


def _mode(call: ast.Call) -> str:
    """The mode of a call of `open`."""
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    words = [a.value for a in arguments if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return next((word for word in words if set(word) <= set("rwxabt+")), "r")


def test_files_are_written_only_through_ddfm_storage():
    """Outside of `ddfm.storage`, files are written at temporary paths only."""
    found = {}
    for path in sorted((ROOT / "ddfm").rglob("*.py")):
        if path.parent.name != "storage" and (lines := writes(ast.parse(path.read_text()))):
            found[str(path.relative_to(ROOT))] = lines
    assert found == {}


@pytest.mark.parametrize(
    "code",
    [
        "open(path, 'w')", "open(path, mode='r+b')", "path.open('ab')", "path.write_text(text)",
        "path.unlink()", "os.replace(a, b)", "shutil.rmtree(a)", "image.save(path)",
        "np.lib.format.open_memmap(path, 'w+')", "tempfile.mkdtemp()", "torch.save(state, path)",
    ],
)  # fmt: skip
def test_writing_elsewhere_would_be_detected(code):
    assert writes(ast.parse(code)) == [1]


# --- what is ours -------------------------------------------------------------------------------


def profile(size: int) -> bytes:
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return plain + bytes(size)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("suffix", ["png", "tif", "jpg", "webp", "jp2"])
def test_pictures_are_marked_as_ours_without_a_time(tmp_path, suffix, dtype):
    """A colour profile, which may come first, does not hide the mark."""
    pixels = np.random.default_rng(0).random((20, 30, 3), np.float32)
    like = Picture(pixels, dtype=np.dtype(dtype), icc=profile(700_000))
    path = tmp_path / f"a.{suffix}"
    write_image(path, pixels, like)
    before = path.read_bytes()
    write_image(path, pixels, like)
    assert path.read_bytes() == before and MARK.encode() in before


def test_a_picture_rewritten_by_others_is_not_replaced(tmp_path):
    path = tmp_path / "a.png"
    pixels = np.zeros((4, 4, 1), np.float32)
    write_image(path, pixels, Picture(pixels))
    with Image.open(path) as image:
        assert image.info["Software"] == MARK
        image.copy().save(path)
    with pytest.raises(StorageError, match=REFUSED):
        write_image(path, pixels, Picture(pixels))


def test_a_format_without_a_mark_is_replaced_only_if_allowed(tmp_path):
    path = tmp_path / "a.bmp"
    pixels = np.zeros((4, 4, 1), np.float32)
    write_image(path, pixels, Picture(pixels))
    with pytest.raises(StorageError, match=REFUSED):
        write_image(path, pixels, Picture(pixels))
    with ddfm.overwriting():
        write_image(path, pixels + 1, Picture(pixels))
    assert np.asarray(Image.open(path)).max() == 255


@pytest.mark.parametrize("end", ["killed", "told to end"])
def test_a_table_of_an_interrupted_run_is_ours(tmp_path, monkeypatch, end):
    """The note is of the new table, which was not moved; the old one is in an earlier line."""
    path = tmp_path / "results.csv"
    write_noted(path, "first")
    with monkeypatch.context() as patch, pytest.raises(OSError, match="cannot write"):
        patch.setattr("os.replace", mock.Mock(side_effect=OSError))
        if end == "killed":
            patch.setattr(Path, "unlink", lambda self, **_: None)
        write_noted(path, "second")
    assert path.read_text() == "first"
    write_noted(path, "third")
    assert {p.name: p.read_text() for p in tmp_path.glob("[!d]*")} == {"results.csv": "third"}


def test_text_that_only_mentions_ddfm_is_not_ours(tmp_path):
    path = tmp_path / "notes.json"
    path.write_text(f'{{"notes": "results of {MARK}"}}')
    with pytest.raises(StorageError, match=REFUSED):
        write_json(path, {})
    other = tmp_path / "own.json"
    write_json(other, {"a": 1})
    write_json(other, {"a": 2})
    assert '"a": 2' in other.read_text()


def test_a_table_edited_by_somebody_is_not_replaced(tmp_path):
    path = tmp_path / "results.csv"
    for text in ("a,b\n", "c,d\n"):
        check_noted(path)
        write_noted(path, text)
    path.write_text("c,d,my remark\n")
    for refused in (check_noted, lambda path: write_noted(path, "e,f\n")):
        with pytest.raises(StorageError, match=REFUSED):
            refused(path)
    assert path.read_text() == "c,d,my remark\n"


def test_the_same_weights_are_the_same_file(tmp_path):
    """The metadata have a fixed order, which is random in files of the library."""
    torch, safetensors = pytest.importorskip("torch"), pytest.importorskip("safetensors")
    weights = {f"w.{k}": torch.arange(k + 1.0) for k in range(9)}
    about = {key: f'{{"key": "{key} ä"}}' for key in "abcdefgh"}
    files = set()
    for k in range(6):
        path = tmp_path / f"{k}.safetensors"
        write_weights(path, weights, about)
        write_weights(path, weights, about)
        files.add(path.read_bytes())
    assert len(files) == 1
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == about | {"software": MARK}
        assert all(torch.equal(file.get_tensor(key), weight) for key, weight in weights.items())


def test_names_that_are_not_unicode_can_be_noted(tmp_path):
    write_text(tmp_path / "a", os.fsdecode(b"\xff") + "ä")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "\\udcffä"


# --- what is not --------------------------------------------------------------------------------


def kinds(folder: Path) -> dict[str, Path]:
    """A file of somebody else and links to it, with its content; a dangling link has none."""
    mine = folder / "mine"
    mine.write_bytes(b"mine")
    (folder / "hard").hardlink_to(mine)
    (folder / "soft").symlink_to(mine)
    (folder / "nowhere").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe")
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX alone")
def test_files_of_others_are_neither_written_to_nor_removed(tmp_path):
    for name, path in kinds(tmp_path).items():
        before = path.lstat()
        for write in (lambda path: write_bytes(path, b"x"), check_writable, check_ours, remove):
            with pytest.raises(StorageError, match="cannot write"):
                write(path)
        assert path.lstat().st_ino == before.st_ino, name
    assert (tmp_path / "mine").read_bytes() == b"mine"
    with overwriting(), pytest.raises(StorageError, match="not a regular file"):
        write_bytes(tmp_path / "pipe", b"x")
    assert len(list(tmp_path.iterdir())) == 5


def test_a_source_is_not_written_to_by_any_name_or_permission(tmp_path):
    source = tmp_path / "source"
    write_bytes(source, MARK.encode())
    (tmp_path / "hard").hardlink_to(source)
    (tmp_path / "soft").symlink_to(source)
    names = [source, tmp_path / "hard", tmp_path / "soft", tmp_path / ".." / tmp_path.name / "hard"]
    with protecting(tmp_path / "soft"), overwriting():
        for name in names:
            with pytest.raises(StorageError, match="it is the source|it is a source itself"):
                write_bytes(name, b"x")
            with pytest.raises(StorageError, match="cannot write"):
                keep_sources([name], [source])
    write_bytes(source, b"now it may be")


def test_a_source_of_one_thread_is_protected_in_all(tmp_path):
    source, inside, go_on = tmp_path / "source", threading.Event(), threading.Event()
    write_bytes(source, MARK.encode())

    def read() -> None:
        with protecting(source):
            inside.set()
            go_on.wait(60)

    reader = threading.Thread(target=read)
    reader.start()
    assert inside.wait(60)
    with pytest.raises(StorageError, match="source"):
        write_bytes(source, b"x")
    go_on.set()
    reader.join()
    write_bytes(source, b"x")


def test_a_file_that_appears_during_the_work_is_kept(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(StorageError, match=REFUSED), atomic_path(path):
        path.write_bytes(b"mine")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"a": b"mine"}


def test_only_a_folder_of_ours_is_replaced(tmp_path):
    path = tmp_path / "series"
    for names in (("1", "2"), ("1",)):
        with atomic_folder(path) as folder:
            for name in names:
                (folder / name).write_text(MARK)
        assert sorted(p.name for p in path.iterdir()) == list(names)
    (path / "mine").write_text("mine")
    with pytest.raises(StorageError, match="series/mine: it exists already"):
        with atomic_folder(path):
            pass
    assert sorted(p.name for p in path.iterdir()) == ["1", "mine"]
    assert list(tmp_path.iterdir()) == [path]


def test_overwriting_a_folder_removes_no_file_that_it_does_not_replace(tmp_path):
    path = tmp_path / "series"
    path.mkdir()
    (path / "1").write_text("mine")
    with overwriting(), atomic_folder(path) as folder:
        (folder / "1").write_text(MARK)
    assert (path / "1").read_text() == MARK
    (path / "mine").write_text("mine")
    with overwriting(), pytest.raises(StorageError, match="series: mine in it is not from ddfm"):
        with atomic_folder(path) as folder:
            (folder / "2").write_text(MARK)
    assert sorted(p.name for p in path.iterdir()) == ["1", "mine"]
    (path / "mine").unlink()
    with overwriting(), atomic_folder(path) as folder:  # the first file is of ddfm
        (folder / "2").write_text(MARK)
    assert [p.name for p in path.iterdir()] == ["2"]
