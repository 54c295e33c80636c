"""Misaligned sources on the command line: warned of, aligned, saved, shown."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from command_line import FAST, ddfm_run, refused
from ddfm.imaging.drawing import line_height, titled
from ddfm.registration.transform import Transform, load_transforms
from ddfm.storage.manifest import NAME
from places import EXAMPLES


@pytest.fixture
def pair(tmp_path):
    """The example, with one image moved by 14 pixels to the right and 20 up."""
    paths = tmp_path / "ir" / "x.png", tmp_path / "vis" / "x.png"
    for path, name, cut in zip(
        paths,
        ("olinda_infrared.png", "olinda_visible.png"),
        (np.s_[20:, :-14], np.s_[:-20, 14:]),
        strict=True,
    ):
        path.parent.mkdir()
        Image.fromarray(np.asarray(Image.open(EXAMPLES / name))[cut]).save(path)
    return paths


def test_a_misaligned_pair_causes_a_warning_with_offset_and_option(pair, tmp_path):
    result = ddfm_run("fuse", *pair, "-o", tmp_path / "f.png", *FAST)
    assert result.exit_code == 0 and len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("ddfm: warning: ")
    for words in ("14 px to the left", "20 px down", "--align auto"):
        assert words in result.stderr
    assert ddfm_run("fuse", *pair, "-o", tmp_path / "f.png", *FAST, "-q").stderr == ""


def heading(look: np.ndarray, texts: list[str], width: int) -> np.ndarray:
    """Lines above everything, in letters that suit pictures of this width."""
    line = line_height(width)
    return np.concatenate([np.asarray(titled([look[:1]], [text], line))[:line] for text in texts])


def test_a_transform_is_found_saved_shown_and_used_again(pair, tmp_path):
    first, rig, sheet = tmp_path / "f.png", tmp_path / "rig.json", tmp_path / "look.png"
    how = ["--align", "shift", "--save-transform", rig, "--check", sheet]
    result = ddfm_run("fuse", *pair, "-o", first, *how, *FAST)
    motion = "moved 14 px to the left and 20 px down"
    line = f"{pair[0]}: aligned to {pair[1]} ({motion})\n"
    assert (result.exit_code, result.stderr) == (0, line)
    assert np.allclose(Transform.load(rig).offset, (-14, 20), atol=1)
    height, width = np.asarray(Image.open(pair[1])).shape[:2]
    look = np.asarray(Image.open(sheet))
    assert look.shape[0] > 2 * height and look.shape[1] > 2 * width
    assert not np.array_equal(look[-height:, :width], look[-height:, -width:])
    names = " on ".join(path.name for path in pair)
    lines = heading(look, [names, motion], width)
    assert np.array_equal(look[: len(lines)], lines)
    ddfm_run("fuse", *pair, "-o", tmp_path / "n.png", "--check", sheet, *FAST, "--overwrite")
    look = np.asarray(Image.open(sheet))
    assert np.array_equal(look[-height:, :width], look[-height:, -width:])
    lines = heading(look, [names, "left as it is"], width)
    assert np.array_equal(look[: len(lines)], lines)
    again = ddfm_run("fuse", *pair, "-o", tmp_path / "g.png", "--transform", rig, *FAST)
    assert (again.exit_code, again.stderr) == (0, "")
    assert np.array_equal(*(np.asarray(Image.open(tmp_path / n)) for n in ("f.png", "g.png")))


def test_a_registered_pair_is_said_to_be_left_as_it_is(tmp_path):
    pair = [EXAMPLES / f"olinda_{name}.png" for name in ("infrared", "visible")]
    line = ("fuse", *pair, "-o", tmp_path / "f.png", *FAST, "--align", "auto")
    assert ddfm_run(*line).stderr == f"{pair[0]}: aligned to {pair[1]} (left as it is)\n"
    assert ddfm_run(*line, "--quiet").stderr == ""


@pytest.mark.parametrize("how", ["shift", "once"])
def test_a_saved_transform_knows_which_source_stays(pair, tmp_path, how):
    rig, names = tmp_path / "rig.json", ("f", "g")
    if how == "once":
        sources, outs = [path.parent for path in pair], [tmp_path / name for name in names]
        files = [out / "x.png" for out in outs]
    else:
        sources, outs = pair, [tmp_path / f"{name}.png" for name in names]
        files = outs
    line = ("--align", how, "--align-to", "a", "--save-transform", rig)
    assert ddfm_run("fuse", *sources, "-o", outs[0], *line, *FAST).exit_code == 0
    assert ddfm_run("fuse", *sources, "-o", outs[1], "--transform", rig, *FAST).exit_code == 0
    assert np.array_equal(*(np.asarray(Image.open(file)) for file in files))


def test_an_uncertain_pair_is_saved_with_the_transform_that_was_applied(pair, tmp_path):
    """The file holds what was done, so that it has the same effect again."""
    noise = np.random.default_rng(0).integers(0, 255, (2, 120, 160), dtype=np.uint8)
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for plane, file in zip(noise, files, strict=True):
        Image.fromarray(plane).save(file)
    rig = tmp_path / "rig.json"
    how = ["--align", "auto", "--save-transform", rig]
    result = ddfm_run("fuse", *files, "-o", tmp_path / "f.png", *how, *FAST)
    assert result.exit_code == 0 and "and stays as it is; a given model" in result.stderr
    assert np.array_equal(Transform.load(rig).matrix, np.eye(3))


def test_a_picture_is_refused_as_a_transform(pair, tmp_path):
    result = ddfm_run("fuse", *pair, "-o", tmp_path / "f.png", "--transform", pair[0], *FAST)
    assert result.exit_code == 2 and "it is not a text file" in result.stderr


def test_a_folder_warns_per_pair_and_takes_one_transform_for_all(pair, tmp_path):
    folders, out, rig = [path.parent for path in pair], tmp_path / "out", tmp_path / "rig.json"
    result = ddfm_run("fuse", *folders, "-o", tmp_path / "asis", *FAST)
    assert result.exit_code == 0
    assert "x.png: fused: " in result.stderr and "20 px down" in result.stderr
    once = ["--align", "once", "--save-transform", rig]
    result = ddfm_run("fuse", *folders, "-o", out, *once, *FAST)
    assert result.exit_code == 0
    x, y = Transform.load(rig).offset
    assert np.allclose((x, y), (-14, 20), atol=1)
    motion = f"moved {-x:.0f} px to the left and {y:.0f} px down"
    line = f"source 1: aligned to source 2 by one transform for all ({motion})"
    assert line in result.stderr.splitlines()
    film = ddfm_run("film", *folders, "-o", tmp_path / "film", "--align", "once", *FAST)
    assert line in film.stderr.splitlines()
    lines = (out / NAME).read_text().splitlines()
    entry = next(entry for entry in map(json.loads, lines) if entry.get("output") == "x.png")
    assert entry["alignment"][0]["applied"]


def test_three_sources_are_aligned_to_any_of_them_and_shown(pair, tmp_path):
    infrared, visible = pair
    other, sheet = tmp_path / "other.png", tmp_path / "look.png"
    part = np.asarray(Image.open(EXAMPLES / "olinda_infrared.png"))[10:-10, 7:-7]
    Image.fromarray(part).save(other)
    height, width = part.shape
    three = ["fuse", visible, other, infrared, "-o", tmp_path / "f.png"]
    three += ["--prior", "gaussian", "--steps", "1", "--device", "cpu"]
    result = ddfm_run(*three, "--align", "shift", "--align-to", "3", "--check", sheet, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)["settings"]["alignment"]
    assert [(one["source"], one["onto"]) for one in found] == [(0, 2), (1, 2)]
    assert all(one["applied"] for one in found)
    assert np.allclose(found[0]["offset"], (14, -20), atol=1.5)
    assert np.allclose(found[1]["offset"], (7, -10), atol=1)
    assert np.asarray(Image.open(tmp_path / "f.png")).shape[:2] == (height, width)
    assert np.asarray(Image.open(sheet)).shape[0] > 4 * height


def test_transforms_of_three_sources_are_saved_and_used_again(pair, tmp_path):
    infrared, visible = pair
    other, rig = tmp_path / "other.png", tmp_path / "rig.json"
    Image.fromarray(np.asarray(Image.open(infrared))[10:-10, 7:-7]).save(other)
    fast = ("--prior", "gaussian", "--steps", "1", "--device", "cpu")
    three = ["fuse", visible, other, infrared, *fast]
    how = ("--align", "similarity", "--align-to", "3", "--save-transform", rig)
    assert ddfm_run(*three, "-o", tmp_path / "f.png", *how).exit_code == 0
    first, second, fixed = load_transforms(rig)
    assert fixed is None and np.allclose(second.offset, (0, 0), atol=1)
    assert np.allclose(first.offset, (14, -20), atol=1.5)
    again = ddfm_run(*three, "-o", tmp_path / "g.png", "--transform", rig)
    assert again.exit_code == 0, again.output
    assert np.array_equal(*(np.asarray(Image.open(tmp_path / n)) for n in ("f.png", "g.png")))
    like = ddfm_run(*three, "-o", tmp_path / "h.png", "--like", tmp_path / "g.png")
    assert like.exit_code == 0, like.output
    assert (tmp_path / "h.png").read_bytes() == (tmp_path / "g.png").read_bytes()
    refused(ddfm_run("fuse", *pair, "-o", "f.png", "--transform", rig), "for 3 sources, not 2")
    elsewhere = ("--transform", rig, "--align-to", "a")
    refused(ddfm_run(*three, "-o", "f.png", *elsewhere), "are to source 3")
    of_pair = tmp_path / "pair.json"
    first.save(of_pair)
    refused(ddfm_run(*three, "-o", "f.png", "--transform", of_pair), "need one for each")
    for wrong in ({"transforms": 3}, {"transforms": [None, None]}, {"transforms": [None, 4]}):
        rig.write_text(json.dumps({"format": "ddfm transforms 1", **wrong}))
        assert ddfm_run(*three, "-o", "f.png", "--transform", rig).exit_code == 2


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--align", "rotation"], "rotation"),
        (["--align", "once"], "folders and films"),
        (["--align-to", "c"], "align_to"),
        (["--align-to", "3", "--align", "auto"], "there are 2 sources"),
        (["--save-transform", "rig.json"], "--align"),
        (["--crop", "common"], "--crop is for sources that --align or --transform moves"),
        (["--align-to", "a", "--crop", "none"], "--align-to is for sources that --align"),
        (["--transform", "absent.json"], "absent.json"),
    ],
)
def test_impossible_combinations_are_refused(pair, tmp_path, options, word):
    refused(ddfm_run("fuse", *pair, "-o", tmp_path / "f.png", *options, *FAST), word)


def transforms_in(out):
    """The transform of each result of a folder, by its name, as the manifest records it."""
    entries = map(json.loads, (out / NAME).read_text().splitlines())
    return {e["output"]: e["settings"]["transform"] for e in entries}


def with_another_offset(pair, name):
    """Adds a pair to the two folders, of the same scene, but aligned."""
    for path, kind in zip(pair, ("infrared", "visible"), strict=True):
        shutil.copy(EXAMPLES / f"olinda_{kind}.png", path.with_name(name))


@pytest.mark.parametrize("options", [FAST, ["--device", "cpu", "--steps", "1"]])
def test_a_continued_folder_keeps_its_transform(pair, tmp_path, monkeypatch, options):
    """Even if other pairs were added, and without looking for it again."""
    out, rig = tmp_path / "out", tmp_path / "rig.json"
    run = ("fuse", *(path.parent for path in pair), "-o", out, "--align", "once", *options)
    assert ddfm_run(*run).exit_code == 0
    first = transforms_in(out)["x.png"]
    with_another_offset(pair, "y.png")
    monkeypatch.setattr("ddfm.pipeline.rig.common_of", None)  # raises if it is called
    result = ddfm_run(*run, "--json")
    assert [each["status"] for each in json.loads(result.stdout)["outcomes"]] == [
        "skipped",
        "fused",
    ]
    assert transforms_in(out) == {"x.png": first, "y.png": first}
    assert ddfm_run(*run, "--save-transform", rig).exit_code == 0
    assert Transform.load(rig).to_dict() == first
    if options != FAST:
        monkeypatch.setattr("ddfm.pipeline.unloaded.Unloaded.load", None)
        assert ddfm_run(*run).exit_code == 0
    monkeypatch.undo()
    assert ddfm_run(*run, "--align-to", "a").exit_code == 0  # other settings: found anew
    assert transforms_in(out)["x.png"] != first


def test_results_of_other_pairs_in_a_folder_do_not_tell_the_transform(pair, tmp_path):
    """They may be of another camera."""
    run = ("fuse", *(path.parent for path in pair), "-o", tmp_path / "out", "--align", "once")
    assert ddfm_run(*run, *FAST).exit_code == 0
    with_another_offset(pair, "y.png")
    for path in pair:
        path.unlink()
    assert ddfm_run(*run, *FAST).exit_code == 0
    of_x, of_y = (transforms_in(tmp_path / "out")[name] for name in ("x.png", "y.png"))
    assert of_x is not None and of_y is not None and of_x != of_y


def test_a_result_of_a_folder_is_made_again_from_its_pair(pair, tmp_path):
    out, again, fast = tmp_path / "out", tmp_path / "again.png", ("--device", "cpu", "--steps", "1")
    folders = [path.parent for path in pair]
    assert ddfm_run("fuse", *folders, "-o", out, "--align", "once", *fast).exit_code == 0
    assert ddfm_run("fuse", "--like", out / "x.png", *pair, "-o", again).exit_code == 0
    assert np.array_equal(*(np.asarray(Image.open(path)) for path in (out / "x.png", again)))


def test_offsets_that_differ_among_the_pairs_cause_a_warning(pair, tmp_path):
    run = ("fuse", *(path.parent for path in pair), "--align", "once", *FAST)
    assert "differ" not in ddfm_run(*run, "-o", tmp_path / "one").stderr
    with_another_offset(pair, "y.png")
    result = ddfm_run(*run, "-o", tmp_path / "two")
    assert result.exit_code == 0
    (line,) = [line for line in result.stderr.splitlines() if "one transform does not" in line]
    assert "source 1 in 2 scenes differ from the common one by 12 pixels (median)" in line
    assert "--align auto" in line


def test_stacks_of_a_folder_are_aligned_by_one_transform_of_each_source(tmp_path):
    """The cuts tell by how much; a stack that cannot be read does not stop the others."""
    cuts = (np.s_[20:, :-14], np.s_[:-20, 14:], np.s_[10:-10, 7:-7])
    folders = [tmp_path / name for name in ("near", "middle", "far")]
    for folder, cut, kind in zip(folders, cuts, ("infrared", "visible", "infrared"), strict=True):
        folder.mkdir()
        whole = np.asarray(Image.open(EXAMPLES / f"olinda_{kind}.png"))
        for name, scene in (("x", whole), ("y", whole[:, ::-1])):
            Image.fromarray(scene[cut]).save(folder / f"{name}.png")
        (folder / "bad.png").write_bytes(b"not a picture")
    rig, fast = tmp_path / "rig.json", ("--prior", "gaussian", "--steps", "1", "--device", "cpu")
    run = ("fuse", *folders, "--task", "ir-visible", *fast)
    how = ("--align", "once", "--save-transform", rig)
    result = ddfm_run(*run, "-o", tmp_path / "f", *how)
    assert result.exit_code == 1 and "2 fused, 1 failed" in result.stderr
    first, fixed, last = load_transforms(rig)
    assert fixed is None
    assert np.allclose(first.offset, (-14, 20), atol=1.5)
    assert np.allclose(last.offset, (-7, 10), atol=1.5)
    assert ddfm_run(*run, "-o", tmp_path / "g", "--transform", rig).exit_code == 1
    for name in ("x.png", "y.png"):
        assert np.array_equal(*(np.asarray(Image.open(tmp_path / out / name)) for out in "fg"))
    rng = np.random.default_rng(0)
    for name in ("x", "y"):
        Image.fromarray(rng.integers(0, 255, (120, 160), np.uint8)).save(folders[2] / f"{name}.png")
    unsure = ddfm_run(*run, "-o", tmp_path / "h", *how)
    refused(unsure, "source 3 could not be aligned to source 2", "stacks")
