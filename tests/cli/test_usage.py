"""Options that do not fit together, or cannot be read, end in one line before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import ddfm_run, refused
from image_files import folders_of_noise

REFUSED = {
    "fuse ir/0.png vi/0.png -o f.png --samples 4": "give both",
    "fuse ir/0.png vi/0.png -o f.png --uncertainty u.tif --samples 1": "must be 2 or more",
    "fuse ir vi -o out --save-transform t.json": "use it with --align once",
    "fuse ir/0.png vi/0.png \u2013o f.png": "hyphen; type -o",  # dashes, as copied from a page
    "fuse ir/0.png vi/0.png \u2014output f.png": "hyphen; type --output",
    "film ir vi -o f.mkv --save-transform t.json": "only if --align finds one",
    "volume a.nii b.nii -o f.nii --save-transform t.json": "needs --align",
    "volume a.nii b.nii c.nii -o f.nii --align rigid --save-transform t.json": "for two volumes",
    "bench . --out out --subfolders ir": "takes two names or more",
    "bench . --out out --subfolders ir,vi --also theirs": "takes NAME=DIR",
    "bench . . --out out --subfolders ir,vi": "two sets have the same name",
    "bench . --out out --subfolders ir,vi --only none": "no FOLDER has a pair of this name",
    "bench . --out out --detect boxes.csv": "give both",
    "train-dmfuse . --out out --t five": "timesteps separated by commas",
}


@pytest.mark.parametrize("line", REFUSED)
def test_options_that_do_not_fit_together_are_refused(tmp_path, monkeypatch, line):
    folders_of_noise(tmp_path, ["0"], (16, 16), ("ir", "vi"))
    for name in "abc":
        (tmp_path / f"{name}.nii").touch()
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    refused(ddfm_run(*line.split()), REFUSED[line])
    assert sorted(Path().resolve().rglob("*")) == before
