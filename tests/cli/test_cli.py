"""The command line: what it does, what it prints, how it ends. Errors are one line, exit code 2."""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import inspect
import os
import pickle
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from click.testing import Result
from PIL import Image
from safetensors.torch import save_file

import ddfm
from command_line import FAST, ddfm_run, refused
from ddfm.cli import main
from ddfm.priors.checkpoints import save_checkpoint
from ddfm.priors.unet import UNet, UNetConfig


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


@pytest.fixture
def out(tmp_path):
    """The folder for results. A failed command has left nothing there."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "fused.png"


# --- what works ---------------------------------------------------------------------------------


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


def test_priors_are_listed_shown_and_checked(monkeypatch, tmp_path):
    monkeypatch.setenv("DDFM_CACHE", str(tmp_path))
    listed = ddfm_run("priors", "list").output
    assert "gaussian" in listed and "openai-256" in listed
    shown = ddfm_run("priors", "show", "openai-256").output
    assert (
        "MIT" in shown
        and "a37c32fffd316cd494cf3f35b339936debdc1576dad13fe57c42399a5dbc78b1" in shown
    )
    assert ddfm_run("priors", "check", "gaussian").output == "gaussian: part of ddfm\n"
    refused(ddfm_run("priors", "check", "openai-256"), "ddfm priors get openai-256")
    refused(ddfm_run("priors", "get", "gaussian"), "nothing to download")


def test_a_check_compares_denoising_with_a_classical_method(tmp_path):
    """Both are better than the noisy image, which has 20 log10(255 / sigma) dB."""
    rows, columns = np.mgrid[:70, :90]
    for k in range(2):
        picture = 127 + 60 * np.sin(rows / 9 + k) + 50 * np.cos(columns / 11)
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / f"{k}.png")
    result = ddfm_run("priors", "check", "gaussian", "--photographs", tmp_path, "--device", "cpu")
    assert result.exit_code == 0, result.output
    head, *rows = result.output.splitlines()[1:]
    assert head.split() == ["sigma", "15", "sigma", "25", "sigma", "50"]
    assert rows[0].split()[0] == "gaussian" and len(rows) <= 2
    for row in rows:
        gained = [float(value) for value in row.split()[-3:]]
        assert gained == sorted(gained, reverse=True)
        for value, sigma in zip(gained, (15, 25, 50), strict=True):
            assert value > 20 * np.log10(255 / sigma) + 1


def test_a_prior_is_trained_and_used(pair, out, tmp_path, monkeypatch):
    """A small one, and without the pictures that training draws, which take a while."""
    small = UNetConfig(1, 1, 32, (1, 1), num_res_blocks=1, attention=(), num_head_channels=-1)
    monkeypatch.setattr("ddfm.training.train_prior.SHIPPED", small)
    monkeypatch.setattr("ddfm.training.train_prior.sample_sheet", lambda *a, **k: None)
    rng = np.random.default_rng(0)
    (tmp_path / "photographs").mkdir()
    noise = rng.integers(0, 256, (130, 140, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "photographs" / "p.png")
    arguments = ["--out", tmp_path / "run", "--steps", 2, "--batch", 1, "--device", "cpu"]
    arguments += ["--kind", "eps"]
    result = ddfm_run("train-prior", tmp_path / "photographs", *arguments)
    weights = tmp_path / "run" / "prior.safetensors"
    assert (result.exit_code, result.output) == (0, f"{weights}\n")  # no bar: no terminal
    assert ddfm.load_prior(weights).kind == "eps"
    assert ddfm_run("fuse", *pair, "-o", out, *FAST, "--prior", weights).exit_code == 0
    refused(ddfm_run("train-prior", tmp_path / "nowhere", *arguments), "not a folder")

    checked = ddfm_run("priors", "check", weights)
    assert (checked.exit_code, checked.output) == (
        0,
        f"{weights}: loads without errors, channels: 1\n",
    )
    measured = ddfm_run("priors", "check", weights, "--photographs", tmp_path / "photographs", "-q")
    assert measured.exit_code == 0 and "prior" in measured.output.splitlines()[2]


def test_the_weights_package_resolves_where_ddfm_is_installed():
    try:
        importlib.metadata.version("ddfm")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("ddfm is run without being installed")
    assert importlib.util.find_spec("ddfm.pretrained") is not None


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
    return path.with_suffix(".tif"), "NaN or infinite"


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


# --- bad priors ---------------------------------------------------------------------------------


class Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def tiny(**changes) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    config = UNetConfig(
        in_channels=1, out_channels=1, model_channels=32, channel_mult=(1, 1), num_res_blocks=1,
        attention=(), **changes,
    )  # fmt: skip
    return UNet(config).state_dict(), {
        "kind": "eps", "schedule": "linear", "T": 1000, "num_heads": 4,
        "use_new_attention_order": False,
    }  # fmt: skip


def bad_prior(kind: str, folder: Path) -> tuple[str, str]:
    """A value of --prior, and words that the message must contain."""
    path = folder / "w.pt"
    state, settings = tiny()
    if kind == "no such name":
        return "gausian", "did you mean gaussian?"
    if kind == "no such file":
        return str(path), "there is no such file"
    if kind == "text":
        path.write_text("no weights at all")
        return str(path), "is not a checkpoint"
    if kind == "text as safetensors":
        path.with_suffix(".safetensors").write_text("no weights at all")
        return str(path.with_suffix(".safetensors")), "is not a whole safetensors file"
    if kind == "truncated":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:-2000])
        return str(path), "is not a checkpoint, or is damaged"
    if kind == "another network":
        torch.save(torch.nn.Linear(3, 4).state_dict(), path)
        return str(path), str(path)
    if kind == "a few other shapes":
        path = path.with_suffix(".safetensors")
        save_checkpoint(path, state | {"out.2.weight": torch.zeros(1, 32, 5, 5)}, settings)
        return str(path), "out.2.weight"
    if kind == "malicious":
        path.write_bytes(pickle.dumps(Payload(folder / "owned"), protocol=2))
        return str(path), "weights must not run programs"
    if kind == "class conditioning":
        torch.save(state | {"label_emb.weight": torch.zeros(1000, 128)}, path)
        return str(path), "class conditioning"
    assert kind == "settings missing"
    save_file(state, path.with_suffix(".safetensors"))
    return str(path.with_suffix(".safetensors")), "does not specify"


PRIORS = [
    *("no such name", "no such file", "text", "text as safetensors", "truncated"),
    *("another network", "a few other shapes", "malicious", "class conditioning"),
    "settings missing",
]


@pytest.mark.parametrize("kind", PRIORS)
def test_bad_priors_are_refused(kind, pair, out, tmp_path):
    prior, words = bad_prior(kind, tmp_path)
    refused(ddfm_run("fuse", *pair, "-o", out, *FAST, "--prior", prior), words)
    assert not (tmp_path / "owned").exists() and list(out.parent.iterdir()) == []


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
        (["--sampler", "dimm"], "unknown sampler 'dimm'; did you mean ddim"),
        (["--task", "medicine"], "unknown task 'medicine'; did you mean medical?"),
        (["--color", "gray"], "unknown colour mode 'gray'; did you mean grey?"),
        (["--resize", "c"], "unknown way to resize 'c'; known: a, auto, b, error"),
        (["--dtype", "float31"], "unknown dtype 'float31'; did you mean float32"),
        (["--device", "cdua"], "there is no device 'cdua' here"),
        (["--steps", "few"], "cannot read steps 'few'"),
        (["--start", "1000"], "start must be a timestep from 0 to 999"),
        (["--tile", "5"], "a tile must be at least 128 pixels wide"),
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
    refused(ddfm_run("fuse", *folders, "-o", out), "near", "no image", "mid", "far")
    refused(ddfm_run("fuse", pair[0], folders[1], "-o", out), "mid: it is a folder")
    refused(ddfm_run("fuse", tmp_path / "film.mp4", pair[0], "-o", out), "film.mp4: there is no")
    assert not out.exists()


def test_bad_commands_are_refused():
    refused(ddfm_run("fuze"), "No such command 'fuze'", "see `ddfm --help`")
    refused(ddfm_run("fuse"), "Missing argument 'A B...'", "see `ddfm fuse --help`")
    refused(ddfm_run("priors", "show", "openai256"), "did you mean openai-256")
    result = ddfm_run()
    assert result.exit_code == 2 and "Usage: ddfm" in result.output


# --- how it ends --------------------------------------------------------------------------------


def test_errors_of_a_real_process(pair, out, tmp_path):
    done = process("fuse", tmp_path / "nowhere.png", pair[1], "-o", out)
    refused(done, "cannot read", "nowhere.png: there is no such file")


def ending(error: BaseException, pair, out, monkeypatch) -> Result:
    def fail(*arguments, **kwargs):
        raise error

    monkeypatch.setattr("ddfm.fuser.Fuser.__call__", fail)
    return ddfm_run("fuse", *pair, "-o", out, *FAST)


def test_an_interruption_ends_with_130(pair, out, monkeypatch):
    result = ending(KeyboardInterrupt(), pair, out, monkeypatch)
    assert result.exit_code == 130 and result.stderr.strip().endswith("ddfm: error: interrupted")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
    ids=["cuda", "cpu", "numpy"],
)
def test_out_of_memory_names_a_remedy(error, pair, out, monkeypatch):
    refused(ending(error, pair, out, monkeypatch), "not enough memory", "--tile")


def test_torch_raises_the_error_that_is_recognised():
    """An allocation that always fails: nobody has 2^60 bytes."""
    from ddfm.errors import is_out_of_memory

    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**58)
    assert is_out_of_memory(caught.value) and not is_out_of_memory(RuntimeError("shapes differ"))


def test_bugs_of_ddfm_are_not_reported_as_user_errors(pair, out, monkeypatch):
    result = ending(RuntimeError("shapes differ"), pair, out, monkeypatch)
    assert isinstance(result.exception, RuntimeError) and "ddfm: error" not in result.output


@pytest.mark.skipif(sys.platform == "win32", reason="closed pipes are POSIX")
def test_a_closed_pipe_causes_no_traceback():
    started = subprocess.Popen(
        [sys.executable, "-m", "ddfm", "priors", "list"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    started.stdout.close()  # as `| head -0` would, long before it writes
    assert (started.stderr.read(), started.wait(60)) == ("", 141)
    started.stderr.close()


def test_views_are_written_next_to_the_result(pair, out):
    assert ddfm_run("fuse", *pair, "-o", out, *FAST, "--show", "side-by-side").exit_code == 0
    shown = out.with_name(f"{out.stem}.side-by-side.png")
    with Image.open(shown) as view, Image.open(out) as fused:
        assert view.width > 3 * fused.width
    assert ddfm_run("fuse", *pair, "-o", out, *FAST, "--overlay", "ice").exit_code == 0
    assert out.with_name(f"{out.stem}.overlay.png").exists()
    refused(ddfm_run("fuse", *pair, "-o", out, *FAST, "--show", "both"), "unknown view 'both'")
    refused(ddfm_run("fuse", *pair, "-o", out, *FAST, "--overlay", "x"), "unknown colour map 'x'")
