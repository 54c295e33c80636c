"""ddfm info, ddfm fuse --like, and what the command line reports of metadata."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import FAST, ddfm_run, refused
from ddfm import read_image
from ddfm.imaging.metadata.xmp import packet
from flir_files import flir_jpeg, kelvin_to_raw
from places import EXAMPLES


@pytest.fixture
def pair(tmp_path) -> tuple[Path, Path]:
    """A thermal image, and a photograph with an author in its metadata."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[315], exif[271] = "Ann Example", "Maker"
    counts = (7000 + rng.integers(0, 3000, (24, 30))).astype(np.uint16)
    Image.fromarray(counts).save(tmp_path / "a.png")
    Image.fromarray(rng.integers(0, 256, (24, 30, 3), np.uint8)).save(tmp_path / "b.jpg", exif=exif)
    return tmp_path / "a.png", tmp_path / "b.jpg"


def made(pair, out: Path, *options: object) -> Path:
    result = ddfm_run("fuse", *pair, "-o", out, *FAST, "--seed", 7, *options)
    assert result.exit_code == 0, result.output
    return out


def test_info_shows_how_a_picture_was_made(tmp_path, pair):
    out = made(pair, tmp_path / "out.tif", "--range-a", 7000, 10000)
    about = ddfm_run("info", out)
    assert (about.exit_code, about.stderr) == (0, "")
    for words in (
        f"{out}: made by ddfm ",
        "source a  a.png  sha256 ",
        "source b  b.jpg  sha256 ",
        "seed",
        "7000.0, 10000.0",
    ):
        assert words in about.stdout
    record = json.loads(ddfm_run("info", out, "--json").stdout)
    assert record["settings"]["seed"] == 7
    assert [source["name"] for source in record["sources"]] == ["a.png", "b.jpg"]
    assert record["opening"] == {"ranges": [[7000.0, 10000.0], None]}


def test_info_reports_a_missing_record(pair):
    about = ddfm_run("info", pair[1])
    first, *others = about.stdout.splitlines()
    assert first == f"{pair[1]}: holds no record of how ddfm made it"
    assert about.exit_code == 0 and "  picture   30 x 24 pixels, colour, 8 bits" in others
    looked = json.loads(ddfm_run("info", pair[1], "--json").stdout)
    assert "settings" not in looked and looked["width"] == 30


def test_info_knows_a_map_without_a_record(tmp_path, pair):
    """It has three pages as numbers, and colours like those of temperatures as an image."""
    for name, size in (
        ("std.tif", "floating point, the first of 3"),
        ("std.png", "colour, 8 bits"),
    ):
        out = tmp_path / name
        made(pair, tmp_path / "out.png", "--uncertainty", out, "--samples", 2, "--overwrite")
        about = ddfm_run("info", out)
        first, second, *others = about.stdout.splitlines()
        assert first.startswith(f"{out}: made by ddfm, but holds no record of how (a map")
        assert second.endswith(size) and about.stderr == ""
        assert not any("thermal" in line for line in others)


def test_info_shows_what_a_fusion_would_correct(tmp_path, pair):
    """The corrections are those that a fusion finds and prints."""
    about = ddfm_run("info", pair[0]).stdout.splitlines()
    counts = np.asarray(Image.open(pair[0]))
    assert f"  values    {counts.min()} to {counts.max()}" in about
    assert any("become black and white; --range-a full keeps" in line for line in about)
    noisy, beside = tmp_path / "noisy.png", EXAMPLES / "olinda_visible.png"
    with Image.open(EXAMPLES / "olinda_infrared.png") as image:
        levels = np.asarray(image.convert("L")).astype(float)
    levels += np.random.default_rng(0).normal(0, 12, levels.shape)
    Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).save(noisy)
    fast = ("--prior", "gaussian", "--device", "cpu")
    fused = ddfm_run("fuse", noisy, beside, "-o", tmp_path / "f.png", *fast)
    (corrects,) = [x for x in ddfm_run("info", noisy).stdout.splitlines() if "corrects" in x]
    assert "noise of 1" in corrects
    assert fused.stderr == f"{noisy}: {corrects.removeprefix('  corrects  ')}\n"
    assert "  corrects  nothing" in ddfm_run("info", beside).stdout.splitlines()


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_info_of_other_files_is_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    words = "is not an image, or damaged" if content else "is empty"
    refused(ddfm_run("info", tmp_path / "a.png"), f"a.png {words}")
    refused(ddfm_run("info", tmp_path / "b.png"), "there is no such file")


def test_info_of_a_forged_record_is_safe(tmp_path):
    path = tmp_path / "a.webp"
    record = {"format": "ddfm record 1", "settings": {"ddfm": "\x1b[2J"}, "sources": []}
    xmp = packet(None, json.dumps(record))
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path, xmp=xmp)
    assert "\x1b" not in ddfm_run("info", path).stdout
    refused(ddfm_run("fuse", "--like", path, path, path, "-o", tmp_path / "o.png"), "prior")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "jp2"])
def test_like_reproduces_the_same_bytes(tmp_path, pair, suffix):
    options = ("--range-a", 7000, 10000, "--tone", "none", "--metadata-from", "none")
    first = made(pair, tmp_path / f"first.{suffix}", *options)
    again = tmp_path / f"again.{suffix}"
    result = ddfm_run("fuse", "--like", first, *pair, "-o", again, "--device", "cpu")
    assert (result.exit_code, result.output) == (0, "")
    assert again.read_bytes() == first.read_bytes()


def test_metadata_from_and_strip_exclude_each_other(tmp_path, pair):
    line = ("fuse", *pair, "-o", tmp_path / "out.png", *FAST, "--strip", "--metadata-from")
    refused(ddfm_run(*line, "b"), "--metadata-from keeps metadata and --strip leaves it out")
    assert ddfm_run(*line, "none").exit_code == 0


def test_like_works_with_a_radiometric_file(tmp_path):
    pytest.importorskip("flyr")
    raw = np.rint(kelvin_to_raw(np.linspace(283, 323, 192).reshape(12, 16))).astype(np.uint16)
    photograph = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    (tmp_path / "a.jpg").write_bytes(flir_jpeg(raw, photograph))
    options = ("--celsius", 20, 30, "--grid", "thermal")
    first = made([tmp_path / "a.jpg"], tmp_path / "first.png", *options)
    again = tmp_path / "again.png"
    ddfm_run("fuse", "--like", first, tmp_path / "a.jpg", "-o", again, "--device", "cpu")
    assert again.read_bytes() == first.read_bytes()


def test_like_works_with_an_alignment(tmp_path):
    y, x = np.mgrid[:96, :128]
    scene = 127 + 60 * np.sin(x / 7 + y / 11) + 60 * np.cos((x * y) / 300)
    for name, part in (("a", scene[4:84, 6:110]), ("b", scene[:80, :104])):
        Image.fromarray(part.astype(np.uint8)).save(tmp_path / f"{name}.png")
    pair = tmp_path / "a.png", tmp_path / "b.png"
    first = made(pair, tmp_path / "first.png", "--align", "shift", "--crop", "common")
    assert read_image(first).size < (80, 104)
    again = tmp_path / "again.png"
    ddfm_run("fuse", "--like", first, *pair, "-o", again, "--device", "cpu")
    assert again.read_bytes() == first.read_bytes()


def test_options_override_the_record(tmp_path, pair):
    first = made(pair, tmp_path / "first.png")
    again = tmp_path / "again.png"
    ddfm_run("fuse", "--like", first, *pair, "-o", again, "--device", "cpu", "--seed", 8)
    record = json.loads(ddfm_run("info", again, "--json").stdout)
    assert (record["settings"]["seed"], record["settings"]["steps"]) == (8, 2)


def test_a_record_has_only_the_name_of_a_mask_and_like_asks_for_its_path(tmp_path, pair):
    mask = tmp_path / "folder" / "mask.png"
    mask.parent.mkdir()
    Image.fromarray(np.uint8(255) * (np.indices((24, 30))[1] > 9)).save(mask)
    first = made(pair, tmp_path / "first.png", "--mask-a", mask, "--noise-b", 3)
    assert b"folder" not in first.read_bytes() and str(tmp_path).encode() not in first.read_bytes()
    again = tmp_path / "again.png"
    line = ("fuse", "--like", first, *pair, "-o", again, "--device", "cpu")
    refused(ddfm_run(*line), "mask of source 1 is a file, 'mask.png'", "--mask-a")
    assert ddfm_run(*line, "--mask-a", mask).exit_code == 0
    assert again.read_bytes() == first.read_bytes()
    assert ddfm_run(*line, "--mask-a", mask, "--noise-b", 9).exit_code == 0
    record = json.loads(ddfm_run("info", again, "--json").stdout)
    assert record["settings"]["observations"] == [{"mask": "mask.png"}, {"noise": 9.0}]


def test_options_for_one_source_keep_the_record_of_the_other(tmp_path, pair):
    first = made(pair, tmp_path / "first.png", "--range-b", 10, 200)
    again = tmp_path / "again.png"
    line = ("fuse", "--like", first, *pair, "-o", again, "--device", "cpu")
    assert ddfm_run(*line, "--range-a", 7000, 9000).exit_code == 0
    record = json.loads(ddfm_run("info", again, "--json").stdout)
    assert record["opening"] == {"ranges": [[7000.0, 9000.0], [10.0, 200.0]]}


def test_like_of_a_preview_is_a_preview(tmp_path):
    for name in "ab":
        values = np.random.default_rng(ord(name)).integers(0, 256, (24, 600), np.uint8)
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    sources = tmp_path / "a.png", tmp_path / "b.png"
    first, again = made(sources, tmp_path / "first.png", "--preview"), tmp_path / "again.png"
    result = ddfm_run("fuse", "--like", first, *sources, "-o", again, "--device", "cpu")
    assert "this is a preview of 512 x 20 pixels" in result.stderr
    assert read_image(first).size == (20, 512)
    assert again.read_bytes() == first.read_bytes()


def test_like_with_other_sources_warns(tmp_path, pair):
    first = made(pair, tmp_path / "first.png")
    other = tmp_path / "c.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 9999, (24, 30)).astype(np.uint16)).save(
        other
    )
    result = ddfm_run("fuse", "--like", first, other, pair[1], "-o", tmp_path / "o.png")
    assert result.exit_code == 0
    assert "c.png is not the a.png that first.png was made of: its sha256 differs" in result.stderr
    assert "b.jpg is not" not in result.stderr


def test_like_of_a_picture_without_record_is_refused(tmp_path, pair):
    result = ddfm_run("fuse", "--like", pair[1], *pair, "-o", tmp_path / "o.png")
    refused(result, "b.jpg has no record of how it was made")


def test_names_of_persons_are_reported_in_one_line_and_can_be_stripped(tmp_path, pair):
    out = tmp_path / "o.jpg"
    result = ddfm_run("fuse", *pair, "-o", out, *FAST, "--range-a", "full")
    assert result.stderr.splitlines() == [
        f"ddfm: warning: kept from {pair[1]}: Artist; strip=True (--strip) leaves it out"
    ]
    assert b"Ann Example" in out.read_bytes()
    result = ddfm_run("fuse", *pair, "-o", out, *FAST, "--range-a", "full", "--strip")
    assert result.output == "" and b"Ann Example" not in out.read_bytes()
    assert "settings" not in json.loads(ddfm_run("info", out, "--json").stdout)
    bitmap = ddfm_run("fuse", *pair, "-o", tmp_path / "o.bmp", *FAST, "--range-a", "full")
    assert (bitmap.exit_code, bitmap.stderr) == (0, "")  # it keeps no metadata


def test_a_folder_reports_them_once(tmp_path, pair):
    for folder, source in zip(("ir", "vis"), pair, strict=True):
        (tmp_path / folder).mkdir()
        for k in range(3):
            (tmp_path / folder / f"{k}{source.suffix}").write_bytes(source.read_bytes())
    result = ddfm_run("fuse", tmp_path / "ir", tmp_path / "vis", "-o", tmp_path / "out", *FAST)
    lines = [line for line in result.stderr.splitlines() if "Artist" in line]
    kept = (
        "kept from the sources: Artist (in 0.png, 1.png, 2.png); strip=True (--strip) leaves it out"
    )
    assert lines == [kept]
    alone = made(
        [tmp_path / f for f in ("ir/1.png", "vis/1.jpg")], tmp_path / "alone.png", "--seed", 3407
    )
    assert (tmp_path / "out" / "1.png").read_bytes() == alone.read_bytes()
