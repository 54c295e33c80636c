"""No command changes a byte of its sources, or of files that ddfm did not write.

Each command is run once, to learn which files it writes. Then each of these files exists already,
as a file of somebody else, or as a link to a source; and each source is named as the output.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from command_line import FAST, ddfm_run, refused
from ddfm.cli import main
from ddfm.cli.writing import OutputPath, WritingCommand
from ddfm.registration.transform import Transform
from ddfm.storage.manifest import NAME
from ddfm.storage.ours import MARK
from dicom_files import dicom_series
from scenes import TINY

# Options that name what is read. Whoever adds an option with a path says here what it is, or makes
# it an `OutputPath`, and a case below.
READ = {
    "bench": {"folders", "config", "boxes"},
    "film": {"a", "b", "like", "transform_file"},
    "fuse": {"like", "sources", "transform_file"},
    "info": {"files"},
    "merge": {"out"},  # whose manifests say themselves whose they are
    "metrics": {"fused", "sources"},
    "priors check": {"photographs"},
    "train-dmfuse": {"folder", "init"},
    "train-prior": {"folder", "validation", "init"},
    "volume": {"a", "b", "like", "more", "transform_file"},
    "web": {"runtime", "graphs"},
}
# Of commands that are given no source: `export`, and `web`, whose folder must not be there yet.
ALONE = {"export": {"output"}, "web": {"site"}}


@dataclass(frozen=True)
class Case:
    """A command, its sources below a folder `in`, and its outputs below a folder `out`."""

    command: str
    make: Callable[[Path], None]
    arguments: Callable[[Path], list[object]]
    outputs: dict[str, str]
    overwrites: bool = True  # folders with a manifest are for results alone

    def run(self, root: Path, *more: object, **changed: object):
        (root / "out").mkdir(exist_ok=True)
        places = {name: root / "out" / place for name, place in self.outputs.items()} | changed
        spelt = {
            parameter.name: parameter.opts[-1] for parameter in main.commands[self.command].params
        }
        options = (part for name, place in places.items() for part in (spelt[name], place))
        return ddfm_run(self.command, *self.arguments(root / "in"), *options, *more)


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (44, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (size[0] // 4, size[1] // 4), np.uint8))
    small.resize(size[::-1], Image.Resampling.BICUBIC).save(path)


def pictures(*names: str, size: tuple[int, int] = (44, 48)) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for seed, name in enumerate(names):
            picture(folder / name, seed, size)

    return make


PAIRS = pictures("ir/one.png", "vi/one.png", "ir/two.png", "vi/two.png")


def make_frames(folder: Path) -> None:
    PAIRS(folder)
    Transform.framed((44, 48), (44, 48)).save(folder / "t.json")


def make_films(folder: Path) -> None:
    av = pytest.importorskip("av")
    for seed, name in enumerate(("a.mkv", "b.mkv")):
        frames = np.random.default_rng(seed).integers(0, 256, (2, 16, 16, 3), np.uint8)
        with av.open(str(folder / name), "w") as film:
            stream = film.add_stream("ffv1", rate=25)
            stream.height, stream.width, stream.pix_fmt = 16, 16, "bgr0"
            for frame in frames:
                film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            film.mux(stream.encode(None))


def make_volumes(folder: Path) -> None:
    """Both in two files, of which the command is given one."""
    nibabel, nrrd = pytest.importorskip("nibabel"), pytest.importorskip("nrrd")
    values = np.random.default_rng(0).integers(1, 900, (8, 9, 3), np.int16)
    nibabel.save(nibabel.Nifti1Pair(values, np.eye(4)), folder / "a.hdr")
    nrrd.write(
        str(folder / "b.nhdr"), values, {"encoding": "raw", "spacings": [1, 1, 1]},
        detached_header=True,
    )  # fmt: skip
    assert sorted(path.name for path in folder.iterdir()) == ["a.hdr", "a.img", "b.nhdr", "b.raw"]


def make_series(folder: Path) -> None:
    values = np.random.default_rng(0).integers(1, 900, (3, 8, 9), np.int16)
    for name in ("a", "b"):
        dicom_series(folder / name, values)


def make_sets(folder: Path) -> None:
    PAIRS(folder / "set")
    pictures("one.png", "two.png")(folder / "other")
    (folder / "config.toml").write_text('[fast]\nsteps = 1\nlikelihood = "paper"\n')


def make_photographs(folder: Path) -> None:
    pictures("photographs/curve.png", "photographs/1.png", "aside/1.png", size=(300, 300))(folder)


def make_training_pairs(folder: Path) -> None:
    from ddfm.priors.checkpoints import save_checkpoint
    from ddfm.priors.unet import UNet

    PAIRS(folder)
    settings = {"network": asdict(TINY), "kind": "v", "schedule": "linear", "T": 1000}
    save_checkpoint(folder / "prior.safetensors", UNet(TINY).state_dict(), settings)


SHOWN = ["--show", "side-by-side", "--align", "shift"]
QUICKLY = ["--device", "cpu", "--quiet", "--steps", 2, "--batch", 1]
CASES = {
    "images": Case(
        "fuse", pictures("a.png", "step-000-t999-prior.png"),
        lambda given: [
            given / "a.png", given / "step-000-t999-prior.png", *FAST, *SHOWN, "--samples", 2,
        ],
        {
            "output": "f.png", "save_steps": "steps", "save_transform": "t.json", "check": "c.png",
            "uncertainty": "u.tif", "attribution": "m.png", "save_sources": "sources",
        },
    ),
    "tiff": Case(
        "fuse", pictures("a.tif", "b.tif"), lambda given: [given / "a.tif", given / "b.tif", *FAST],
        {"output": "f.tif"},
    ),
    "folders": Case(
        "fuse", PAIRS, lambda given: [given / "ir", given / "vi", *FAST],
        {"output": "fused"}, overwrites=False,
    ),
    "film": Case(
        "film", make_films,
        lambda given: [given / "a.mkv", given / "b.mkv", *FAST, "--samples", 2],
        {"output": "f.mkv", "uncertainty": "u.mkv", "attribution": "m.mkv"},
    ),
    "frames": Case(
        "film", make_frames,
        lambda given: [given / "ir", given / "vi", *FAST, "--transform", given / "t.json"],
        {"output": "fused", "save_transform": "t.json"}, overwrites=False,
    ),
    "volume": Case(
        "volume", make_volumes,
        lambda given: [
            given / "a.hdr", given / "b.nhdr", *FAST, "--align", "rigid", "--samples", 2,
        ],
        {
            "output": "f.nrrd", "montage": "m.png", "save_transform": "t.tfm",
            "uncertainty": "u.nii.gz", "attribution": "m.nii.gz",
        },
    ),
    "series": Case(
        "volume", make_series, lambda given: [given / "a", given / "b", *FAST],
        {"output": "series", "montage": "m.jpg"},
    ),
    "bench": Case(
        "bench", make_sets,
        lambda given: [
            given / "set", "--also", f"other={given / 'other'}", "--config", given / "config.toml",
            "--degrade", "noise=20", "--prior", "gaussian", "--device", "cpu", "--quiet",
        ],
        {"out": "bench"},
    ),
    "train-prior": Case(
        "train-prior", make_photographs,
        lambda given: [given / "photographs", "--validation", given / "aside", *QUICKLY],
        {"out": "run"},
    ),
    "train-dmfuse": Case(
        "train-dmfuse", make_training_pairs,
        lambda given: [
            given, "--prior", given / "prior.safetensors", *QUICKLY, "--crops", 2, "--size", 32,
        ],
        {"out": "run", "cache": "cache"},
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A small network that learns nothing, draws no samples, and needs no conversion."""
    from ddfm.imaging.writing import write_drawing

    def learn(run, data, progress, reports=True):
        run.step, run.measured = run.settings.steps, dict
        run.losses.append(0.0)
        run.report()

    def draw(prior, path, device, progress):
        write_drawing(path, Image.new("L", (4, 4)))

    monkeypatch.setattr("ddfm.training.run.TrainingRun.train", learn)
    monkeypatch.setattr("ddfm.export.onnx.exported", lambda *_: f"\x08\x0a\x12{MARK}".encode())
    monkeypatch.setattr("ddfm.training.train_prior.SHIPPED", TINY)
    monkeypatch.setattr("ddfm.training.train_prior.sample_sheet", draw)


def contents(folder: Path) -> dict[str, bytes]:
    """The contents of all files, and the targets of links."""
    return {
        str(path.relative_to(folder)): bytes(path.readlink()) + path.read_bytes()
        if path.is_symlink()
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def commands(group: click.Group = main, before: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} ")
        else:
            yield before + name, command


def test_every_option_with_a_path_is_known_as_read_or_as_written():
    read: dict[str, set[str]] = {}
    written: dict[str, set[str]] = {}
    for name, command in commands():
        for parameter in command.params:
            if isinstance(parameter.type, OutputPath):
                written.setdefault(name, set()).add(parameter.name)
                assert isinstance(command, WritingCommand)
            elif isinstance(parameter.type, click.Path):
                read.setdefault(name, set()).add(parameter.name)
    assert read == READ
    tried: dict[str, set[str]] = {}
    for case in CASES.values():
        tried.setdefault(case.command, set()).update(case.outputs)
    assert tried | ALONE == written


def test_a_graph_and_a_site_do_not_replace_files_of_others(tmp_path):
    picture(tmp_path / "a.png")
    before = contents(tmp_path)
    refused(ddfm_run("export", "noise", "-o", tmp_path / "a.png"), "a.png", "--overwrite")
    refused(ddfm_run("web", tmp_path, "--runtime", tmp_path, "--overwrite"), "exists already")
    assert contents(tmp_path) == before
    graph = tmp_path / "noise.onnx"
    for _ in range(2):
        assert ddfm_run("export", "noise", "-o", graph).exit_code == 0
    assert MARK in graph.read_text()


@pytest.fixture(params=CASES, scope="module")
def learned(request, tmp_path_factory) -> tuple[Case, Path, list[str]]:
    """A case, the folder in which it was run once, and the files that it wrote."""
    case = CASES[request.param]
    root = tmp_path_factory.mktemp("clean")
    (root / "in").mkdir()
    case.make(root / "in")
    before = contents(root / "in")
    with pytest.MonkeyPatch.context() as patch:
        small.__wrapped__(patch)
        for _ in range(2):  # to run a command once more simply works
            result = case.run(root)
            assert result.exit_code == 0, result.output
    assert contents(root / "in") == before
    written = sorted(contents(root / "out"))
    # One of each kind: of numbered files, of the sets trained on and kept aside, ...
    alike = r"\d+|one|two|train|aside|fast|[\w-]+(?=/set)|[\w-]+(?=\.svg)"
    kinds = {re.sub(alike, "", name): name for name in written}
    return case, root, list(kinds.values())


def plant(kind: str, place: Path, victim: Path) -> None:
    place.parent.mkdir(parents=True)
    if kind == "somebody's file":
        place.write_bytes(b"somebody's")
    elif kind == "a hard link":
        os.link(victim, place)
    else:
        place.symlink_to(victim)


@pytest.mark.parametrize("more", [(), ("--overwrite",)], ids=["", "overwriting"])
@pytest.mark.parametrize("kind", ["somebody's file", "a hard link", "a symbolic link"])
def test_existing_files_are_not_replaced(learned, tmp_path, kind, more):
    case, clean, written = learned
    given = sorted(path for path in (clean / "in").rglob("*") if path.is_file())
    before = contents(clean / "in")
    for number in range(max(len(given), len(written))):
        name = written[number % len(written)]
        root = tmp_path / str(number)
        shutil.copytree(clean / "in", root / "in")
        victim = root / "in" / given[number % len(given)].relative_to(clean / "in")
        plant(kind, root / "out" / name, victim)
        planted = contents(root / "out")
        result = case.run(root, *more)
        assert isinstance(result.exception, SystemExit | None), (name, result.output)
        assert contents(root / "in") == before, name
        if not more or kind != "somebody's file":
            assert planted.items() <= contents(root / "out").items(), name
            assert result.exit_code in (1, 2), (name, result.output)
        elif case.overwrites and Path(name).name not in ("checkpoint.pt", NAME):
            assert result.exit_code == 0, (name, result.output)


def test_sources_are_not_written_to_by_any_name(learned, tmp_path, monkeypatch):
    case, clean, _ = learned
    shutil.copytree(clean / "in", tmp_path / "in")
    before = contents(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    spellings = cycle(("{0}/{1}", "./{1}", "in/../{1}", "{0}/out/../{1}"))
    for option in case.outputs:
        for place in [*(tmp_path / "in").rglob("*"), tmp_path / "in"]:
            spelt = next(spellings).format(tmp_path, place.relative_to(tmp_path))
            result = case.run(tmp_path, "--overwrite", **{option: spelt})
            assert isinstance(result.exception, SystemExit | None), result.output
            assert before.items() <= contents(tmp_path / "in").items(), (option, spelt)
            for path in (tmp_path / "in").rglob("*"):
                if path.is_file() and str(path.relative_to(tmp_path / "in")) not in before:
                    path.unlink()  # a folder of sources may be a folder for results
