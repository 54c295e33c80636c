"""What samples of the uncertainty cost, relative to the fusion itself.

    python benchmarks/samples.py [--size 640x480] [--noise 15] [--dtype float32]

The pair is the example pair, mirrored at its borders to the given size, as it is and with noise on
both pictures. Processor seconds of one thread, with everything loaded, medians of three rounds.
"""

from __future__ import annotations

import time
from statistics import median

import click
import torch
from PIL.Image import Image

from ddfm import Fuser
from mirrored import mirrored_pair, size_of, with_noise

COUNTS = (0, 2, 16)
ROUNDS = 3


@click.command()
@click.option("--size", default="640x480", show_default=True)
@click.option("--noise", default=15.0, show_default=True, help="In grey levels.")
@click.option("--dtype", default="auto", show_default=True)
def main(size: str, noise: float, dtype: str) -> None:
    torch.set_num_threads(1)
    fuser = Fuser(device="cpu", dtype=dtype)
    clean = mirrored_pair(size_of(size))
    noisy = tuple(with_noise(image, noise, seed) for seed, image in enumerate(clean))
    head = ["fusion", *(f"{count} samples" for count in COUNTS[1:]), "relative to one fusion"]
    print(f"| {fuser.dtype} | " + " | ".join(head) + " |\n|" + " --- |" * (len(head) + 1))
    for name, pair in (("the pair as it is", clean), (f"noise of {noise:g}", noisy)):
        seconds(fuser, pair, COUNTS[1])  # whatever happens once
        rounds = [[seconds(fuser, pair, count) for count in COUNTS] for _ in range(ROUNDS)]
        cells = [f"{median(of):.1f}" for of in zip(*rounds, strict=True)]
        ratio = median(most / alone for alone, *_, most in rounds)
        print(f"| {name} | " + " | ".join([*cells, f"{ratio:.1f} times"]) + " |", flush=True)


def seconds(fuser: Fuser, pair: tuple[Image, Image], samples: int) -> float:
    begin = time.process_time()
    fuser(*pair, samples=samples, progress=False)
    return time.process_time() - begin


if __name__ == "__main__":
    main()
