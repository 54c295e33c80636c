"""`ddfm fuse - photo.png -o -`: a source from standard input, the result to standard output."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from io import BytesIO

from PIL import Image

from command_line import FAST, ddfm_run, refused


def piped(*arguments, **how):
    command = [sys.executable, "-m", "ddfm", *map(str, arguments)]
    return subprocess.run(command, stderr=subprocess.PIPE, **how)


def test_standard_output_has_the_bytes_of_a_file(pair, tmp_path):
    ir, vis = pair
    assert ddfm_run("fuse", ir, vis, "-o", tmp_path / "f.png", *FAST, "--strip").exit_code == 0
    done = piped(
        "fuse", "-", vis, "-o", "-", *FAST, "--strip", input=ir.read_bytes(), stdout=subprocess.PIPE
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "f.png").read_bytes()
    assert done.stderr == b""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.png", "ir.png", "vis.png"]


def test_the_format_can_be_specified(pair):
    result = ddfm_run("fuse", *pair, "-o", "-", "--format", "tif", *FAST)
    assert Image.open(BytesIO(result.stdout_bytes)).format == "TIFF"
    refused(ddfm_run("fuse", *pair, "-o", "-", "--format", "heic", *FAST), "output suffix")


def test_impossible_uses_of_pipes_are_refused(pair):
    ir, vis = pair
    refused(ddfm_run("fuse", "-", "-", "-o", "x.png"), "standard input (-) can be only one source")
    refused(ddfm_run("fuse", ir, vis, "-o", "-", "--json"), "--json writes to standard output")
    refused(ddfm_run("fuse", ir, vis, "-o", "-", "--show", "overlay"), "name a file")
    refused(ddfm_run("fuse", ir.parent, ir.parent, "-o", "-"), "(-o -) is for an image")
    refused(ddfm_run("film", ir, vis, "-o", "-"), "is for an image by ddfm fuse")
    damaged = piped("fuse", "-", vis, "-o", "-", *FAST, input=b"?", stdout=subprocess.PIPE)
    refused_line = damaged.stderr.decode()
    assert damaged.returncode == 2 and damaged.stdout == b""
    assert refused_line.startswith("ddfm: error: <stdin> is not an image"), refused_line


def test_a_file_may_be_called_a_dash(pair, tmp_path, monkeypatch):
    """A path that leads to it is not standard input or output."""
    monkeypatch.chdir(tmp_path)
    ir, vis = pair
    refused(ddfm_run("fuse", ir, vis, "-o", "./-", *FAST), "a suffix must give the format")
    assert ddfm_run("fuse", ir, vis, "-o", "a.png", *FAST, "--strip").exit_code == 0
    ir.rename("-")
    assert ddfm_run("fuse", "./-", vis, "-o", "b.png", *FAST, "--strip").exit_code == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_terminal_is_refused_as_a_source_or_output(pair):
    ir, vis = pair
    ours, theirs = pty.openpty()
    try:
        out = piped("fuse", ir, vis, "-o", "-", *FAST, stdout=theirs)
        read = piped("fuse", "-", vis, "-o", "x.png", *FAST, stdin=theirs, stdout=subprocess.PIPE)
    finally:
        os.close(ours)
        os.close(theirs)
    assert out.returncode == 2 and b"standard output (-o -) is the terminal" in out.stderr
    assert read.returncode == 2 and b"standard input (-) is the terminal" in read.stderr
