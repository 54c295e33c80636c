"""The record of how a picture was made, stored in it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddfm
from ddfm import Fuser
from ddfm.errors import InputError
from ddfm.imaging.metadata.record import Record, read_record
from ddfm.imaging.metadata.xmp import packet
from ddfm.pipeline.again import changes, existing_record, keywords
from ddfm.version import __version__

QUICK = {"device": "cpu", "likelihood": "paper", "steps": 2}


def pair(folder) -> tuple[str, str]:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [str(folder / f"{name}.png") for name in ("ir", "vis")]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (20, 24), np.uint8)).save(path)
    return paths[0], paths[1]


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg", "webp", "jp2"])
def test_a_picture_records_how_it_was_made(tmp_path, suffix):
    sources = pair(tmp_path / "of somebody")
    fuser = Fuser("gaussian", seed=5, **QUICK)
    out = tmp_path / f"fused.{suffix}"
    fuser(*sources).save(out)
    record = read_record(out)
    assert record.settings["ddfm"] == __version__ and record.settings["seed"] == 5
    assert record.settings["weights"] == fuser.weights
    digests = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in sources]
    assert list(record.sources) == [("ir.png", digests[0]), ("vis.png", digests[1])]
    assert b"of somebody" not in out.read_bytes()  # no folder of the machine


def test_other_pictures_have_no_record(tmp_path):
    for suffix in ("png", "tif", "jpg", "webp", "jp2", "bmp", "gif"):
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
        assert read_record(path) is None
        with pytest.raises(InputError, match="has no record of how it was made"):
            existing_record(path)


def test_sources_that_are_no_files_have_no_digest(tmp_path):
    array = np.random.default_rng(0).random((16, 16), np.float32)
    ddfm.fuse(array, array, prior="gaussian", **QUICK).save(tmp_path / "a.png")
    assert read_record(tmp_path / "a.png").sources == [
        ("the first image", None),
        ("the second image", None),
    ]


@pytest.mark.parametrize(
    "method",
    [
        QUICK,
        {"device": "cpu"},
        {"device": "cpu", "likelihood": "paper", "steps": 2, "sampler": "ddpm"},
    ],
)
def test_a_fusion_repeated_gives_the_same_bytes(tmp_path, method):
    sources = pair(tmp_path)
    made, again = tmp_path / "made.png", tmp_path / "again.png"
    Fuser("gaussian", seed=7, tone="none", **method)(*sources).save(made)
    record = existing_record(made)
    fusion = Fuser(device="cpu", **keywords(record))(*sources)
    fusion.save(again)
    assert again.read_bytes() == made.read_bytes()
    assert changes(record, fusion.record, "made.png") == []


@pytest.mark.parametrize(
    ("prior", "settings", "trained"),
    [
        ("default", {}, False),  # clean sources: the prior has no weight
        ("default", {"observations": [{"noise": 5}]}, True),
        ("default", {"likelihood": "paper", "steps": 1}, True),
        ("gaussian", {"observations": [{"noise": 5}]}, False),
    ],
)
def test_results_are_marked_only_if_a_trained_model_contributed(tmp_path, prior, settings, trained):
    y, x = np.mgrid[:32, :48].astype(np.float32)
    sources = np.sin(x / 9) / 2 + 0.5, np.cos(y / 7) / 2 + 0.5
    Fuser(prior, device="cpu", **settings)(*sources).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    assert (b"compositeWithTrainedAlgorithmicMedia" in content) == trained


def test_differences_from_the_record_are_reported(tmp_path):
    sources = pair(tmp_path)
    fusion = Fuser("gaussian", **QUICK)(*sources)
    other = {"ddfm": "0.1", "weights": "0" * 64}
    before = Record(fusion.record.settings | other, [("x.png", "0" * 64), fusion.record.sources[1]])
    differences = changes(before, fusion.record, "made.png")
    assert len(differences) == 3
    assert (
        differences[0]
        == f"the version of ddfm differs from that of made.png: 0.1 there, {__version__} here"
    )
    assert "the weights of the prior" in differences[1]
    assert differences[2] == "ir.png is not the x.png that made.png was made of: its sha256 differs"
    assert changes(Record(before.settings, ()), fusion.record, "a")[2:] == [
        "a was made of 0 sources, not 2"
    ]


SOUND = {
    "format": "ddfm record 1",
    "settings": {"ddfm": "1", "weights": "a", "prior": "gaussian"},
    "sources": [{"name": "a.png", "sha256": None}],
}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "must be a JSON object"),
        (json.dumps(SOUND | {"format": 2}), "has a format that this version"),
        (json.dumps(SOUND | {"settings": []}), "it has no settings"),
        (json.dumps(SOUND | {"settings": {"ddfm": 1}}), "it has no settings"),
        (json.dumps(SOUND | {"opening": 1}), "it has no settings"),
        (json.dumps(SOUND | {"sources": {}}), "no list of sources"),
        (json.dumps(SOUND | {"sources": [{"name": "a", "sha256": "x"}]}), "no list of sources"),
        (json.dumps(SOUND | {"more": "a" * 300_000}), "too large"),
    ],
)
def test_a_forged_record_is_refused_in_one_line(tmp_path, damage, words):
    path = tmp_path / "a.webp"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path, xmp=packet(None, damage))
    with pytest.raises(InputError, match=words) as error:
        read_record(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"prior": "/etc/passwd"}, "is not a name that ddfm knows; specify it"),
        ({"prior": ["default"]}, "is not a name that ddfm knows"),
        ({"likelihood": "os.system"}, "unknown likelihood"),
        ({"likelihood": 5}, "likelihood"),
        ({"seed": "x"}, "seed"),
        ({"options": [1]}, "options"),
        ({"steps": -1}, "steps"),
        ({"transform": {"a": 1}}, "transform"),
        ({"align": {}}, "align"),
        ({"clean": "x"}, "clean"),
        ({"clip": "x"}, "clip"),
    ],
)
def test_settings_in_a_record_are_checked(settings, words):
    record = Record.from_text(
        json.dumps(SOUND | {"settings": SOUND["settings"] | settings}), "a.png"
    )
    with pytest.raises(InputError, match=words):
        keywords(record)
