"""The examples run, and print what they wrote."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from places import ROOT


@pytest.mark.parametrize("example", ["fuse_pair", "brain", "custom_prior", "volumes", "folder"])
def test_examples_run(example, tmp_path, monkeypatch, capsys):
    import runpy

    if example == "volumes":
        pytest.importorskip("nibabel")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "examples" / f"{example}.py"))
    results = tmp_path / "pairs" / "fused" if example == "folder" else tmp_path
    written = {path.name: Image.open(path) for path in results.glob("*.png")}
    assert written and all(np.ptp(np.asarray(image)) > 50 for image in written.values())
    printed = capsys.readouterr().out
    if example == "folder":
        assert "first run: 3 fused" in printed and "second run: 3 skipped" in printed
    assert all(name in printed for name in written)


def test_a_fusion_without_torch_pads_cuts_and_warns(tmp_path):
    """With graphs of one operation; results of real ones are in docs/export.md."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from small_graphs import write_graphs

    write_graphs(tmp_path)
    rng = np.random.default_rng(0)
    sources = [rng.integers(0, 256, (37, 45, 3), dtype=np.uint8) for _ in range(2)]
    names = [str(tmp_path / f"{name}.png") for name in ("a", "b", "fused")]
    for name, pixels in zip(names, sources, strict=False):
        Image.fromarray(pixels).save(name)
    code = (
        "import runpy, sys; sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__'); "
        "print(any(name in sys.modules for name in ('torch', 'ddfm', 'scipy')))"
    )
    path = ROOT / "examples" / "without_torch.py"
    line = [sys.executable, "-c", code, path, tmp_path, *names]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    luma = sum(np.dot(pixels, [0.299, 0.587, 0.114]) for pixels in sources) / 2
    assert np.abs(np.asarray(Image.open(names[-1])) - luma[..., None]).max() <= 1
    assert done.stderr.count("is noisy") == 2 and done.stdout == "False\n"


def test_without_torch_pictures_are_upright_and_have_8_bits(tmp_path):
    pytest.importorskip("onnxruntime")
    import runpy

    read = runpy.run_path(str(ROOT / "examples" / "without_torch.py"))["read"]
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x112] = 6  # turned a quarter to the left, to be turned back
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_allclose(read(tmp_path / "turned.png")[0], pixels.transpose(2, 0, 1) / 255)
    for kind in (np.uint16, np.float32):
        Image.fromarray(np.full((3, 5), 7000, kind)).save(tmp_path / "deep.tif")
        with pytest.raises(SystemExit, match=r"deep\.tif has more than 8 bits"):
            read(tmp_path / "deep.tif")
