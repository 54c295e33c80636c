"""What a newcomer types first, and defaults in a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import click
import numpy as np
import pytest
from PIL import Image

import ddfm
from command_line import FAST, ddfm_run, refused
from ddfm.cli import main
from image_files import folders_of_noise


def test_version_and_help_work_in_every_spelling():
    assert ddfm_run("-V").stdout == ddfm_run("--version").stdout != ""
    assert ddfm_run("help").stdout == ddfm_run("--help").stdout
    assert "--save-steps" in ddfm_run("help", "fuse").stdout
    refused(ddfm_run("help", "fus"), "unknown command 'fus'", "did you mean fuse")


def test_files_without_a_command_cause_a_hint_to_the_command(pair):
    line = refused(ddfm_run(*pair), "is not a command")
    assert f"ddfm fuse {pair[0]} {pair[1]} -o fused.png" in line
    refused(ddfm_run("no-such-file.png"), "is not a command")
    refused(ddfm_run("of mine.png", "b.png"), "ddfm fuse 'of mine.png' b.png -o fused.png")
    refused(ddfm_run("fuze"), "Did you mean")


def test_files_with_odd_names_and_of_odd_kinds_cause_a_hint(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-ax 8.jpg").touch()
    refused(ddfm_run("fuse", "-ax 8.jpg", pair[0], "-o", "out.png"), "type './-ax 8.jpg'")
    refused(ddfm_run("fuse", *pair, "--outptu", "x"), "Did you mean '--output'")
    refused(ddfm_run("fuse", pair[0], "./-ax 8.jpg", "-o", "out.png"), "-ax 8.jpg is empty")
    refused(ddfm_run("fuse", *pair, "-o", "out.nii.gz"), "for the command `ddfm volume`")
    with pytest.raises(ddfm.InputError, match=r"not 1; .*call fuse\(\*images\)"):
        ddfm.fuse(list(pair))


def test_a_missing_source_causes_a_suggestion(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my photo.png").touch()

    def meant(*sources):
        return refused(ddfm_run("fuse", *sources, "-o", "out.png"), "no such file").split("; ")[-1]

    assert meant("my", "photo.png", pair[0]) == "put a name with spaces in quotes: 'my photo.png'"
    assert meant("*.png") == (
        "without quotes, the shell replaces the pattern by the names that match it"
    )
    assert meant(pair[0], "my foto.png") == "did you mean 'my photo.png'?"
    assert meant("https://example.org/a.png") == (
        "ddfm does not download sources, so download the file first"
    )
    assert "there is no such file or folder" in meant("nowhere/else.png", pair[0])


def test_one_picture_given_twice_is_fused_with_a_message(pair, tmp_path):
    copy = tmp_path / "copy.png"
    copy.write_bytes(pair[0].read_bytes())
    for again, names in ((pair[0], pair[0]), (copy, f"{pair[0]} and {copy}")):
        done = ddfm_run("fuse", pair[0], again, "-o", tmp_path / "f.png", *FAST)
        assert done.exit_code == 0 and done.stderr.count("\n") == 1
        assert done.stderr.startswith(f"{names}: these two sources are the same image")
    assert "same image" not in ddfm_run("fuse", *pair, "-o", tmp_path / "f.png", *FAST).stderr


def test_a_source_that_shows_nothing_is_named(pair, tmp_path):
    """A picture taken with the lens cap on, and one of which only one value is data."""
    black, gaps = tmp_path / "black.png", tmp_path / "gaps.npy"
    Image.new("L", (20, 16)).save(black)
    only = np.full((16, 20), np.nan, np.float32)
    only[:9] = 20
    np.save(gaps, only)
    for blank in (black, gaps):
        done = ddfm_run("fuse", blank, pair[1], "-o", tmp_path / "f.png", *FAST)
        assert done.exit_code == 0
        assert f"{blank}: all pixels are the same, so it shows nothing\n" in done.stderr
    assert "nothing" not in ddfm_run("fuse", *pair, "-o", tmp_path / "f.png", *FAST).stderr
    dark = ("fuse", *pair, "-o", tmp_path / "f.png", "--range-a", "300", "400", *FAST)
    assert "fused as black" in (said := ddfm_run(*dark).stderr) and "nothing" not in said


def test_a_result_among_its_own_sources_is_named(pair, tmp_path):
    """`ddfm fuse f*.png -o fo.png`, typed twice."""
    first, other, again = (tmp_path / name for name in ("fo.png", "other.png", "again.png"))
    assert ddfm_run("fuse", *pair, "-o", first, *FAST).stderr == ""
    refused(ddfm_run("fuse", *pair, first, "-o", first), "or leave it out of the sources")
    run = ("fuse", *pair, first, "-o", again, "--prior", "gaussian", "--device", "cpu")
    (line,) = [line for line in ddfm_run(*run).stderr.splitlines() if "itself" in line]
    assert line.startswith(f"{first}: this source is itself a fusion of ir.png and vis.png")
    assert "itself" not in ddfm_run("fuse", pair[0], pair[1], "-o", other, *FAST).stderr


def test_a_folder_of_results_must_not_have_the_name_of_a_picture(tmp_path):
    for name in ("ir", "vis"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name / "x.png")
    out = tmp_path / "out.png"
    refused(ddfm_run("fuse", tmp_path / "ir", tmp_path / "vis", "-o", out), "must be a folder")
    assert not out.exists()
    folders = (tmp_path / "ir", tmp_path / "vis", "-o", tmp_path / "out")
    for option in ("--uncertainty", "--attribution", "--check"):
        refused(
            ddfm_run("fuse", *folders, option, tmp_path / "map.tif"), "map.tif must be a folder"
        )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell):
    assert "_DDFM_COMPLETE" in ddfm_run("completion", shell).stdout
    typed = {"COMP_WORDS": "ddfm fuse --over", "COMP_CWORD": "2"}
    if shell == "fish":
        typed = {"COMP_WORDS": "ddfm fuse", "COMP_CWORD": "--over"}
    found = subprocess.run(
        [sys.executable, "-c", "from ddfm.cli import main; main(prog_name='ddfm')"],
        env=os.environ | typed | {"_DDFM_COMPLETE": f"{shell}_complete"},
        capture_output=True,
        text=True,
    )
    assert "--overlay" in found.stdout


def test_defaults_in_a_file_override_ours_and_the_command_line_overrides_them(
    pair, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ddfm.toml").write_text('[fuse]\ntask = "medical"\nseed = 7\nsave-steps = "s"\n')
    result = ddfm_run("fuse", *pair, "-o", "fused.png", *FAST, "--seed", "8", "--json")
    told = json.loads(result.stdout)["settings"]
    assert (told["task"], told["seed"]) == ("medical", 8)
    assert len(list((tmp_path / "s").iterdir())) == 4
    monkeypatch.setenv("DDFM_FUSE_TASK", "ir-visible")
    told = json.loads(ddfm_run("fuse", *pair, "-o", "fused.png", *FAST, "--json").stdout)
    assert (told["settings"]["task"], told["settings"]["seed"]) == ("ir-visible", 7)


def test_defaults_from_an_editor_on_windows_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ddfm.toml").write_bytes("\ufeff[fuse]\r\nseed = 7\r\n".encode())
    assert main.make_context("ddfm", ["fuse", "--help"]).default_map["fuse"] == {"seed": 7}


def test_volumes_stay_medical_with_other_defaults_in_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ddfm.toml").write_text("[volume]\nseed = 7\n")
    context = main.make_context("ddfm", ["volume", "--help"])
    assert context.default_map["volume"] == {"task": "medical", "seed": 7}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[fuse]\ntaks = "medical"', ("ddfm.toml", "unknown option of fuse 'taks'", "task")),
        ("[fus]\nseed = 1", ("ddfm.toml", "unknown command 'fus'", "fuse")),
        ("fuse = 1", ("ddfm.toml", "[fuse] must be a table")),
        ("[fuse", ("ddfm.toml is not TOML",)),
        ("[fuse]\nstrip = 1", ("ddfm.toml: [fuse] strip = 1: write true or false",)),
        ("[fuse]\nseed = inf", ("ddfm.toml: [fuse] seed = inf: ", "in quotes")),
        ("[fuse]\nbalance = [1]", ("ddfm.toml: [fuse] balance = [1]: ", "in quotes")),
        ("[fuse]\nsave-steps = []", ("ddfm.toml: [fuse] save-steps = []: ", "in quotes")),
        ("[fuse]\nbalance = {a = 1}", ("ddfm.toml: [fuse] balance = {'a': 1}: ", "in quotes")),
    ],
)
def test_mistakes_in_the_file_are_refused_in_one_line(tmp_path, monkeypatch, text, words):
    path = tmp_path / "my ddfm.toml"
    path.write_text(text)
    monkeypatch.setenv("DDFM_CONFIG", str(path))
    refused(ddfm_run("priors", "list"), *words)


def test_a_wrong_default_is_refused_with_its_origin(tmp_path, monkeypatch, pair):
    monkeypatch.chdir(tmp_path)
    command = ["fuse", *pair, "-o", "f.png", *FAST]
    (tmp_path / "ddfm.toml").write_text('[fuse]\nbalance = "x"\n')
    refused(ddfm_run(*command), "ddfm.toml [fuse]: ", "'--balance': 'x' is not a valid float")
    monkeypatch.setenv("DDFM_FUSE_BALANCE", "y")
    refused(ddfm_run(*command), "$DDFM_FUSE_BALANCE: ", "'--balance': 'y' is not a valid float")


def test_one_word_is_enough_for_an_option_that_takes_several(tmp_path, monkeypatch, pair):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ddfm.toml").write_text('[fuse]\nshow = "side-by-side"\n')
    assert ddfm_run("fuse", *pair, "-o", "f.png", *FAST).exit_code == 0
    assert (tmp_path / "f.side-by-side.png").exists()


def test_a_misspelt_variable_is_named(monkeypatch):
    monkeypatch.setenv("DDFM_FUSE_TAKS", "medical")
    monkeypatch.setenv("DDFM_PRIORS_GET_TRUST", "0")  # of a command below another
    (said,) = ddfm_run("priors", "list").stderr.splitlines()
    assert "unknown variable 'DDFM_FUSE_TAKS'; did you mean DDFM_FUSE_TASK" in said
    monkeypatch.setenv("DDFM_PRIORS_GET_TRUST", "banana")
    said = ddfm_run("priors", "get", "openai-256").stderr
    assert "$DDFM_PRIORS_GET_TRUST: Invalid value" in said


def test_an_empty_argument_is_refused(pair):
    refused(ddfm_run("fuse", "", pair[1], "-o", "f.png"), "an argument is empty")


def test_a_named_file_of_defaults_must_exist(monkeypatch):
    monkeypatch.setenv("DDFM_CONFIG", "no-such.toml")
    refused(ddfm_run("priors", "list"), "no-such.toml")


def test_json_reports_settings_and_output(pair, tmp_path):
    told = json.loads(ddfm_run("fuse", *pair, "-o", tmp_path / "f.png", *FAST, "--json").stdout)
    assert told["output"] == str(tmp_path / "f.png") and told["settings"]["steps"] == 2
    names = [prior["name"] for prior in json.loads(ddfm_run("priors", "list", "--json").stdout)]
    assert "default" in names and all(name in ddfm_run("priors", "list").stdout for name in names)
    for folder, path in zip(("a", "b"), pair, strict=True):
        (tmp_path / folder).mkdir()
        path.rename(tmp_path / folder / f"x_{path.name}")
    command = ("fuse", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out", *FAST, "--json")
    plan = json.loads(ddfm_run(*command, "--dry-run").stdout)
    assert [one["status"] for one in plan["outcomes"]] == ["planned"]
    done = json.loads(ddfm_run(*command).stdout)["outcomes"]
    assert [one["status"] for one in done] == ["fused"] and os.path.exists(done[0]["output"])


def test_a_preview_is_small_and_reports_its_size(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (("ir", (60, 80)), ("vis", (900, 1200))):
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(tmp_path / f"{name}.png")
    sources = tmp_path / "ir.png", tmp_path / "vis.png"
    out = tmp_path / "f.png"
    result = ddfm_run("fuse", *sources, "-o", out, "--preview", "--resize", "b", *FAST)
    assert result.exit_code == 0, result.stderr
    assert "a preview of 512 x 384 pixels" in result.stderr
    with Image.open(out) as image:
        assert image.size == (512, 384)
    refused(ddfm_run("fuse", tmp_path, tmp_path, "-o", out, "--preview"), "--preview is for images")


def test_a_preview_tells_only_what_is_true_of_the_files(tmp_path):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:900, :1200]
    clean = 127 + 50 * np.sin(x / 90) + 50 * np.cos(y / 70)
    noisy = clean + 20 * rng.standard_normal(clean.shape)
    counts = (7000 + 4 * clean).astype(np.uint16)
    for name, values in (("ir", counts), ("vis", noisy.clip(0, 255).astype(np.uint8))):
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    Image.fromarray(clean[:600].astype(np.uint8)).save(tmp_path / "wide.png")
    pair = tmp_path / "ir.png", tmp_path / "vis.png"
    said = {}
    for option in ("--preview", "--quality=default"):
        run = ddfm_run("fuse", *pair, "-o", tmp_path / "f.png", *FAST, option, "--overwrite")
        assert run.exit_code == 0, run.stderr
        said[option] = run.stderr.splitlines()
    levels, corrected = said["--quality=default"]
    assert "a small part of the 16-bit range" in levels and "replaced (--as-is" in corrected
    assert said["--preview"] == [
        levels,
        "this is a preview of 512 x 384 pixels, not the full size; warnings that follow are about "
        "the preview, but distances are in pixels of the full size",
    ]
    other = tmp_path / "wide.png"
    options = (*FAST, "--preview", "--range-a", "full")
    run = ddfm_run("fuse", pair[0], other, "-o", tmp_path / "f.png", *options)
    refused(run, "1200 x 900 pixels and", "1200 x 600;")
    Image.fromarray(np.eye(64, dtype=np.uint8)).save(other)
    run = ddfm_run("fuse", other, other, "-o", tmp_path / "g.png", *FAST, "--preview")
    assert "is a preview" not in run.stderr


def test_folders_within_folders_are_named_if_they_hold_images(tmp_path):
    folders = folders_of_noise(tmp_path, ["1", "2"])
    day, _ = folders_of_noise(folders[0], ["3"], words=["day", ".hidden"])
    (folders[0] / "notes").mkdir()
    (folders[0] / "notes" / "a.txt").touch()
    line = f"left out, a folder; give it by itself: {day}\n"
    planned = ddfm_run("fuse", *folders, "-o", tmp_path / "out", "--dry-run")
    assert planned.exit_code == 0 and "\n2 pairs, 1 folder left out\n" in planned.stdout
    assert line in planned.stdout
    for _ in range(2):  # the results, which lie in a source, are not named
        done = ddfm_run("fuse", *folders, "-o", folders[1] / "out", *FAST)
        assert done.exit_code == 0 and line in done.stderr and "1 folder left out in" in done.stderr
    inner = ddfm_run("fuse", folders[0], day, "-o", tmp_path / "out", "--dry-run")
    assert "left out, a folder" not in inner.output  # it is the other source
    for path in (*folders[0].glob("*.png"), *folders[1].glob("*.png")):
        path.unlink()
    for sources in (folders, folders[:1]):
        refused(ddfm_run("fuse", *sources, "-o", tmp_path / "out"), f"give it by itself: {day}")


def test_files_that_are_left_out_of_folders_are_listed_with_the_reason(tmp_path):
    for folder in ("ir", "vis"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.eye(16, dtype=np.uint8)).save(tmp_path / folder / "1.png")
    for name in ("2.csq", "a.txt", "b.txt", "c.txt", "d.txt", ".hidden"):
        (tmp_path / "vis" / name).write_bytes(b"")
    folders = tmp_path / "ir", tmp_path / "vis"
    for more in (["--dry-run"], FAST):
        result = ddfm_run("fuse", *folders, "-o", tmp_path / "out", *more)
        printed = result.stdout + result.stderr
        assert f"with FLIR's own program: {tmp_path}/vis/2.csq" in printed
        assert f"not an image by its suffix: {tmp_path}/vis/a.txt" in printed
        assert "and 1 more" in printed
        assert "5 files left out" in printed and ".hidden" not in printed
    plan = json.loads(ddfm_run("fuse", *folders, "-o", "out", "--dry-run", "--json").stdout)
    assert "FLIR film" in plan["left_out"][str(tmp_path / "vis" / "2.csq")]
    (tmp_path / "ir" / "1.png").unlink()
    refused(ddfm_run("fuse", *folders, "-o", "out"), "ir holds no image", "FLIR film")


def test_verbose_prints_a_line_for_each_stage(pair, tmp_path):
    result = ddfm_run("fuse", *pair, "-o", tmp_path / "f.png", *FAST, "--verbose")
    lines = result.stderr.splitlines()
    assert all(line.startswith("ddfm: ") and " s: " in line for line in lines)
    assert lines[0].endswith("s: loading") and lines[-1].endswith("s: writing")
    assert any("fusing 20 x 16 pixels" in line for line in lines)
    assert ddfm_run("fuse", *pair, "-o", tmp_path / "f.png", *FAST).stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_terminal_shows_the_current_stage_at_once(pair, tmp_path):
    """Before torch is loaded."""
    import pty

    ours, theirs = pty.openpty()
    code = (
        "import sys, builtins\n"
        "kept = builtins.__import__\n"
        "def watched(name, *rest, **how):\n"
        "    if name == 'torch' and 'torch' not in sys.modules:\n"
        "        print('<torch>', file=sys.stderr, flush=True)\n"
        "    return kept(name, *rest, **how)\n"
        "builtins.__import__ = watched\n"
        "from ddfm.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", code, "fuse", *map(str, pair), "-o", str(tmp_path / "f.png")]
    with subprocess.Popen([*command, *FAST], stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        try:
            while part := os.read(ours, 4096):
                seen += part
        except OSError:  # how Linux says that the other end is closed
            pass
        assert process.wait() == 0
    os.close(ours)
    assert seen.index(b"loading ...") < seen.index(b"<torch>") < seen.index(b"fusing 20 x 16")
    assert seen.rstrip().endswith(b"s") and b"f.png: 20 x 16 pixels" in seen


@pytest.mark.parametrize("command", ["fuse", "film", "volume", "bench", "train-prior"])
def test_every_option_is_in_exactly_one_section_of_the_help(command):
    page = ddfm_run(command, "--help").stdout
    options = [p for p in main.commands[command].params if isinstance(p, click.Option)]
    for option in options:
        listed = sum(
            line.split(" ")[:3] == ["", "", f"{name}{comma}"]  # not one that wraps within a text
            for line in page.splitlines()
            for name in option.opts
            for comma in ("", ",")
        )
        assert listed == (0 if option.hidden else 1), option.opts
    assert ("Method and computation:" in page) == (len(options) > 20)
