"""What five kinds of users do first, as sentences that are checked.

    python examples/five_persons.py [hobbyist student radiologist developer photographer]

Runs in a fresh clone, after `pip install -e '.[medical]'`. Prints each sentence that holds, and
stops at the first that does not. Nothing is downloaded, and everything is written to a temporary
folder.
"""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

import ddfm

DATA = Path(__file__).parent / "data"
QUICK = ("--prior", "gaussian", "--device", "cpu")


@dataclass
class Finished:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


def run(*arguments: object) -> Finished:
    """Runs the command line, as a person would type it."""
    line = [sys.executable, "-m", "ddfm", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True)
    return Finished(done.returncode, done.stdout, done.stderr)


def holds(sentence: str, true: object) -> None:
    """Prints a sentence that holds; ends with one that does not."""
    if not true:
        raise SystemExit(f"does not hold: {sentence}")
    print(f"  {sentence}")


def one_line(finished: Finished, *words: str) -> bool:
    """Whether the command was refused in one line that has these words."""
    lines = finished.err.splitlines()
    return finished.code == 2 and len(lines) == 1 and all(word in lines[0] for word in words)


def cut(name: str, to: Path, side: int = 96) -> Path:
    """A part of an example image, which is quick to fuse."""
    with Image.open(DATA / f"{name}.png") as image:
        image.crop((80, 80, 80 + side, 80 + side)).save(to)
    return to


def levels(path: Path) -> np.ndarray:
    """Grey levels from 0 to 1."""
    return ddfm.read_image(path).pixels.mean(axis=2)


def alike(a: np.ndarray, b: np.ndarray) -> float:
    """The correlation of two images."""
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def pair(folder: Path) -> tuple[Path, Path]:
    """The files of a short-wave infrared image and a visible one."""
    names = ("olinda_infrared", "olinda_visible")
    a, b = (cut(name, folder / f"{name}.png") for name in names)
    return a, b


def hobbyist(folder: Path) -> None:
    """Has a thermal camera."""
    thermal, photo = pair(folder)
    fused = {}
    for balance in (-1, 0, 1):
        out = folder / f"balance{balance}.png"
        run("fuse", thermal, photo, "-o", out, "--balance", balance, *QUICK)
        fused[balance] = levels(out)
    thermals = [alike(x, levels(thermal)) - alike(x, levels(photo)) for x in fused.values()]
    holds("--balance -1 is more thermal, 1 less", thermals == sorted(thermals, reverse=True))
    out = folder / "seen.png"
    views = ("--show", "side-by-side", "--show", "before-after", "--overlay", "iron")
    run("fuse", thermal, photo, "-o", out, *views, *QUICK)
    found = sorted(path.name for path in folder.glob("seen*"))
    holds(f"--show and --overlay write pictures for viewing: {', '.join(found)}", len(found) == 4)
    wide = folder / "wide.png"
    with Image.open(thermal) as image:
        image.resize((768, 768)).save(wide)
    finished = run("fuse", wide, wide, "-o", out, "--preview", *QUICK)
    holds("--preview names its size", "a preview of 512 x 512 pixels" in finished.err)
    finished = run("fuse", thermal, photo, "-o", out, "--verbose", *QUICK)
    stages = ("loading", "checking whether", "estimating noise", "fusing 96 x 96", "writing")
    holds("--verbose names each stage", all(stage in finished.err for stage in stages))
    raw = folder / "photo.cr3"
    raw.write_bytes(b"\0\0\0\x18ftypcrx ")
    finished = run("fuse", thermal, raw, "-o", out)
    holds("a camera's raw file is refused: develop it first", one_line(finished, "raw", "TIFF"))
    finished = run("fuse", thermal, thermal, "-o", out, *QUICK)
    holds("giving one picture twice is noticed", "are the same image" in finished.err)
    finished = run(thermal, photo)
    holds(
        "ddfm A B suggests the command that is meant",
        one_line(finished, f"ddfm fuse {thermal} {photo}"),
    )
    pages = {run(*words).out for words in (("help",), ("--help",), ("-h",))}
    holds("help, --help and -h print the same page", len(pages) == 1)
    finished = run("fuse", thermal, photo, "-o", out, "--task", "infrared")
    holds(
        "a wrong task is refused, and the right ones are named",
        one_line(finished, "'infrared'", "ir-visible"),
    )


def student(folder: Path) -> None:
    """Compares methods."""
    for name, corner in (("one", 0), ("two", 60), ("three", 120)):
        for kind, source in (("ir", "olinda_infrared"), ("vi", "olinda_visible")):
            path = folder / "set" / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(DATA / f"{source}.png") as image:
                image.crop((corner, corner, corner + 64, corner + 64)).save(path)
    finished = run("bench", folder / "set", "--out", folder / "bench", "--baselines", *QUICK)
    found = {path.suffix for path in (folder / "bench").rglob("*")}
    holds(
        "ddfm bench writes LaTeX, Markdown, CSV and SVG", {".tex", ".md", ".csv", ".svg"} <= found
    )
    lines = [line for line in finished.err.splitlines() if line.startswith("ddfm: default")]
    holds("in a pipe, it prints a line for each pair", len(lines) >= 3)
    tables = (folder / "bench" / "tables.md").read_text()
    holds(
        "tables mark the best values, and arrows show which way is better",
        "**" in tables and "↑" in tables,
    )
    tests = (folder / "bench" / "comparisons.csv").read_text()
    holds(
        "methods are compared pair by pair, with a correction for many tests", "p (Holm)" in tests
    )
    thermal, photo = pair(folder)
    out, steps = folder / "fused.png", folder / "steps"
    run(
        "fuse",
        thermal,
        photo,
        "-o",
        out,
        "--save-steps",
        steps,
        "--steps",
        2,
        *QUICK,
        "--start",
        100,
    )
    holds(
        "--save-steps writes the estimate of every step as a picture",
        len(list(steps.glob("step-*.png"))) == 4,
    )
    for way in ("--latex", "--markdown", "--csv"):
        table = run("metrics", out, thermal, photo, "--metrics", "EN,Qabf", way).out
        holds(f"ddfm metrics {way} prints a table", "Qabf" in table)
    heads = run("metrics", out, thermal, photo, "--latex").out.count("&") // 2
    holds("its columns are those of papers, unless others are named", heads == 6)
    holds("ddfm cite prints BibTeX", "@inproceedings" in run("cite").out)
    unet = folder / "unet"
    unet.mkdir()
    (unet / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    finished = run("fuse", thermal, photo, "-o", out, "--prior", unet)
    holds("a folder with a U-Net alone is refused in one line", one_line(finished, str(unet)))


def radiologist(folder: Path) -> None:
    """Builds programs for radiologists."""
    import nibabel

    rng = np.random.default_rng(0)
    t1, pd = (
        255 * levels(cut(name, folder / f"{name}.png", 64)) for name in ("brain_t1", "brain_pd")
    )
    paths = []
    for name, plane in (("t1", t1), ("pd", pd), ("third", t1[::-1])):
        volume = np.stack([plane, plane + rng.normal(0, 1, plane.shape), plane], -1)
        paths.append(folder / f"{name}.nii.gz")
        image = nibabel.Nifti1Image(volume.astype(np.float32), np.diag([1, 1, 3, 1]))
        nibabel.save(image, paths[-1])
    out, look = folder / "fused.nii.gz", folder / "look.png"
    line = ("volume", *paths, "-o", out, "--window-b", "100,200", "--montage", look, *QUICK)
    finished = run(*line)
    holds("three volumes become one, with a montage", finished.code == 0 and look.exists())
    printed = [line.partition(":")[0] for line in finished.err.splitlines()[: len(paths)]]
    holds("windows are printed, in the order of the sources", printed == [str(p) for p in paths])
    about = run("info", out)
    holds("the result records how it was made", "window_b" in about.out and "sha256" in about.out)
    again = folder / "again.nii.gz"
    run("volume", "--like", out, *paths, "-o", again, "--device", "cpu")
    holds("--like makes the same bytes", again.read_bytes() == out.read_bytes())
    finished = run("fuse", paths[0], paths[1], "-o", folder / "o.png")
    holds("ddfm fuse points to ddfm volume", one_line(finished, "ddfm volume"))
    shares, std = folder / "shares.nii.gz", folder / "std.nii.gz"
    trust = ("--attribution", shares, "--uncertainty", std, "--samples", 4)
    run("volume", *paths[:2], "-o", folder / "sure.nii.gz", *trust, *QUICK)
    sums = nibabel.load(shares).get_fdata()[..., :3].sum(-1)
    holds(
        "--attribution writes shares on the same grid, which sum to one",
        np.allclose(sums, 1, atol=1e-4),
    )
    holds("--uncertainty writes a volume on the same grid", nibabel.load(std).shape == (64, 64, 3))
    page = (DATA.parent.parent / "docs" / "trust.md").read_text()
    holds(
        "a page states what to rely on, and that ddfm is not for diagnosis",
        "Not for diagnosis" in page,
    )


def developer(folder: Path) -> None:
    """Embeds ddfm in a program."""
    thermal, photo = pair(folder)
    fuser = ddfm.Fuser("gaussian", device="cpu")
    fusion = fuser(thermal.read_bytes(), io.BytesIO(photo.read_bytes()))
    buffer = io.BytesIO()
    fusion.save(buffer, format="png")
    buffer.seek(0)
    with Image.open(buffer) as image:
        holds("sources and results may be bytes and open files", image.size == (96, 96))
    plain = ddfm.Fuser("gaussian", likelihood="paper", steps=4, device="cpu")
    cancelled = 0
    try:
        plain(thermal, photo, callback=lambda step: False)
    except ddfm.Cancelled:
        cancelled += 1
    holds("a callback that returns False cancels", cancelled == 1)
    kinds = (ddfm.InputError, ddfm.StorageError, ddfm.DownloadError, ddfm.MissingExtra)
    holds("errors have classes of their own", all(issubclass(k, ddfm.DdfmError) for k in kinds))
    texts: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda entry: texts.append(entry.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("ddfm")
    logger.addHandler(handler)
    before, _ = logger.level, logger.setLevel(logging.DEBUG)
    fuser(thermal, photo)
    logger.removeHandler(handler)
    logger.setLevel(before)
    holds("stages are logged under the name ddfm", "fusing 96 x 96 pixels" in texts)
    shown = [repr(fuser), repr(fuser.prior), repr(fusion)]
    holds(
        f"fuser, prior and result print as one line: {shown[0]}",
        not any("\n" in text for text in shown),
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ddfm.Fuser("gaussian", dtype="float16", device="cpu")
    holds("float16 on a CPU gives a warning", any("float16" in str(one.message) for one in caught))
    wrong = ""
    try:
        ddfm.fuse(thermal, photo, sead=1)  # type: ignore[call-arg]
    except TypeError as error:
        wrong = str(error)
    holds("a misspelt keyword is an error", "sead" in wrong)


def photographer(folder: Path) -> None:
    """Has three exposures of a landscape, in 16 bits."""
    rng = np.random.default_rng(0)
    scene = np.kron(rng.random((6, 8, 3)), np.ones((16, 16, 1)))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    paths = []
    for name, stops in (("dark", -2), ("middle", 0), ("bright", 2)):
        pixels = (2.0**stops * scene).clip(0, 1).astype(np.float32)
        paths.append(folder / f"{name}.tif")
        made = ddfm.Picture(pixels, dtype=np.dtype(np.uint16), icc=profile)
        ddfm.write_image(paths[-1], pixels, made)
    out = folder / "fused.tif"
    finished = run("fuse", *paths, "-o", out, *QUICK)
    found = ddfm.read_image(out)
    holds("three exposures become one picture", finished.code == 0 and found.size == (96, 128))
    holds("it has 16 bits", found.dtype == np.uint16)
    holds("it has their colour profile", found.icc == profile)
    seen = found.pixels.std() > ddfm.read_image(paths[0]).pixels.std()
    holds("it has more contrast than the darkest of them", seen)


PERSONS: dict[str, Callable[[Path], None]] = {
    "hobbyist": hobbyist,
    "student": student,
    "radiologist": radiologist,
    "developer": developer,
    "photographer": photographer,
}


def main(names: list[str]) -> None:
    """Runs the named ones, or all, one after the other."""
    for name in names or PERSONS:
        if name not in PERSONS:
            raise SystemExit(f"unknown person {name!r}; known: {', '.join(PERSONS)}")
        print(name)
        with tempfile.TemporaryDirectory() as folder:
            PERSONS[name](Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
