"""`ddfm fuse`: what it does and prints. Errors are one line, exit code 2."""

from __future__ import annotations

import errno
import inspect
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import ddfm
from command_line import FAST, ddfm_run, refused
from ddfm.cli import main
from image_files import geotiff


def process(*arguments: object, **kwargs) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ddfm", *map(str, arguments)]
    kwargs = {"capture_output": True, "text": True, "timeout": 120} | kwargs
    return subprocess.run(command, **kwargs)


@pytest.fixture
def pair(tmp_path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (12, 10), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(rng.integers(0, 256, (12, 10, 3), np.uint8)).save(tmp_path / "b.png")
    return tmp_path / "a.png", tmp_path / "b.png"


# --- what works ---------------------------------------------------------------------------------


def test_what_is_kept_is_what_the_format_holds(pair, tmp_path):
    """Of a JPEG with a position in EXIF, PNG has the position; of a GeoTIFF it has no coordinates.

    Standard output is a PNG, too, unless another format is given.
    """
    photo, place = tmp_path / "photo.jpg", tmp_path / "place.tif"
    exif = Image.Exif()
    exif.get_ifd(34853).update({1: "N", 2: (48.0, 8.0, 14.5)})
    Image.open(pair[1]).save(photo, exif=exif)
    geotiff(place, np.asarray(Image.open(pair[1])))
    out, kept = tmp_path / "o.png", "; strip=True (--strip) leaves it out"
    lacks = "cannot hold coordinates, so they are left out; .tif and .jp2 keep them"
    for source, target, warned in (
        (photo, out, f"kept from {photo}: GPS position{kept}"),
        (place, out, f"{out}: a .png file {lacks}"),
        (place, tmp_path / "o.bmp", f"{tmp_path / 'o.bmp'}: a .bmp file {lacks}"),
        (place, "-", f"image.png: a .png file {lacks}"),
        (place, tmp_path / "o.tif", f"kept from {place}: coordinates{kept}"),
    ):
        result = ddfm_run("fuse", pair[0], source, "-o", target, *FAST)
        said = [line for line in result.stderr.splitlines() if "warning" in line]
        assert said == [f"ddfm: warning: {warned}"]


def test_fuse_writes_the_result_of_the_library(pair, out):
    result = ddfm_run("fuse", *pair, "-o", out, *FAST, "--seed", 7, "--color", "grey")
    assert (result.exit_code, result.output) == (0, "")
    expected = ddfm.fuse(
        *pair, prior="gaussian", likelihood="paper", steps=2, device="cpu", seed=7, color="grey"
    )
    assert np.array_equal(np.asarray(Image.open(out)), expected.image)


def test_fuse_saves_its_steps(pair, out, tmp_path):
    steps = tmp_path / "steps"
    assert ddfm_run("fuse", *pair, "-o", out, *FAST, "--save-steps", steps).exit_code == 0
    assert len(list(steps.iterdir())) == 4 and out.is_file()


def test_options_are_the_arguments_of_a_fuser_with_the_same_defaults(pair, out, monkeypatch):
    asked = {}

    class Spy(ddfm.Fuser):
        def __init__(self, **settings):
            asked.update(settings)
            super().__init__("gaussian", likelihood="paper", steps=1)

    monkeypatch.setattr("ddfm.fuser.Fuser", Spy)
    assert ddfm_run("fuse", *pair, "-o", out).exit_code == 0
    parameters = inspect.signature(ddfm.Fuser).parameters
    defaults = {
        name: p.default
        for name, p in parameters.items()
        # Options of researchers, in Python; observations have options of their own.
        if name not in ("options", "clean", "clip", "look", "observations")
    }
    assert asked == defaults


def test_sources_of_two_sizes_are_resized_on_request(pair, out, tmp_path):
    Image.open(pair[1]).resize((20, 30)).save(tmp_path / "large.png")
    line = refused(ddfm_run("fuse", pair[0], tmp_path / "large.png", "-o", out, *FAST))
    assert "a.png has 10 x 12 pixels" in line and "--resize a" in line
    for side, size in (("a", (10, 12)), ("b", (20, 30))):
        result = ddfm_run(
            "fuse", pair[0], tmp_path / "large.png", "-o", out, *FAST, "--resize", side
        )
        assert result.exit_code == 0
        with Image.open(out) as image:
            assert image.size == size


def test_a_summary_is_printed_on_a_terminal_only(pair, out):
    pty = pytest.importorskip("pty", reason="terminals are POSIX")

    def said_on_a_terminal(*more: str) -> bytes:
        ours, theirs = pty.openpty()
        done = process("fuse", *pair, "-o", out, *FAST, *more, capture_output=False,
                       stdout=theirs, stderr=theirs)  # fmt: skip
        os.close(theirs)
        try:
            printed = os.read(ours, 10_000)
        except OSError:  # how Linux says that nobody is left to speak
            printed = b""
        os.close(ours)
        assert done.returncode == 0
        return printed

    done = process("fuse", *pair, "-o", out, *FAST)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert b"fused.png: 10 x 12 pixels" in said_on_a_terminal()
    assert said_on_a_terminal("--quiet") == b""


def test_version_and_help():
    assert ddfm_run("--version").output == f"ddfm {ddfm.__version__}\n"
    text = ddfm_run("--help").output
    assert all(f"\n    {code} " in text for code in (0, 1, 2, 130))
    commands = [["fuse"], ["priors"], *(["priors", c] for c in main.commands["priors"].commands)]
    for command in [*commands, ["train-prior"]]:
        result = ddfm_run(*command, "--help")
        assert result.exit_code == 0 and result.output.startswith("Usage: ddfm " + command[0])
    for command in ("fuse", "priors", "train-prior"):
        assert "Examples:\n" in ddfm_run(command, "--help").output


def test_help_does_not_import_torch():
    code = "import sys; from ddfm.cli import main; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


# --- bad images ---------------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    """A PNG, without pixels if width or height is 0."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")
        )

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    data = zlib.compress(bytes((width + 1) * height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def bad_image(kind: str, path: Path, good: Path) -> tuple[Path, str]:
    """A bad image of a kind, and words that the message must contain."""
    if kind == "missing":
        return path, "there is no such file"
    if kind == "folder":
        path.mkdir()
        return path, "it is a folder"
    if kind == "text":
        path.write_text("no image at all")
        return path, "is not an image"
    if kind == "empty":
        path.write_bytes(b"")
        return path, "is empty"
    if kind == "truncated":
        path.write_bytes(good.read_bytes()[:-300])
        return path, "is truncated or damaged"
    if kind == "zero-sized":
        path.write_bytes(png(0, 12))
        return path, "bad.png"
    if kind == "other size":
        path.write_bytes(png(9, 12))
        return path, "9 x 12"
    values = np.full((12, 10), {"NaN": np.nan, "infinite": -np.inf}[kind], np.float32)
    tifffile.imwrite(path.with_suffix(".tif"), values)
    return path.with_suffix(".tif"), "NaN, infinite or no data"


KINDS = [
    *("missing", "folder", "text", "empty", "truncated", "zero-sized", "other size"),
    *("NaN", "infinite"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_bad_images_are_refused(kind, pair, out, tmp_path):
    path, words = bad_image(kind, tmp_path / "bad.png", pair[1])
    for sources in ((path, pair[1]), (pair[1], path)):
        refused(ddfm_run("fuse", *sources, "-o", out, *FAST), path.name, words)
    assert list(out.parent.iterdir()) == []


# --- bad outputs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere/f.png", "there is no folder"),
        ("a.png/f.png", "there is no folder"),
        ("out", "it is a folder; name a file in it"),
        ("other", "a suffix must give the format"),
        ("out/f.pgn", "did you mean .png"),
        ("out/f", "try "),
    ],
)
def test_bad_outputs_are_refused_before_the_work(name, words, pair, tmp_path, out, monkeypatch):
    monkeypatch.setattr("ddfm.fuser.Fuser.__init__", lambda *a, **k: pytest.fail("it worked"))
    refused(ddfm_run("fuse", *pair, "-o", tmp_path / name, *FAST), words)


def test_links_that_lead_nowhere_are_refused(pair, tmp_path):
    loop, dangling = tmp_path / "loop.png", tmp_path / "dangling.png"
    loop.symlink_to(loop)
    dangling.symlink_to("gone.png")
    refused(ddfm_run("fuse", *pair, "-o", loop, *FAST), "cannot write", "it is a link")
    for name, target in ((loop, loop), (dangling, "gone.png")):
        result = ddfm_run("fuse", name, pair[1], "-o", tmp_path / "f.png", *FAST)
        refused(result, f"it is a link to {target}, which is missing or leads back to it")


def test_an_output_without_permission_is_refused(pair, out, monkeypatch):
    """Root may write anywhere, and no one may write into /proc."""
    where = Path("/proc") if os.geteuid() == 0 else out.parent
    if where == Path("/proc") and not where.is_dir():
        pytest.skip("no folder here that root cannot write to")
    if where == out.parent:
        where.chmod(0o555)
    monkeypatch.setattr("ddfm.fuser.Fuser.__init__", lambda *a, **k: pytest.fail("it worked"))
    refused(ddfm_run("fuse", *pair, "-o", where / "f.png", *FAST), "cannot write", "f.png")
    where == out.parent and where.chmod(0o755)


def test_steps_without_permission_are_refused(pair, out, tmp_path, monkeypatch):
    """It is refused before any work, and before there is a result."""
    monkeypatch.setattr("ddfm.fuser.Fuser.__init__", lambda *a, **k: pytest.fail("it worked"))
    for steps in (pair[0], pair[0] / "steps", pair[0] / "deep" / "steps"):
        result = ddfm_run("fuse", *pair, "-o", out, *FAST, "--save-steps", steps)
        refused(result, "cannot write into the folder", "a.png is not a folder")
    assert not out.exists()


OTHERS = ("step-by-step.png", "step-000-t999-prior.png.txt", "a step-000-t999-prior.png")


def test_steps_of_another_fusion_are_removed_and_nothing_else(pair, out, tmp_path):
    steps = tmp_path / "steps"
    for count in (7, 2):
        arguments = [*FAST, "--steps", count, "--save-steps", steps]
        assert ddfm_run("fuse", *pair, "-o", out, *arguments).exit_code == 0
        assert len(list(steps.glob("step-*-*-*.png"))) == 2 * count
        for name in OTHERS:
            (steps / name).touch()
    assert len(list(steps.iterdir())) == 4 + len(OTHERS)


def test_a_full_disk_leaves_the_old_file(pair, out, monkeypatch):
    assert ddfm_run("fuse", *pair, "-o", out, *FAST, "--seed", 1).exit_code == 0
    before = out.read_bytes()

    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    refused(ddfm_run("fuse", *pair, "-o", out, *FAST), "cannot write", "No space left on device")
    assert [p.read_bytes() for p in out.parent.iterdir()] == [before]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output_is_reported():
    with open("/dev/full", "w") as full:
        done = process("priors", "list", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr == "ddfm: error: No space left on device\n"


# --- bad arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--likelihood", "papr"], "unknown likelihood 'papr'; did you mean paper?"),
        (["--device", "cdua"], "there is no device 'cdua' here"),
        (["--steps", "few"], "cannot read steps 'few'"),
        (["--seed", "-3"], "seed must be a whole number"),
        (["--seed", "x"], "'x' is not a valid integer"),
        (["--stepz", "3"], "--stepz"),
        (["third.png"], "cannot read third.png: there is no such file"),
    ],
)
def test_bad_arguments_are_refused(arguments, words, pair, out):
    refused(ddfm_run("fuse", *pair, "-o", out, *FAST, *arguments), words)
    assert list(out.parent.iterdir()) == []


def test_a_mistyped_folder_is_named_instead_of_the_output(pair, tmp_path):
    """An output without a suffix is correct for folders."""
    folders = [tmp_path / name for name in ("near", "mid", "far")]
    for folder in folders:
        folder.mkdir()
    out = tmp_path / "fused"
    line = refused(ddfm_run("fuse", tmp_path / "nera", folders[0], "-o", out), "nera")
    assert "there is no such file or folder" in line
    refused(ddfm_run("fuse", *folders, "-o", out), "near holds no image")
    refused(ddfm_run("fuse", pair[0], folders[1], "-o", out), "mid: it is a folder")
    refused(ddfm_run("fuse", tmp_path / "film.mp4", pair[0], "-o", out), "film.mp4: there is no")
    assert not out.exists()


def test_bad_commands_are_refused():
    refused(ddfm_run("fuze"), "No such command 'fuze'", "see `ddfm --help`")
    refused(ddfm_run("fuse"), "Missing argument 'A B...'", "see `ddfm fuse --help`")
    refused(ddfm_run("priors", "show", "openai256"), "did you mean openai-256")
    result = ddfm_run()
    assert result.exit_code == 2 and "Usage: ddfm" in result.output


def test_views_are_written_next_to_the_result(pair, out):
    assert ddfm_run("fuse", *pair, "-o", out, *FAST, "--show", "side-by-side").exit_code == 0
    shown = out.with_name(f"{out.stem}.side-by-side.png")
    with Image.open(shown) as view, Image.open(out) as fused:
        assert view.width > 3 * fused.width
    assert ddfm_run("fuse", *pair, "-o", out, *FAST, "--overlay", "ice").exit_code == 0
    assert out.with_name(f"{out.stem}.overlay.png").exists()
    refused(ddfm_run("fuse", *pair, "-o", out, *FAST, "--show", "both"), "unknown view 'both'")
    refused(ddfm_run("fuse", *pair, "-o", out, *FAST, "--overlay", "x"), "unknown colour map 'x'")
