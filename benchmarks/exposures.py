"""Exposures, compared with Mertens' fusion and enfuse: MEF-SSIM and Qabf, pair by pair.

    pip install opencv-python-headless    # for Mertens (2007), as implemented in OpenCV
    apt install enfuse
    python benchmarks/exposures.py MEFB/ --out fused/

A method that is not installed is left out. --out keeps the pictures for inspection: neither metric
detects haze, paleness, or a night that has become a day.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from PIL import Image

from ddfm import Fuser
from ddfm.bench.datasets import find_dataset
from ddfm.imaging.reading import read_image
from ddfm.metrics import evaluate

COLUMNS = ["MEF-SSIM", "Qabf"]
Method = Callable[[tuple[Path, ...]], np.ndarray]


def ours() -> Method:
    fuser = Fuser(task="multi-exposure", strip=True)
    return lambda files: fuser(*files, progress=False).image


def plain(file: Path) -> np.ndarray:
    return np.rint(255 * read_image(file).pixels).astype(np.uint8)


def mertens() -> Method | None:
    try:
        import cv2
    except ImportError:
        return None

    def merged(files: tuple[Path, ...]) -> np.ndarray:
        levels = cv2.createMergeMertens().process([plain(file) for file in files])
        return np.rint(255 * levels.clip(0, 1)).astype(np.uint8)

    return merged


def enfuse() -> Method | None:
    if shutil.which("enfuse") is None:
        return None

    def merged(files: tuple[Path, ...]) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "fused.png"
            sources = [Path(folder) / f"{k}.png" for k in range(len(files))]
            for source, file in zip(sources, files, strict=True):
                Image.fromarray(plain(file)).save(source)
            command = ["enfuse", f"--output={out}", *map(str, sources)]
            subprocess.run(command, check=True, capture_output=True)
            return np.asarray(Image.open(out).convert("RGB"))

    return merged


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the pictures.")
def main(folder: Path, out: Path | None) -> None:
    """Print a row for each pair, and the means."""
    found = {"ddfm": ours(), "Mertens": mertens(), "enfuse": enfuse()}
    methods = {name: method for name, method in found.items() if method}
    print(f"| | {' | '.join(f'{name} {c}' for name in methods for c in COLUMNS)} |")
    print("| --- |" + " --- |" * (len(methods) * len(COLUMNS)))
    rows = []
    for pair in find_dataset(folder).pairs:
        row = []
        for name, method in methods.items():
            fused = method(pair.files)
            if out:
                (out / name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(fused).save(out / name / f"{pair.files[0].stem}.png")
            scores = evaluate(fused, *pair.files, metrics=COLUMNS)
            row += [scores[column] for column in COLUMNS]
        rows.append(row)
        print_row(pair.files[0].stem, row)
    print_row("mean", list(np.mean(rows, axis=0)))


def print_row(name: str, values: list[float]) -> None:
    print(f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |", flush=True)


if __name__ == "__main__":
    main()
