"""Which range of temperatures shows more: the camera's level and span, or percentiles.

    python benchmarks/level_and_span.py FLIR.jpg ...

For each file, prints both ranges in degrees, the share of pixels that each clips, and the entropy
of the thermal image in 8 bits (at most 8). Flat or clipped images have a low entropy.
"""

from __future__ import annotations

import argparse

import numpy as np

from ddfm.errors import DdfmError
from ddfm.imaging.thermal.degrees import CAMERA
from ddfm.imaging.thermal.flir import read_thermal
from ddfm.metrics import en


def about(path: str, celsius: str | None) -> str:
    """The range, the share of clipped pixels, and the entropy."""
    picture = read_thermal(path, celsius=celsius)
    low, high = picture.range or (0.0, 1.0)
    plane = picture.pixels[..., 0]
    clipped = float(((plane <= 0) | (plane >= 1)).mean())
    bits = en(np.rint(255 * plane).astype(np.uint8))
    return f"{low:7.1f} to {high:6.1f}  {100 * clipped:5.1f} %  {bits:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="+", metavar="FLIR.jpg")
    for path in parser.parse_args().files:
        try:
            both = about(path, None), about(path, CAMERA)
        except DdfmError as error:
            both = str(error), ""
        print(path.rpartition("/")[2])
        for name, text in zip(("percentiles", "camera"), both, strict=True):
            print(f"  {name:12}{text}")


if __name__ == "__main__":
    main()
