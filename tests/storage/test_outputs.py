"""Results replace no source, and outputs that cannot be written are refused before the work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

import ddfm
from command_line import FAST, ddfm_run, refused
from ddfm.cli import main
from ddfm.errors import DdfmError
from ddfm.imaging.writing import check_output
from ddfm.pipeline.films import fuse_sequence
from ddfm.pipeline.folders import fuse_folders
from ddfm.storage.atomic import atomic_folder, atomic_path
from ddfm.volumes.files import check_volume_output
from image_files import folders_of_noise, noise


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def no_work(monkeypatch):
    """A run that is refused must not even load a prior."""
    monkeypatch.setattr("ddfm.fuser.Fuser.__init__", lambda *a, **k: pytest.fail("it worked"))


@pytest.fixture
def fuser() -> ddfm.Fuser:
    return ddfm.Fuser("gaussian", likelihood="paper", steps=2, device="cpu")


def test_written_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "file").touch()
    with atomic_folder(tmp_path / "folder") as folder, atomic_path(folder / "file"):
        pass
    for name in ("", "file"):
        modes = [(tmp_path / kind / name).stat().st_mode for kind in ("plain", "folder")]
        assert modes[0] == modes[1]


# --- sources are safe ---------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1, 2])
def test_an_image_is_not_replaced_by_its_fusion(tmp_path, no_work, which):
    sources = [noise(tmp_path / f"{name}.png", k) for k, name in enumerate("abc")]
    before = contents(tmp_path)
    refused(ddfm_run("fuse", *sources, "-o", sources[which], *FAST), "it is a source itself")
    assert contents(tmp_path) == before


def test_two_outputs_cannot_be_one_file(tmp_path, no_work):
    a, b, out = noise(tmp_path / "a.png"), noise(tmp_path / "b.png", 1), tmp_path / "o.png"
    for option in ("--check", "--uncertainty", "--attribution"):
        again = tmp_path / ".." / tmp_path.name / "o.png"
        run = ("fuse", a, b, "-o", out, option, again, *FAST)
        refused(ddfm_run(*run), f"--output and {option} name the same file, {again}; name one")
    volume = tmp_path / "o.nii"
    run = ("volume", a, b, "-o", volume, "--uncertainty", volume, *FAST)
    refused(ddfm_run(*run), "--output and --uncertainty name the same file")


def test_other_names_of_a_source_are_recognised(tmp_path, no_work, monkeypatch):
    a, b = noise(tmp_path / "a.png"), noise(tmp_path / "b.png", 1)
    link = tmp_path / "link.png"
    link.symlink_to(a)
    before = contents(tmp_path)
    refused(ddfm_run("fuse", a, b, "-o", link, *FAST), f"it is the source {a}")
    refused(ddfm_run("fuse", link, b, "-o", a, *FAST), f"it is the source {link}")
    refused(
        ddfm_run("fuse", a, b, "-o", tmp_path / ".." / tmp_path.name / "a.png", *FAST), "source"
    )
    monkeypatch.chdir(tmp_path)
    refused(ddfm_run("fuse", a, b, "-o", "a.png", *FAST), "source")
    assert contents(tmp_path) == before


def test_a_film_is_not_replaced_by_its_fusion(tmp_path, no_work):
    films = [tmp_path / "i.mp4", tmp_path / "v.mp4"]
    for film in films:
        film.write_bytes(b"a film")
    for command in ("film", "fuse"):
        for film in films:
            refused(ddfm_run(command, *films, "-o", film, *FAST), "it is a source itself")
    assert set(contents(tmp_path).values()) == {b"a film"}


def test_frames_of_an_earlier_fusion_are_not_replaced_by_the_next(tmp_path, fuser):
    """Their manifest lists them, so nothing else would prevent it."""
    for word in ("ir", "vis"):
        noise(tmp_path / word / "1.png")
    first = tmp_path / "first"
    fuse_sequence(tmp_path / "ir", tmp_path / "vis", first, fuser)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "1.png").symlink_to(first / "1.png")
    before = contents(tmp_path)
    for source in (first, tmp_path / "links"):
        with pytest.raises(DdfmError, match="source"):
            fuse_sequence(source, tmp_path / "vis", first, fuser, temporal_denoising=False)
    assert contents(tmp_path) == before


def test_a_volume_is_not_replaced_by_its_fusion(tmp_path, no_work):
    volumes = [tmp_path / "a.nii", tmp_path / "b.nii"]
    for volume in volumes:
        volume.write_bytes(b"a volume")
    for volume in volumes:
        refused(ddfm_run("volume", *volumes, "-o", volume, *FAST), "it is a source itself")
    montage = noise(tmp_path / "look.png")
    run = ["volume", volumes[0], montage, "-o", tmp_path / "x.nii", "--montage", montage]
    refused(ddfm_run(*run, *FAST), "it is a source itself")
    series = noise(tmp_path / "series" / "1").parent
    refused(ddfm_run("volume", series, volumes[0], "-o", series, *FAST), "it is a source itself")
    assert set(contents(tmp_path)) == {"a.nii", "b.nii", "look.png", "series/1"}


def test_sources_that_link_to_the_results_are_recognised(tmp_path, fuser):
    for word in ("ir", "vis"):
        noise(tmp_path / word / "1.png")
    first = tmp_path / "first"
    fuse_folders(tmp_path / "ir", tmp_path / "vis", first, fuser)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "1.png").symlink_to(first / "1.png")
    before = contents(tmp_path)
    with pytest.raises(DdfmError, match=r"first/1.png: it is the source .*links/1.png"):
        fuse_folders(tmp_path / "links", tmp_path / "vis", first, fuser)
    assert contents(tmp_path) == before


# --- what cannot be written ---------------------------------------------------------------------


@pytest.fixture
def closed(tmp_path):
    """A folder without permission to write. Root may write anywhere, but not into /proc."""
    if not hasattr(os, "geteuid"):
        pytest.skip("permissions are POSIX")
    if os.geteuid() == 0:
        if not Path("/proc").is_dir():
            pytest.skip("no folder here that root cannot write to")
        yield Path("/proc")
        return
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    yield folder
    folder.chmod(0o755)


def test_a_folder_without_permission_is_refused_for_a_video(tmp_path, closed, no_work):
    pytest.importorskip("av")
    folders = [noise(tmp_path / word / "1.png").parent for word in ("ir", "vis")]
    refused(ddfm_run("film", *folders, "-o", closed / "f.mp4", *FAST), "cannot write", "f.mp4")


def test_a_folder_without_permission_is_refused_for_a_volume(tmp_path, closed, no_work):
    pytest.importorskip("pydicom")
    for name in ("a.nii", "b.nii"):
        (tmp_path / name).touch()
    run = ["volume", tmp_path / "a.nii", tmp_path / "b.nii", *FAST, "-o"]
    for name in ("x.nii.gz", "series"):
        refused(ddfm_run(*run, closed / name), "cannot write", name)
    run += [tmp_path / "x.nii", "--montage"]
    refused(ddfm_run(*run, closed / "x.png"), "cannot write", "x.png")


def test_trying_to_write_leaves_no_trace(tmp_path):
    for check, name in (
        (check_output, "x.png"),
        (check_volume_output, "x.nii"),
        (check_volume_output, "series"),
    ):
        check(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_an_image_too_large_for_the_format_is_refused(tmp_path, no_work):
    """WebP stores a side in 14 bits."""
    a, b = (noise(tmp_path / f"{name}.png", k, (1, 1 << 14)) for k, name in enumerate("ab"))
    run = ["fuse", a, b, "-o"]
    refused(ddfm_run(*run, tmp_path / "x.webp", *FAST), "have at most 16383 pixels a side")


def test_images_of_a_folder_too_large_for_the_format_are_refused(tmp_path, fuser, monkeypatch):
    for word in ("ir", "vis"):
        noise(tmp_path / word / "small.png")
        Image.new("L", (1 << 14, 1)).save(tmp_path / word / "wide.png")
    stream, sizes = ddfm.Fuser.stream, []

    def seen(fuser, groups, **kwargs):
        groups = list(groups)
        sizes.extend(group[0].size for group in groups)
        return stream(fuser, groups, **kwargs)

    monkeypatch.setattr(ddfm.Fuser, "stream", seen)
    out = tmp_path / "out"
    summary = fuse_folders(tmp_path / "ir", tmp_path / "vis", out, fuser, suffix="webp")
    assert [outcome.status for outcome in summary.outcomes] == ["fused", "failed"]
    assert "WEBP images have at most" in summary.outcomes[1].error and sizes == [(12, 10)]


def test_a_volume_whose_slices_are_sheared_cannot_become_dicom(tmp_path, no_work):
    nibabel = pytest.importorskip("nibabel")
    pytest.importorskip("pydicom")
    sheared = np.eye(4)
    sheared[0, 1] = 0.5
    for name in "ab":
        volume = nibabel.Nifti1Image(np.ones((4, 5, 6), np.int16), sheared)
        nibabel.save(volume, tmp_path / f"{name}.nii")
    run = ["volume", tmp_path / "a.nii", tmp_path / "b.nii", "-o", tmp_path / "series", *FAST]
    refused(ddfm_run(*run), "a.nii", "not at right angles, which DICOM cannot")


# --- told to end --------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals are POSIX")
def test_a_terminated_process_removes_half_written_files(tmp_path):
    pytest.importorskip("av")
    folders_of_noise(tmp_path, range(9))
    out = tmp_path / "out"
    out.mkdir()
    run = ["film", tmp_path / "ir", tmp_path / "vis", "-o", out / "f.mp4", *FAST]
    command = [sys.executable, "-m", "ddfm", *map(str, run), "--steps", "999"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        began = time.monotonic()
        while not any(out.iterdir()) and time.monotonic() < began + 60:
            time.sleep(0.02)
        assert [path.name[:9] for path in out.iterdir()] == [".partial-"]
        process.terminate()
        assert (process.wait(60), process.stderr.read()) == (128 + signal.SIGTERM, "")
    assert list(out.iterdir()) == []


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals are POSIX")
def test_signal_handlers_of_others_are_kept():
    """Under `nohup` the terminal may be closed; a program that calls ddfm keeps its handlers."""
    inside = []

    class Spy(click.Command):
        def invoke(self, context: click.Context) -> None:
            inside.extend(signal.getsignal(n) for n in (signal.SIGHUP, signal.SIGTERM))

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(main.commands, "spy", Spy("spy"))
            assert ddfm_run("spy").exit_code == 0
        assert inside[0] is signal.SIG_IGN and callable(inside[1])
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is not inside[1]
    finally:
        signal.signal(signal.SIGHUP, before)
