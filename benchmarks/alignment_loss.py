#!/usr/bin/env python3
"""How much quality alignment recovers: pairs are fused registered, misaligned, and aligned again.

    python benchmarks/alignment_loss.py DATA [--split report] [--model auto] [--nominal]

DATA contains TNO/ir, TNO/vi, RoadScene/ir, ... A known transform is applied to each infrared image,
as in `benchmarks/alignment.py`. The results are compared where all of them see the scene, by Qabf
and SSIM with the registered sources. `benchmarks/splits.toml` lists the pairs.

Many original pairs are misaligned by some pixels, and a perfect alignment would then be compared
with a wrong one. So the registered pair is the result of `align` on the original pair, where that
is certain, or with --nominal the original pair.

"won back" is the share of the loss that alignment removes, over the pairs aligned with certainty:
the sum of gains divided by the sum of losses. "known" is the fusion by the true transform, the most
that can be gained, because the infrared image is interpolated once more.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from alignment import disturbed, put_on
from ddfm import Fuser
from ddfm.imaging.picture import Picture, eight_bit
from ddfm.imaging.reading import read_image
from ddfm.imaging.sources import grey
from ddfm.metrics import qabf, ssim
from ddfm.registration.align import align
from ddfm.registration.transform import Transform
from ddfm.registration.warp import common_box, warped
from pairs import splits

SETS = ("TNO", "RoadScene", "MSRS")
KINDS = ("shift", "similarity", "field")
FUSED = ("registered", "put off", "aligned", "known")
METRICS = {"Qabf": qabf, "SSIM": ssim}
RIM = 4  # pixels at the border of the common area, beyond which windows of metrics would extend

Pair = tuple[str, str]  # set, name


@dataclass(frozen=True)
class Row:
    """One pair: the values of each metric, one for each way to fuse it."""

    sure: bool
    error: float  # pixels, of the corners
    values: dict[str, list[float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="choose", choices=("choose", "report"))
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--every", type=int, default=1, help="use only every Nth pair")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--nominal", action="store_true", help="the original pairs are registered")
    parser.add_argument("--look", type=Path, help="a folder for the fused images, for inspection")
    how = parser.parse_args()
    torch.set_num_threads(1)
    of_sets = splits()
    names = [(s, name) for s in how.sets for name in of_sets[s][how.split]][:: how.every]
    fuser = Fuser(task="ir-visible", look=False)
    bases = {} if how.nominal else dict(_bases(how.data, names))
    if not how.nominal:
        print(f"{len(bases)} of {len(names)} original pairs are aligned with certainty")
        names = list(bases)
    head = "put on|pairs|sure|px|metric|registered|put off|aligned|won back|known".split("|")
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for kind in how.kinds:
        rows = [_row(how, pair, kind, fuser, bases.get(pair)) for pair in names]
        sure = [row for row in rows if row.sure]
        error = f"{np.median([row.error for row in sure]):.2f}" if sure else "-"
        for metric in METRICS if sure else ():
            means = np.array([row.values[metric] for row in sure]).mean(axis=0)
            as_it_lay, off, aligned, known = means
            cells = [kind, len(rows), len(sure), error, metric, *(f"{v:.3f}" for v in means[:3])]
            cells += [f"{(aligned - off) / (as_it_lay - off):.0%}", f"{known:.3f}"]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    return 0


def _bases(data: Path, names: list[Pair]) -> Iterator[tuple[Pair, Transform]]:
    """The alignment of the original pairs, where it can be estimated."""
    for pair in names:
        moving, fixed = _planes(data, pair)
        found = align(fixed, moving, "similarity")
        if found.sure:
            yield pair, found.transform


def _row(
    how: argparse.Namespace, pair: Pair, kind: str, fuser: Fuser, base: Transform | None
) -> Row:
    moving, fixed = _planes(how.data, pair)
    name, look = pair[1], how.look
    rng = np.random.default_rng(zlib.crc32(f"{name} {kind}".encode()))
    size = (fixed.shape[0], fixed.shape[1])
    case = disturbed(fixed, moving, put_on(size, kind, rng))
    lies = Transform(np.eye(3), size, size, "none") if base is None else base
    off, visible, truth = (
        _picture(case.moving),
        _picture(case.fixed),
        case.undo.then(lies).then(case.cut),
    )
    infrared, inside = warped(_picture(moving), lies.then(case.cut))
    aligned = fuser.with_config(align=how.model)(off, visible, progress=False)
    results = {
        "registered": fuser(infrared, visible, progress=False),
        "put off": fuser.with_config(resize="b")(off, visible, progress=False),
        "aligned": aligned,
        "known": fuser.with_config(transform=truth)(off, visible, progress=False),
    }
    if look is not None:
        look.mkdir(parents=True, exist_ok=True)
        for way, fusion in results.items():
            fusion.save(look / f"{name} {kind} {way}.png")
    top, bottom, left, right = common_box([warped(off, truth)[1], inside])
    seen = np.s_[top + RIM : bottom - RIM, left + RIM : right - RIM]
    sources = [eight_bit(p)[seen] for p in (infrared, visible)]
    values = {
        metric: [of(eight_bit(results[way].picture)[seen], *sources) for way in FUSED]
        for metric, of in METRICS.items()
    }
    found = aligned.settings["alignment"][0]
    error = Transform.from_dict(found["transform"]).distance(truth)
    return Row(found["applied"], error, values)


def _planes(data: Path, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Infrared and visible levels."""
    of, name = pair
    infrared, visible = (next((data / of / f).glob(f"{name}.*")) for f in ("ir", "vi"))
    return grey(read_image(infrared)), grey(read_image(visible))


def _picture(plane: np.ndarray) -> Picture:
    return Picture(np.ascontiguousarray(plane.clip(0, 1)[..., None], np.float32))


if __name__ == "__main__":
    sys.exit(main())
