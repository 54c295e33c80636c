"""Pairing by name: partners are found, and ambiguous files are only listed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ddfm.errors import DdfmError
from ddfm.imaging.pairing import find_pairs


def folders(root: Path, a: str, b: str) -> tuple[Path, Path]:
    """Two folders of empty files."""
    result = root / "a", root / "b"
    for folder, names in zip(result, (a, b), strict=True):
        folder.mkdir()
        for name in names.split():
            (folder / name).touch()
    return result


def names(pairing) -> list[tuple[str, ...]]:
    return [(pair.name, *(path.name for path in pair.files)) for pair in pairing.pairs]


@pytest.mark.parametrize(
    ("a", "b", "name"),
    [
        ("0001.png", "0001.png", "0001"),
        ("FLIR_0001.jpg", "FLIR_0001.png", "FLIR_0001"),
        ("x.JPG", "x.tiff", "x"),
        ("x_ir.png", "x_vis.png", "x"),
        ("x_IR.bmp", "x_VI.bmp", "x"),
        ("ir-x.png", "rgb-x.png", "x"),
        ("scene.01.thermal.png", "scene.01.visible.png", "scene.01"),
        ("x.png", "x_rgb.png", "x"),
        ("o\u0308l.png", "\u00f6l_vis.png", "\u00f6l"),  # written by macOS, and by others
        ("PET 07.png", "MRI 07.png", "07"),
        ("DJI_0001_T.JPG", "DJI_0001_W.JPG", "DJI_0001"),
        ("dji_20260501_0001_t.jpg", "dji_20260501_0001_z.jpg", "dji_20260501_0001"),
    ],
)
def test_pairs_are_found(tmp_path, a, b, name):
    one, two = tmp_path / "a", tmp_path / "b"
    for folder, file in ((one, a), (two, b)):
        folder.mkdir()
        (folder / file).touch()
    pairing = find_pairs(one, two)
    assert names(pairing) == [(name, a, b)]
    assert not pairing.ambiguous and not pairing.unpaired


def test_a_group_has_one_file_of_each_of_three_folders(tmp_path):
    """A scene missing in one folder is no group; a name shared by only two is not ambiguous."""
    a, b = folders(tmp_path, "1.png 2.png s_near.png 4.png 4.jpg", "1.jpg 2.png s_middle.png 4.png")
    c = tmp_path / "c"
    c.mkdir()
    for name in ("1.tif", "s_far.png", "4.png", "5.png"):
        (c / name).touch()
    pairing = find_pairs(a, b, c)
    assert names(pairing) == [
        ("1", "1.png", "1.jpg", "1.tif"),
        ("s", "s_near.png", "s_middle.png", "s_far.png"),
    ]
    assert list(pairing.ambiguous) == ["4"] and len(pairing.ambiguous["4"]) == 4
    assert [p.name for p in pairing.unpaired] == ["2.png", "2.png", "5.png"]

    (pair,) = find_pairs(a, b, c, pattern="{}.png:{}.jpg:{}.t*").pairs
    assert pair.files == (a / "1.png", b / "1.jpg", c / "1.tif")
    with pytest.raises(DdfmError, match="with itself"):
        find_pairs(a, b, a, pattern="{}.png:{}.jpg:{}.*")
    with pytest.raises(DdfmError, match="three names"):
        find_pairs(a, b, c, pattern="{}.png:{}.jpg")
    with pytest.raises(DdfmError, match="two of the folders"):
        find_pairs(a, b, a)


def test_ambiguous_names_are_not_paired(tmp_path):
    a = "1.png 2.png 2.jpg 3_ir.png 4.png circuit.png x_ir.png ir_x.png"
    b = "1.png 2.png 3_vis.png 5.png circus.png x_vis.png"
    pairing = find_pairs(*folders(tmp_path, a, b))
    assert [pair.name for pair in pairing.pairs] == ["1", "3"]
    assert {k: [p.name for p in v] for k, v in pairing.ambiguous.items()} == {
        "2": ["2.jpg", "2.png", "2.png"],
        "x": ["ir_x.png", "x_ir.png", "x_vis.png"],
    }
    assert [p.name for p in pairing.unpaired] == ["4.png", "circuit.png", "5.png", "circus.png"]


def test_two_pairs_never_have_the_same_name(tmp_path):
    pairing = find_pairs(*folders(tmp_path, "x.png x_ir.png", "x.png x_vis.png"))
    assert names(pairing) == [("x", "x.png", "x.png")]
    assert [p.name for p in pairing.ambiguous["x"]] == ["x_ir.png", "x_vis.png"]


def test_only_images_are_paired_and_hidden_files_are_ignored(tmp_path):
    a, b = folders(tmp_path, "x.png notes.txt .x_ir.png", "x.png Thumbs.db ._x.png")
    (a / "more.png").mkdir()
    pairing = find_pairs(a, b)
    assert names(pairing) == [("x", "x.png", "x.png")] and not pairing.unpaired


def test_many_files_are_listed_without_looking_at_each(tmp_path, monkeypatch):
    """On a network file system each look takes a fraction of a millisecond."""
    looks: list[object] = []
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda *of, **how: looks.append(of) or real(*of, **how))
    counts = []
    for number in (2, 50):
        root = tmp_path / str(number)
        root.mkdir()
        files = " ".join(f"{k}.png" for k in range(number))
        pair = folders(root, files, files)
        looks.clear()
        assert len(find_pairs(*pair).pairs) == number
        counts.append(len(looks))
    assert counts[0] == counts[1]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_links_are_listed_by_what_they_lead_to(tmp_path):
    a, b = folders(tmp_path, "x.png", "x.png link.png nothing.png folder.png")
    (a / "link.png").symlink_to("x.png")
    (a / "nothing.png").symlink_to("gone.png")  # it fails when it is read
    (a / "folder.png").symlink_to(b)
    (a / "itself.png").symlink_to("itself.png")
    (a / "in_a_file.png").symlink_to("x.png/y.png")
    os.mkfifo(a / "pipe.png")
    pairing = find_pairs(a, b)
    assert [pair.name for pair in pairing.pairs] == ["link", "nothing", "x"]
    assert [path.name for path in pairing.unpaired] == ["folder.png"]  # the file in b


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs an ordinary user")
def test_a_folder_whose_files_cannot_be_read_is_refused_at_once(tmp_path):
    a, b = folders(tmp_path, "x.png", "x.png")
    a.chmod(0o444)
    try:
        with pytest.raises(DdfmError, match=r"cannot read the folder .*Permission denied"):
            find_pairs(a, b)
    finally:
        a.chmod(0o755)


@pytest.mark.parametrize(
    ("pattern", "found", "unpaired"),
    [
        ("{}_A.jpg:{}_B.jpg", [("x", "x_A.jpg", "x_B.jpg")], []),
        ("r{}.*:s{}.png", [("01", "r01.dat", "s01.png")], ["s02.png"]),
    ],
)
def test_a_pattern_defines_the_pairs(tmp_path, pattern, found, unpaired):
    a, b = folders(tmp_path, "x_A.jpg r01.dat readme", "x_B.jpg s01.png s02.png")
    pairing = find_pairs(a, b, pattern=pattern)
    assert names(pairing) == found
    assert [p.name for p in pairing.unpaired] == unpaired


def test_one_folder_needs_a_pattern(tmp_path):
    a, _ = folders(tmp_path, "x_ir.png x_vis.png", "")
    assert names(find_pairs(a, a, pattern="{}_ir.png:{}_vis.png")) == [
        ("x", "x_ir.png", "x_vis.png")
    ]
    with pytest.raises(DdfmError, match="both folders; give a pattern"):
        find_pairs(a, a)


def test_in_one_folder_every_file_is_listed_once(tmp_path):
    """The names of second images also fit the pattern of the first."""
    a, _ = folders(tmp_path, "1.png 1_rgb.png 2.png 2_rgb.png 3_rgb.png 4.png 5.png 5_rgb.png", "")
    pairing = find_pairs(a, tmp_path / "b" / ".." / "a", pattern="{}.png:{}_rgb.png")
    assert [pair.name for pair in pairing.pairs] == ["1", "2", "5"]
    assert sorted(path.name for path in pairing.unpaired) == ["3_rgb.png", "4.png"]
    (a / "5_rgb.jpg").touch()
    pairing = find_pairs(a, a, pattern="{}.png:{}_rgb.*")
    assert [path.name for path in pairing.ambiguous["5"]] == ["5.png", "5_rgb.jpg", "5_rgb.png"]
    assert sorted(path.name for path in pairing.unpaired) == ["3_rgb.png", "4.png"]


def test_no_file_is_paired_with_itself(tmp_path):
    a, b = folders(tmp_path, "x.png x_ir.png", "x.png")
    for pattern in ("{}.png:{}.png", "{}*.png:{}.png"):
        with pytest.raises(DdfmError, match="a pair with itself"):
            find_pairs(a, a, pattern=pattern)
    assert names(find_pairs(a, b, pattern="{}.png:{}.png")) == [("x", "x.png", "x.png")]


@pytest.mark.parametrize("pattern", ["", "{}_a.png", "x:y", "{}{}:{}", "{}:{}:{}"])
def test_an_unclear_pattern_is_refused(tmp_path, pattern):
    with pytest.raises(DdfmError, match="one {} in each"):
        find_pairs(*folders(tmp_path, "x.png", "x.png"), pattern=pattern)


def test_a_missing_folder_is_refused(tmp_path):
    a, b = folders(tmp_path, "x.png", "x.png")
    with pytest.raises(DdfmError, match="there is no folder .*nowhere"):
        find_pairs(a, tmp_path / "nowhere")
    with pytest.raises(DdfmError, match="there is no folder"):
        find_pairs(a / "x.png", b)


def test_the_listing_names_every_file(tmp_path):
    text = str(find_pairs(*folders(tmp_path, "1.png 2.png 2.jpg", "1.png 2.png 3.png")))
    assert text.splitlines()[-1] == "1 pair, 1 ambiguous name, 1 file without a partner"
    assert (
        "ambiguous, 2: " in text and "unpaired: " in text and str(tmp_path / "a" / "1.png") in text
    )
