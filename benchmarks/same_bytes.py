"""Fuses the same sources with another checkout of ddfm and with this one, and compares the results.

    python benchmarks/same_bytes.py ../ddfm-0.5

The sources are pairs of the examples and generated pictures, a folder, a film as frames and as a
video, a volume and a small benchmark, each on the command line, with one thread and the default
prior. Files that differ are compared by their contents (pixels, frames, voxels), because a header
may contain more than before. Exits with 1 if any contents differ, or a file is missing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured
from PIL import Image

ROOT = Path(__file__).parents[1]
DATA = ROOT / "examples" / "data"

COMMANDS = {
    "olinda.png": "fuse olinda_a.png olinda_b.png -o {}",
    "paper.png": "fuse olinda_a.png olinda_b.png -o {} --likelihood paper --steps 3",
    "reference.png": "fuse olinda_a.png olinda_b.png -o {} --likelihood reference --steps 3",
    "ddpm.png": "fuse olinda_a.png olinda_b.png -o {} --sampler ddpm --start 300 --steps 4",
    "dmfuse.png": "fuse olinda_a.png olinda_b.png -o {} --method dmfuse",
    "brain.tif": "fuse brain_a.png brain_b.png -o {} --task medical",
    "noisy.png": "fuse noisy_a.png noisy_b.png -o {}",
    "colored.jpg": "fuse noisy_a.png colored.png -o {}",
    "exposures.png": "fuse colored.png dark.png -o {}",
    "focus.png": "fuse olinda_a.png olinda_b.png noisy_a.png -o {} --task multi-focus",
    "folder": "fuse ir vi -o {}",
    "frames": "film ir vi -o {}",
    "film.mkv": "film ir vi -o {}",
    "warm.mkv": "film ir vi -o {} --warm",
    "volume.nii.gz": "volume a.nii.gz b.nii.gz -o {}",
    "together.nii.gz": "volume b.nii.gz a.nii.gz -o {} --together 3 --axis 0 --colormap-a hot",
    "bench": "bench . --subfolders ir,vi --task ir-visible --out {} --degrade noise=15 --baselines",
}
COMPARED = {".png", ".tif", ".jpg", ".mkv", ".gz"}


def make_sources(folder: Path) -> None:
    """Small pictures, frames and volumes, in their own folder."""
    rng = np.random.default_rng(0)
    for name, kinds in (("olinda", ("infrared", "visible")), ("brain", ("t1", "pd"))):
        for letter, kind in zip("ab", kinds, strict=True):
            with Image.open(DATA / f"{name}_{kind}.png") as image:
                levels = np.asarray(image.convert("L"))[60:156, 60:188]
            Image.fromarray(levels).save(folder / f"{name}_{letter}.png")
            noise = rng.normal(0, 12, (6, *levels.shape))
            frames = np.clip(levels + noise, 0, 255).astype(np.uint8)
            if name == "olinda":
                (folder / {"a": "ir", "b": "vi"}[letter]).mkdir()
                for k, frame in enumerate(frames[:, :64, :80]):
                    path = folder / {"a": "ir", "b": "vi"}[letter] / f"{k}.png"
                    Image.fromarray(np.roll(frame, 2 * k, axis=1)).save(path)
                Image.fromarray(frames[0]).save(folder / f"noisy_{letter}.png")
            else:
                values = frames[:, :48, :56].astype(np.float32)
                values[0] = 0
                image = nibabel.Nifti1Image(values, np.diag([4.0, 1, 1, 1]))
                nibabel.save(image, folder / f"{letter}.nii.gz")
    colored = rng.integers(0, 256, (12, 16, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    Image.fromarray(colored).save(folder / "colored.png")
    Image.fromarray(colored // 4).save(folder / "dark.png")


def run(checkout: Path, sources: Path, out: Path) -> None:
    """Run all commands with the ddfm of a checkout."""
    out.mkdir()
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = os.environ | threads | {"PYTHONPATH": str(checkout)}
    for name, command in COMMANDS.items():
        arguments = [word.format(out / name) for word in command.split()]
        line = [sys.executable, "-m", "ddfm", *arguments, "--quiet", "--device", "cpu"]
        subprocess.run(line, cwd=sources, env=environment, check=True)


def contents(path: Path) -> Iterator[np.ndarray]:
    """The contents of a file: one array, or an array for each frame."""
    if path.suffix == ".gz":
        values = np.asarray(nibabel.load(path).dataobj)
        yield values if values.dtype.names is None else structured_to_unstructured(values)  # RGB
    elif path.suffix == ".mkv":
        import av

        with av.open(str(path)) as container:
            frames = container.decode(video=0)
            yield from (frame.to_ndarray(format="rgb48le") for frame in frames)
    else:
        with Image.open(path) as image:
            yield np.asarray(image)


def difference(old: Path, new: Path) -> str:
    """A short description; empty if the contents are equal."""
    pairs = list(zip(contents(old), contents(new), strict=True))
    if any(a.shape != b.shape or a.dtype != b.dtype for a, b in pairs):
        return "another shape or depth"
    most = max(float(np.abs(a.astype(float) - b).max()) for a, b in pairs)
    return f"differ by {most:g} at most" if most else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("old", type=Path, help="the root of another checkout")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "sources").mkdir()
        make_sources(root / "sources")
        for which, checkout in (("old", args.old.resolve()), ("new", ROOT)):
            run(checkout, root / "sources", root / which)
        equal, wrong = {"equal bytes": 0, "equal contents": 0}, 0
        for old in sorted(path for path in (root / "old").rglob("*") if path.suffix in COMPARED):
            new = root / "new" / old.relative_to(root / "old")
            if not new.is_file():
                found = "is missing"
            elif old.read_bytes() == new.read_bytes():
                found, equal["equal bytes"] = "", equal["equal bytes"] + 1
            else:
                found = difference(old, new)
                equal["equal contents"] += not found
            if found:
                print(f"{old.relative_to(root / 'old')}: {found}")
                wrong += 1
    print(", ".join(f"{count} with {name}" for name, count in equal.items()) + f", {wrong} others")
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
