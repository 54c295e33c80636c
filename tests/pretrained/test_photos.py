"""Which pictures become training photographs, by licence and content, and in which split."""

from __future__ import annotations

import csv
import importlib.util
import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from places import ROOT


def load():
    """Import the script by its path, since it also runs without ddfm."""
    spec = importlib.util.spec_from_file_location(
        "photos", ROOT / "pretrained" / "making" / "photos.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["photos"] = module
    spec.loader.exec_module(module)
    return module


photos = load()

COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: views

Files: *
Copyright: 2019 Views
License: GPL-2+

Files: pictures/sea.jpg
       pictures/lake.jpg,
       pictures/dog.jpg
Copyright: 2018 One
License: CC-BY-4.0
Comment: License: none of this line counts

Files: 2020/hill.jpg
Copyright: 2020 Two
License: CC-BY-SA-3.0

Files: pictures/winter/*
Copyright: 2021 Three
License: CC0-1.0
 The whole text of it
 follows here.

Files: pictures/winter/ice.png
Copyright: 2021 Four
License: CC-BY-NC-4.0

Files: debian/*
Copyright: 2022 Five
License: Expat

License: CC-BY-4.0
 Text.
"""


def picture(seed: int = 0, shape: tuple[int, int] = (300, 400)) -> np.ndarray:
    """A synthetic photograph: noise with the 1/f spectrum of natural scenes, 8-bit levels."""
    height, width = shape
    noise = np.fft.rfft2(np.random.default_rng(seed).standard_normal(shape))
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    field = np.fft.irfft2(noise / np.maximum(radius, 1 / max(shape)), s=shape)
    return np.clip(np.round(128 + 45 * field / field.std()), 0, 255).astype(np.float32)


def save(path: Path, grey: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey.astype(np.uint8)).convert("RGB").save(path, **options)
    return path


def photo(source: str, package: str = "views", path: Path = Path("x.png")):
    return photos.Photo(package, "1.0", "CC0-1.0", source, path)


# --- licence


@pytest.mark.parametrize(
    ("source", "licence"),
    [
        ("usr/share/views/pictures/sea.jpg", "CC-BY-4.0"),
        ("usr/share/views/pictures/lake.jpg", "CC-BY-4.0"),
        ("usr/share/views/pictures/sea.webp", "CC-BY-4.0"),  # converted by the build
        ("usr/share/backgrounds/hill.jpg", "CC-BY-SA-3.0"),  # installed elsewhere
        ("usr/share/views/pictures/winter/dog.jpg", "CC0-1.0"),  # path before mere name
        ("usr/share/views/pictures/winter/ice.png", "CC-BY-NC-4.0"),  # the last one wins
        ("usr/share/views/pictures/other.jpg", "GPL-2+"),
        ("usr/share/views/pictures/debian/logo.png", "GPL-2+"),  # debian/ is the packaging
    ],
)
def test_the_licence_is_read(source, licence):
    assert photos.licence_of(source, COPYRIGHT) == licence


def test_the_licence_is_unknown_if_nothing_states_it():
    assert photos.licence_of("usr/share/a.jpg", "This is free software; see GPL.\n") == ""
    assert photos.licence_of("usr/share/a.jpg", "Files: b.jpg\nLicense: CC0-1.0\n") == ""


@pytest.mark.parametrize(
    "name",
    "CC0-1.0,CC0,CC-BY-2.0,CC-BY-SA-4.0,GPL-2+,LGPL-2.1+,GPL-3,public-domain,BSD-3-clause,"
    "Expat,CC0-1.0 and CC-BY-3.0,GPL-2 or CC-BY-NC-4.0".split(","),
)
def test_free_licences_are_accepted(name):
    assert photos.is_free(name)


@pytest.mark.parametrize(
    "name",
    "CC-BY-NC-4.0,CC-BY-ND-3.0,CC-BY-NC-SA-4.0,GFDL-1.2+,custom,GPL-2 and CC-BY-NC-4.0,".split(","),
)
def test_licences_that_are_not_clearly_free_are_refused(name):
    assert not photos.is_free(name)


# --- measure


def test_photograph_has_no_objection():
    assert photos.objection(picture()) == ""


def test_drawing_is_flat():
    drawing = np.full((300, 400), 200.0)
    drawing[100:200, 50:300] = 40
    noisy_part = drawing.copy()
    noisy_part[:, 300:] = picture()[:, 300:]
    for grey in (drawing, noisy_part):
        assert photos.objection(grey).startswith("flat areas")


def test_gradient_is_smooth():
    ramp = np.add.outer(np.arange(300.0), np.arange(400.0)) * 255 / 700
    dithered = np.round(ramp + np.random.default_rng(0).uniform(-0.5, 0.5, ramp.shape))
    assert photos.objection(dithered).startswith("smooth")


def test_tiny_and_hard_compressed():
    assert photos.objection(picture(shape=(255, 900))) == "tiny"
    assert photos.objection(picture(), quantisation=40) == "heavily compressed"


def test_few_levels():
    assert "few levels" in photos.objection(
        np.round(picture() / 90) * 90 + np.indices((300, 400))[1] % 2
    )


# --- prepare


def test_prepare_limits_the_short_side_without_aliasing(tmp_path):
    checks = np.indices((400, 600)).sum(axis=0) % 2 * 255
    photos.prepare(save(tmp_path / "a.png", checks), tmp_path / "b.png", short_side=100)
    grey = photos.luminance(tmp_path / "b.png")
    assert grey.shape == (100, 150)
    assert np.abs(grey - 127.5).max() < 2


def test_prepare_turns_upright_and_never_enlarges(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "a.jpg", picture(), exif=exif, quality=95)
    photos.prepare(tmp_path / "a.jpg", tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        assert image.size == (300, 400) and image.mode == "RGB"


def test_hard_compressed_is_reduced(tmp_path):
    fine = save(tmp_path / "fine.jpg", picture(shape=(600, 600)), quality=95)
    hard = save(tmp_path / "hard.jpg", picture(shape=(600, 600)), quality=60)
    ruined = save(tmp_path / "ruined.jpg", picture(shape=(600, 600)), quality=10)
    assert photos.prepare(fine, tmp_path / "1.png") < 10
    assert photos.luminance(tmp_path / "1.png").shape == (600, 600)
    left = photos.prepare(hard, tmp_path / "2.png")
    assert photos.luminance(tmp_path / "2.png").shape[0] < 600
    assert photos.objection(picture(), left) == ""
    assert photos.objection(picture(), photos.prepare(ruined, tmp_path / "3.png"))


def test_prepare_refuses_what_is_see_through(tmp_path):
    Image.new("RGBA", (300, 300), (9, 9, 9, 100)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="see-through"):
        photos.prepare(tmp_path / "a.png", tmp_path / "b.png")


# --- near-duplicates and split


def test_variants_of_one_picture_are_alike():
    original = picture(1, (512, 800))
    smaller = np.asarray(Image.fromarray(original).resize((400, 256), Image.Resampling.BOX))
    portrait = original[:, 272:528]
    darker = original * 0.5
    for variant in (smaller, portrait, darker):
        assert photos.correlation(original, variant) > 0.95


def test_different_pictures_are_not_alike():
    pictures = [picture(seed) for seed in range(8)]
    pairs = [(a, b) for i, a in enumerate(pictures) for b in pictures[:i]]
    assert max(photos.correlation(a, b) for a, b in pairs) < photos.DUPLICATE - 0.15


def test_shared_shading_does_not_make_a_duplicate():
    shading = np.linspace(180, 0, 300)[:, None]
    a, b = (picture(seed) * 0.25 + shading for seed in (1, 2))
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9
    assert photos.correlation(a, b) < photos.DUPLICATE - 0.15


def test_of_duplicates_validation_wins_and_then_the_earliest():
    a, b = picture(1), picture(2)
    held = photo("usr/lib/skimage/data/cat.png", "python3-skimage")
    listed = [photo("a.jpg"), photo("b.jpg"), photo("b-again.jpg"), held]
    assert photos.drop_duplicates(listed, [a, b, b * 0.9, a * 0.8]) == [1, 3]


def test_split_is_by_name_alone():
    assert photos.split_of(photo("usr/share/a.jpg")) == "train"
    assert photos.split_of(photo("any/skimage/data/camera.png", "python3-skimage")) == "val"
    assert photos.split_of(photo("any/skimage/data/camera.png", "other")) == "train"


# --- containers


def qt_resource(files: dict[str, tuple[bytes, int]]) -> bytes:
    """A version 1 Qt resource with the files in one folder `d`, written from its description."""
    names, contents, tree = b"", b"", b""

    def add_name(text: str) -> int:
        nonlocal names
        at = len(names)
        names += struct.pack(">HI", len(text), 0) + text.encode("utf-16-be")
        return at

    tree += struct.pack(">IHII", 0, 2, 1, 1)
    tree += struct.pack(">IHII", add_name("d"), 2, len(files), 2)
    for name, (data, flags) in files.items():
        tree += struct.pack(">IHHHI", add_name(name), flags, 0, 0, len(contents))
        contents += struct.pack(">I", len(data)) + data
    at = 20
    starts = (at, at + len(tree), at + len(tree) + len(contents))
    return struct.pack(">4s4I", b"qres", 1, *starts) + tree + contents + names


def test_qt_resources_are_read():
    data = qt_resource({"a.webp": (b"AAA", 0), "b.svg": (zlib.compress(b"x"), 1)})
    assert list(photos.qt_resources(data)) == [("/d/a.webp", b"AAA")]
    assert list(photos.qt_resources(b"none" + bytes(40))) == []


def test_edje_picture_is_the_largest():
    streams = []
    for side in (40, 90, 20):
        stream = io.BytesIO()
        Image.new("RGB", (side, side)).save(stream, "JPEG")
        streams.append(stream.getvalue())
    ((name, data),) = photos.edje_picture(b"header" + b"--".join(streams))
    assert name.endswith(".jpg")
    assert Image.open(io.BytesIO(data)).size == (90, 90)


def test_containers_are_unpacked(tmp_path):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")
    files = {"a.png": (stream.getvalue(), 0), "b.qml": (b"text", 0)}
    (tmp_path / "in.rcc").write_bytes(qt_resource(files))
    photos.open_containers(tmp_path)
    found = [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()]
    assert sorted(found) == ["in.rcc", "in.rcc!/d/a.png"]


# --- the whole


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A synthetic unpacked package instead of a download; returns its tree."""
    tree = tmp_path / "tree"
    for i, name in enumerate(("sea", "lake", "winter/snow", "winter/ice")):
        save(tree / f"usr/share/views/pictures/{name}.png", picture(i))
    save(tree / "usr/share/views/pictures/sea-again.png", picture(0, (300, 400)) * 0.9)
    save(tree / "usr/share/views/pictures/logo.png", np.full((300, 300), 7))
    save(tree / "usr/share/views/pictures/icon.png", picture(9, (64, 64)))
    notice = tree / "usr/share/doc/views/copyright"
    notice.parent.mkdir(parents=True)
    notice.write_text(COPYRIGHT)
    monkeypatch.setattr(photos, "fetch", lambda name, cache: (tree, "1.0-1"))
    monkeypatch.setattr(photos, "VALIDATION", ("views:*/lake.*",))
    return tree


def test_build(package, tmp_path, capsys):
    out = tmp_path / "out"
    rows = photos.build(out, [photos.Package("views")])
    assert [(row["source"].split("pictures/")[1], row["split"]) for row in rows] == [
        ("sea.png", "train"),
        ("winter/snow.png", "train"),
        ("lake.png", "val"),
    ]
    assert [row["licence"] for row in rows] == ["CC-BY-4.0", "CC0-1.0", "CC-BY-4.0"]
    assert all(row["version"] == "1.0-1" and row["height"] == "300" for row in rows)
    assert {p.name for p in (out / "val").iterdir()} == {rows[2]["file"]}
    with open(out / "photos.csv", newline="") as file:
        assert list(csv.DictReader(file)) == rows
    reasons = capsys.readouterr().err
    for word in ("licence CC-BY-NC-4.0", "near-duplicate", "flat areas"):
        assert word in reasons


def test_build_again_gives_the_same_and_removes_what_is_stale(package, tmp_path):
    out = tmp_path / "out"
    first = photos.build(out, [photos.Package("views")])
    assert photos.build(out, [photos.Package("views")]) == first
    (package / "usr/share/views/pictures/sea.png").unlink()
    (package / "usr/share/views/pictures/sea-again.png").unlink()
    rows = photos.build(out, [photos.Package("views")])
    assert len(rows) == 2
    assert len(list((out / "train").iterdir())) == 1


def test_a_missing_tool_is_reported_in_one_line():
    with pytest.raises(SystemExit, match="no-such-tool is missing"):
        photos._run("no-such-tool")
    with pytest.raises(SystemExit, match="failed: "):
        photos._run(sys.executable, "-c", "raise ValueError(3)")


def test_differences():
    listed = [{"file": name, "sha256": name} for name in "abc"]
    built = [
        {"file": "a", "sha256": "a"},
        {"file": "b", "sha256": "x"},
        {"file": "d", "sha256": ""},
    ]
    report = photos.differences(built, listed)
    assert report.startswith("1 of the 3 ") and "1 differ, 1 are missing, 1 are new" in report


# --- the committed list


@pytest.fixture(scope="module")
def listed():
    with open(ROOT / "pretrained" / "making" / "photos.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_list_is_free_unique_and_split_as_the_script_says(listed):
    assert len({row["sha256"] for row in listed}) == len({row["file"] for row in listed})
    assert len(listed) == len({row["file"] for row in listed})
    for row in listed:
        assert photos.is_free(row["licence"]), row
        assert row["split"] == photos.split_of(photo(row["source"], row["package"])), row
        assert row["file"] == photos.slug(row["package"], row["source"])
        assert not photos._matches(f"{row['package']}:{row['source']}", photos.EXCLUDED)
        assert 256 <= min(int(row["width"]), int(row["height"])) <= 1024


def test_list_is_large_enough(listed):
    assert sum(int(row["width"]) * int(row["height"]) for row in listed) >= 120e6
    assert 10 <= sum(row["split"] == "val" for row in listed) <= 20
    assert {row["package"] for row in listed} <= {package.name for package in photos.PACKAGES}
