#!/usr/bin/env python3
"""How well stacks are aligned: exposures, and focus stacks, under known small motions.

    python benchmarks/alignment_stacks.py MEFB/over MEFB/under [--model auto] [--look DIR]

The two folders contain pairs of images by name: two real exposures each. From the images of the
first folder the script also makes a bracket (2 stops darker, unchanged, 2 stops brighter, clipped,
with noise) and a focus stack (three depths of a smooth scene, each sharp in one picture; the field
of view grows by 1.5 % from one picture to the next). All pictures but the reference are shifted by
up to 20 pixels, rotated by up to a degree and enlarged by up to 1 %. An error is the mean distance
of the corners in pixels.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from ddfm import Fuser
from ddfm.imaging.pairing import find_pairs
from ddfm.imaging.picture import Picture
from ddfm.imaging.reading import read_image
from ddfm.registration.register import registered
from ddfm.registration.transform import Size, Transform, fitted
from ddfm.registration.warp import warped

SHIFT, TURN, SIZE = 20.0, 1.0, 1.01
BREATHING = 1.015  # from one picture of a focus stack to the next
STOPS = (-2.0, 0.0, 2.0)
NOISE = 1 / 255
MARGIN = 0.1  # of each side, so that moved pictures show the scene everywhere
BLUR = 2.5  # pixels, for each depth between the plane in focus and another
CLOSE = 3.0  # pixels


@dataclass(frozen=True)
class Stack:
    """Pictures of one scene, and the transform from each to the reference."""

    name: str
    pictures: list[Picture]
    truths: list[Transform]
    reference: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs=2, type=Path, metavar="DIR")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--look", type=Path, help="a folder for the fused stacks, for inspection")
    how = parser.parse_args()
    torch.set_num_threads(1)
    pairs = find_pairs(*how.folders).pairs
    print("| stack | pictures | median px | worst | < 3 | sure | s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind, of in (("exposures", exposures), ("bracket", bracket), ("focus", focus)):
        rng = np.random.default_rng(how.seed)
        stacks = [of(pair.name, [read_image(file) for file in pair.files], rng) for pair in pairs]
        began = time.process_time()
        found = [list(_errors(stack, how.model)) for stack in stacks]
        number = sum(map(len, found))
        seconds = (time.process_time() - began) / number
        errors = np.array([error for some in found for error, sure in some if sure] or [np.nan])
        sure = np.mean([sure for some in found for _, sure in some])
        cells = [kind, number, f"{np.median(errors):.2f}", f"{errors.max():.2f}"]
        cells += [f"{np.mean(errors < CLOSE):.0%}", f"{sure:.0%}", f"{seconds:.2f}"]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
        if how.look is not None:
            how.look.mkdir(parents=True, exist_ok=True)
            _fuse(stacks, kind, how.model, how.look)
    return 0


def exposures(name: str, pictures: list[Picture], rng: np.random.Generator) -> Stack:
    """Two real exposures."""
    return _moved(name, pictures, [1.0, 1.0], 1, rng)


def bracket(name: str, pictures: list[Picture], rng: np.random.Generator) -> Stack:
    """One photograph, darker and lighter."""
    light = pictures[0].pixels.astype(np.float64) ** 2.2
    made = []
    for stops in STOPS:
        levels = np.clip(light * 2**stops, 0, 1) ** (1 / 2.2) + rng.normal(0, NOISE, light.shape)
        made.append(_like(pictures[0], np.clip(levels, 0, 1), f"{stops:+g} stops"))
    return _moved(name, made, [1.0] * 3, 1, rng)


def focus(name: str, pictures: list[Picture], rng: np.random.Generator) -> Stack:
    """One photograph in which each of three depths is sharp in one picture."""
    base = pictures[0].pixels
    field = ndimage.gaussian_filter(rng.standard_normal(base.shape[:2]), min(base.shape[:2]) / 8)
    depth = np.searchsorted(np.quantile(field, (1 / 3, 2 / 3)), field)
    made = []
    for k in range(3):
        levels = np.zeros_like(base)
        for d in range(3):
            sigma = BLUR * abs(d - k)
            plane = ndimage.gaussian_filter(base, (sigma, sigma, 0)) if sigma else base
            levels += (depth == d)[..., None] * plane
        made.append(_like(pictures[0], levels, f"depth {k + 1}"))
    return _moved(name, made, [BREATHING ** (k - 1) for k in range(3)], 1, rng)


def _moved(
    name: str,
    pictures: list[Picture],
    scales: list[float],
    reference: int,
    rng: np.random.Generator,
) -> Stack:
    h, w = pictures[0].size
    top, left = int(MARGIN * h), int(MARGIN * w)
    window = (h - 2 * top, w - 2 * left)
    cut = Transform([[1, 0, -left], [0, 1, -top], [0, 0, 1]], (h, w), window)
    done, truths = [], []
    for k, picture in enumerate(pictures):
        by = (
            Transform(np.eye(3), (h, w), (h, w))
            if k == reference
            else _move((h, w), rng, scales[k])
        )
        done.append(replace(warped(picture, by.then(cut))[0], name=picture.name))
        truths.append(cut.inverse().then(by.inverse()).then(cut))
    return Stack(name, done, truths, reference)


def _move(size: Size, rng: np.random.Generator, scale: float) -> Transform:
    h, w = size
    ends = np.array([[0, 0], [w - 1, 0], [w - 1, h - 1], [0, h - 1]], float)
    turn, scale = np.deg2rad(rng.uniform(-TURN, TURN)), scale * SIZE ** rng.uniform(-1, 1)
    cos, sin = np.cos(turn) * scale, np.sin(turn) * scale
    middle = ends.mean(0)
    moved = (ends - middle) @ np.array([[cos, sin], [-sin, cos]]) + middle
    return fitted(ends, moved + rng.uniform(-SHIFT, SHIFT, 2), size, size, "similarity")


def _errors(stack: Stack, model: str) -> Iterator[tuple[float, bool]]:
    """For each moved picture, its error, and whether it was aligned."""
    for found in registered(stack.pictures, model, reference=stack.reference).about:
        transform = Transform.from_dict(found["transform"])
        yield transform.distance(stack.truths[found["source"]]), found["applied"]


def _fuse(stacks: list[Stack], kind: str, model: str, folder: Path) -> None:
    task = "multi-focus" if kind == "focus" else "multi-exposure"
    fuser = Fuser(task=task, align=model)
    for stack in stacks:
        for name, one in (
            ("unaligned", fuser.with_config(align="none", look=False)),
            (model, fuser),
        ):
            one(*stack.pictures, progress=False).save(folder / f"{kind} {stack.name} {name}.png")


def _like(picture: Picture, levels: np.ndarray, name: str) -> Picture:
    rounded = (np.round(255 * levels) / 255).astype(np.float32)
    return replace(picture, samples=rounded, name=name)


if __name__ == "__main__":
    sys.exit(main())
